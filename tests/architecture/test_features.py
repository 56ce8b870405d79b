"""Every test that `docs/features.md` names as the proof of a promise is there."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (F\d+|-) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of the test functions of a file."""
    if not path.exists():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def promises() -> list[tuple[str, str, str]]:
    """The rows of the document: which, what, shown by."""
    return ROW.findall((ROOT / "docs" / "features.md").read_text(encoding="utf-8"))


def test_every_line_of_a_table_is_a_row_and_names_a_test() -> None:
    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| row ", "| ---"))]

    assert len(lines) == len(promises())
    assert [(row, what) for row, what, shown_by in promises() if not TEST.search(shown_by)] == []


def test_every_test_that_is_named_exists() -> None:
    named = [test for _, _, shown_by in promises() for test in TEST.findall(shown_by)]

    assert [f"{file}::{name}" for file, name in named if name not in names_in(ROOT / file)] == []


def test_no_promise_is_made_twice() -> None:
    made = [what for _, what, _ in promises()]

    assert sorted(made) == sorted(set(made))
