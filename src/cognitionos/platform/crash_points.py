"""Named places where a test kills the process, one at each commit boundary. Off unless `arm` named one."""

import os
import signal

_known: set[str] = set()
_armed: str | None = None


def declare(name: str) -> str:
    """Register a crash point and return its name; the crash kit reads `known()`."""
    _known.add(name)
    return name


def known() -> frozenset[str]:
    """Every crash point declared by the modules imported so far."""
    return frozenset(_known)


def arm(name: str | None) -> None:
    """Make `crash_point(name)` kill this process; None turns every point off."""
    global _armed  # noqa: PLW0603 - one switch per process, set once at start from the settings
    _armed = name


def crash_point(name: str) -> None:
    """Die by SIGKILL here if a test armed this point: no cleanup runs, as in a real crash."""
    if _armed == name:
        os.kill(os.getpid(), signal.SIGKILL)
