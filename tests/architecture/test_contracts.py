"""The import contracts hold, and each of them fails when it is broken (a contract that cannot fail holds nothing)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PLANTED = {
    "the core imports a framework": ("kernel/planted.py", "import sqlalchemy", "A pure core"),
    "a use case imports a driver": ("planning/application/planted.py", "import psycopg", "A pure core"),
    "a lower step imports a higher one": ("platform/planted.py", "import cognitionos.web", "The ladder"),
    "memory imports planning": (
        "memory/application/planted.py",
        "import cognitionos.planning.application",
        "The ladder",
    ),
    "the domain imports its use cases": (
        "llm_gateway/domain/planted.py",
        "import cognitionos.llm_gateway.application",
        "Layers inside a context",
    ),
    "agents reaches into the gateway": (
        "agents/application/planted.py",
        "import cognitionos.llm_gateway.domain.price",
        "private but for its facade: llm_gateway",
    ),
    "planning reaches into agents": (
        "planning/application/planted.py",
        "import cognitionos.agents.application",
        "private but for its facade: agents",
    ),
    "planning reaches into memory": (
        "planning/application/planted.py",
        "import cognitionos.memory.domain",
        "private but for its facade: memory",
    ),
    "memory reaches into tenancy": (
        "memory/application/planted.py",
        "import cognitionos.tenancy.domain",
        "private but for its facade: tenancy",
    ),
    "a second door to litellm": ("llm_gateway/infrastructure/planted.py", "import litellm", "litellm has one door"),
    "a lazy import is seen too": (
        "agents/infrastructure/planted.py",
        "def late() -> None:\n    import litellm\n",
        "litellm has one door",
    ),
    "SQL at the edge": ("cli/planted.py", "import psycopg", "No SQL at the edge"),
}


def lint_imports(source: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the package below `source`."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--config",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(cache),
        ],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grimp")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the package that a test may spoil."""
    copy = tmp_path / "src"
    shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.json", "*.md"))
    return copy


def test_the_contracts_hold(source: Path, cache: Path) -> None:
    result = lint_imports(source, cache)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_fails(planted: tuple[str, str, str], source: Path, cache: Path) -> None:
    file, code, contract = planted
    (source / "cognitionos" / file).write_text(f'"""Planted."""\n\n{code}\n')

    result = lint_imports(source, cache)

    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert result.returncode == 1, result.stdout
    assert any(contract in line for line in broken), result.stdout
