"""Small files with one subject: 400 lines in the product, 600 in tests, 50 lines a function."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def long_files(folder: str, cap: int) -> list[str]:
    """Files below `folder` with more than `cap` lines."""
    return [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (lines := path.read_text(encoding="utf-8").count("\n")) > cap
    ]


def test_no_product_file_is_longer_than_400_lines() -> None:
    assert long_files("src", 400) == []


def test_no_test_file_is_longer_than_600_lines() -> None:
    assert long_files("tests", 600) == []


def test_no_function_is_longer_than_50_lines() -> None:
    long_functions = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > 50
    ]

    assert long_functions == []
