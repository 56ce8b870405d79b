"""The sandboxes that this machine can offer, for tests that must hold on each of them."""

import importlib.util
import os
from contextlib import suppress
from pathlib import Path

from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox

# An interpreter that an account without rights can reach, so that runners get a uid of their own.
_SYSTEM_PYTHON = Path("/usr/bin/python3")


def _backends() -> list[str]:
    found = ["process"]
    if os.geteuid() == 0 and _SYSTEM_PYTHON.exists():
        found.append("process-own-uid")
    if importlib.util.find_spec("eryx") is not None:
        found.append("wasm")
    return found


BACKENDS = _backends()


def a_sandbox(backend: str, **limits: int) -> PythonSandbox:
    """A sandbox with exactly this backend, not yet open."""
    if backend == "process-own-uid":
        return PythonSandbox(backend="process", interpreter=_SYSTEM_PYTHON, **limits)  # type: ignore[arg-type]
    return PythonSandbox(backend="wasm" if backend == "wasm" else "process", **limits)  # type: ignore[arg-type]


def children_of(pid: int) -> set[int]:
    """The pids of the live children of `pid`, without zombies."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended meanwhile
            found |= {int(child) for child in (task / "children").read_text().split()}
    return {child for child in found if is_alive(child)}


def runners_of(pid: int) -> set[int]:
    """The pids of the live sandbox runners among the children of `pid` (which may have servers as children too)."""
    found = set()
    for child in children_of(pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if b"sandbox_runner" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(child)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
