"""Runs a Markdown document: its `sh` and `python` blocks, in order, in one shell, as a reader would type them.

A block below `<!-- runs until the end -->` is started in the background, as in a terminal of its own; the next block
waits until the stack it starts is ready. Blocks in other languages (`text`, `json`, `docker`) are not run. The ports
8080 and 9090 of a document stand for free ones.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import eventually_sync

from cognitionos.cli.listening import free_port

ROOT = Path(__file__).resolve().parents[2]
BACKGROUND = "<!-- runs until the end -->"
_FENCE = re.compile(
    r"^(?:(?P<mark><!-- [^\n]* -->)\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_TIMEOUT_S = 300
_COPIED = ("docs", "requirements", "deploy", "pyproject.toml", "compose.yaml", "Makefile", "README.md", "LICENSE")
_STAMPS = ("venv", "run", "dev", "package")
_FOREIGN = ("COGNITIONOS_", "DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL", "OPENAI_", "ANTHROPIC_", "MAKE")


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


def documents() -> list[Path]:
    """Every document that people read."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(document: Path) -> list[Block]:
    """The blocks of `document` that are run, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(
            language=match["language"],
            code=match["code"],
            line=text.count("\n", 0, match.start("code")),
            in_background=match["mark"] == BACKGROUND,
        )
        for match in _FENCE.finditer(text)
        if match["language"] in {"sh", "python"}
    ]


class Reader:
    """Somebody in a fresh checkout after `make setup`, with an empty home; `settings` are exported in their shell."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.checkout = folder / "cognitionos"
        self.checkout.mkdir()
        self._ports = {usual: str(free_port("127.0.0.1", 0)) for usual in ("8080", "9090")}
        (folder / "home").mkdir()
        for name in _COPIED:
            source = ROOT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, self.checkout / name)
        commands = _virtual_environment(self.checkout / ".venv")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        self.env = {
            **ours,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "COGNITIONOS_DETECT_LOCAL_MODELS": "false",
            "COGNITIONOS_PORT": self._ports["8080"],
            **settings,
        }
        self._background: list[subprocess.Popen[str]] = []

    def read(self, document: Path) -> str:
        """Run every block; gives all that was printed, raises `AssertionError` with what failed."""
        foreground: list[str] = []
        printed = ""
        for block in blocks(document):
            if block.in_background:
                printed += self._run(foreground, document)
                foreground = []
                self._start(block)
            else:
                foreground += [f"echo '--- {document.name}, line {block.line}' | tee /dev/stderr", block.script]
        return printed + self._run(foreground, document)

    def close(self) -> None:
        """Press Ctrl-C in the terminals that are still busy."""
        for process in self._background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process in self._background:
            process.wait(timeout=60)

    def _start(self, block: Block) -> None:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", self._here(block.code)],
            cwd=self.checkout,
            env=self.env,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        self._background.append(process)
        running = self.checkout / ".data" / "running.json"
        eventually_sync(lambda: running.exists() or process.poll() is not None, timeout_s=60)
        assert process.poll() is None, f"{block.code.strip()} ended with {process.returncode}"

    def _run(self, script: list[str], document: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", self._here("\n".join(["set -euo pipefail", *script]))],
            cwd=self.checkout,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{document.name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def _here(self, code: str) -> str:
        return re.sub(r"\b(8080|9090)\b", lambda usual: self._ports[usual[0]], code)


@contextmanager
def reader(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Reader]:
    """A reader for the length of a block."""
    somebody = Reader(folder, settings or {})
    try:
        yield somebody
    finally:
        somebody.close()


def _virtual_environment(venv: Path) -> Path:
    """What `make setup` leaves behind, made of the environment that runs the tests; gives its folder of commands."""
    ours, commands = Path(sys.prefix), venv / "bin"
    commands.mkdir(parents=True)
    for entry in (*ours.glob("bin/*"), *ours.glob("pyvenv.cfg"), *ours.glob("lib*")):
        if entry.name != "cognitionos":
            (venv / entry.relative_to(ours)).symlink_to(entry)
    script = commands / "cognitionos"
    script.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m cognitionos "$@"\n')
    script.chmod(0o755)
    if shutil.which("curl") is None:
        stand_in_for_curl(commands)
    (venv / ".stamps").mkdir()
    for stamp in _STAMPS:  # in the order in which make writes them
        (venv / ".stamps" / stamp).touch()
    return commands


def stand_in_for_curl(commands: Path) -> Path:
    """Put our own little `curl` among the commands; gives its path."""
    script = commands / "curl"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("curl.py")} "$@"\n')
    script.chmod(0o755)
    return script
