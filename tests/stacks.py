"""Real stacks for tests: `cognitionos up` as a process, and what hangs below it."""

import contextlib
import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.waiting import eventually_sync

from cognitionos.cli.crash_test.processes import clean_environment

_START_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class RunningStack:
    """`errors` is the file with the supervisor's stderr."""

    url: str
    api_key: str
    pid: int
    data_dir: Path
    process: subprocess.Popen[str]
    errors: Path

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON body of a GET with the local tenant's key."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.api_key}"})
            response = connection.getresponse()
            return response.status, json.load(response)

    def cognitionos(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command of the terminal on the stack's data directory."""
        return subprocess.run(
            command(*arguments, "--data", str(self.data_dir)),
            env=clean_environment(),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def as_json(self, *arguments: str) -> Any:
        """What a command prints with `--json`; it has to succeed."""
        done = self.cognitionos(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def is_ready(self) -> bool:
        """Whether /health/ready says 'ready' (not 'degraded')."""
        try:
            status, body = self.get("/health/ready")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 and body["status"] == "ready"


def command(*arguments: str) -> list[str]:
    """The command line of the product."""
    return [sys.executable, "-m", "cognitionos", *arguments]


def start_stack(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> RunningStack:
    """Start `up` on a free port and wait for its line; the caller ends it (`stop_stack`)."""
    errors = data_dir.with_name(f"{data_dir.name}.stderr")
    with errors.open("a") as file:
        process = subprocess.Popen(
            command("up", "--data", str(data_dir), "--port", "0", "--json"),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=clean_environment(**(settings or {})),
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.stdout.close()
    if not line:
        raise AssertionError(f"up ended with {process.wait(10)}:\n{errors.read_text()}")
    return RunningStack(**json.loads(line), data_dir=data_dir, process=process, errors=errors)


def stop_stack(stack: RunningStack) -> int:
    """SIGTERM, wait; gives the exit status."""
    if stack.process.poll() is None:
        stack.process.send_signal(signal.SIGTERM)
    return stack.process.wait(_START_TIMEOUT_S)


@contextlib.contextmanager
def running_stack(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[RunningStack]:
    """A stack for the length of a block."""
    stack = start_stack(data_dir, settings=settings)
    try:
        yield stack
    finally:
        stop_stack(stack)


def descendants(pid: int) -> dict[int, str]:
    """Every process below `pid`, with its command line."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = list(children.get(pid, ()))
    while waiting:
        child = waiting.pop()
        found[child] = _command_line(child)
        waiting += children.get(child, ())
    return found


def child_of(stack: RunningStack, text: str) -> int | None:
    """The supervisor's own child whose command line contains `text`."""
    for pid, line in descendants(stack.pid).items():
        if text in line and _parent(pid) == stack.pid:
            return pid
    return None


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def replaced(stack: RunningStack, text: str, *, former: int, timeout_s: float = 20) -> int:
    """Wait until the supervisor has another child like `former`, which died; gives its pid."""

    def other() -> int | None:
        pid = child_of(stack, text)
        return pid if pid != former else None

    pid = eventually_sync(other, timeout_s)
    assert pid is not None
    return pid


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
