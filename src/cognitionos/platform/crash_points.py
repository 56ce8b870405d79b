"""Named places where a test kills the process, one at each commit boundary. Off unless `arm` named one."""

import os
import signal

_known: set[str] = set()
_armed: str | None = None
_passes_left = 0


def declare(name: str) -> str:
    """Register a crash point and return its name; the crash kit reads `known()`."""
    _known.add(name)
    return name


def known() -> frozenset[str]:
    """Every crash point declared by the modules imported so far."""
    return frozenset(_known)


def arm(name: str | None) -> None:
    """Make `crash_point(name)` kill this process; `NAME:3`: when it is passed the third time; None: no point is on."""
    global _armed, _passes_left
    point, _, passing = (name or "").partition(":")
    _armed, _passes_left = point or None, int(passing or 1)


def crash_point(name: str) -> None:
    """Die by SIGKILL here if a test armed this point: no cleanup runs, as in a real crash."""
    global _passes_left  # noqa: PLW0603
    if _armed == name:
        _passes_left -= 1
        if _passes_left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
