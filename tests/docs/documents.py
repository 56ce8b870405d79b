"""Runs a Markdown document: its `sh` and `python` blocks, in order, in one shell, as a reader would type them.

A block below `<!-- runs until the end -->` is started in the background, as in a terminal of its own; the next block
waits until the stack it starts is ready. Blocks in other languages (`text`, `json`, `docker`) are not run.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import eventually_sync

ROOT = Path(__file__).resolve().parents[2]
BACKGROUND = "<!-- runs until the end -->"
_FENCE = re.compile(
    r"^(?:(?P<mark><!-- [^\n]* -->)\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_TIMEOUT_S = 120
_COPIED = (
    "src",
    "migrations",
    "docs",
    "requirements",
    "alembic.ini",
    "pyproject.toml",
    "Makefile",
    "README.md",
    "LICENSE",
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block that is run."""

    language: str
    code: str
    line: int
    in_background: bool

    @property
    def script(self) -> str:
        """The block as shell."""
        if self.language == "python":
            return f"python - <<'END_OF_BLOCK'\n{self.code}END_OF_BLOCK\n"
        return self.code


def blocks(document: Path) -> list[Block]:
    """The blocks of `document` that are run, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            language=match["language"],
            code=match["code"],
            line=text.count("\n", 0, match.start()) + 1,
            in_background=match["mark"] == BACKGROUND,
        )
        for match in _FENCE.finditer(text)
        if match["language"] in {"sh", "python"}
    ]


class Reader:
    """Somebody in a copy of the checkout, with the project's environment and an empty home."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "cognitionos"
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.checkout.mkdir()
        for name in _COPIED:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, self.checkout / name)
        venv = Path(sys.prefix)
        (self.checkout / ".venv").symlink_to(venv)
        self.env = {
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "COGNITIONOS_DETECT_LOCAL_MODELS": "false",
        }
        self._background: list[subprocess.Popen[str]] = []

    def read(self, document: Path) -> str:
        """Run every block; gives all that was printed, raises `AssertionError` with the block that failed."""
        foreground: list[str] = ["set -euo pipefail"]
        printed = ""
        for block in blocks(document):
            if block.in_background:
                printed += self._run(foreground, document)
                foreground = ["set -euo pipefail"]
                self._start(block)
            else:
                foreground += [f"echo '--- line {block.line}'", block.script]
        return printed + self._run(foreground, document)

    def close(self) -> None:
        """End what still runs in the background."""
        for process in self._background:
            process.send_signal(signal.SIGINT)
        for process in self._background:
            process.wait(timeout=60)

    def _start(self, block: Block) -> None:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"exec {block.code.strip()}"],
            cwd=self.checkout,
            env=self.env,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._background.append(process)
        eventually_sync((self.checkout / ".data" / "running.json").exists, timeout_s=60)

    def _run(self, script: list[str], document: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=self.checkout,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{document.name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout
