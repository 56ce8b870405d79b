"""One of our own commands as a child of the supervisor."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cognitionos.cli import lifeline
from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.embedded.child import kill_session, roll, spawn, stop, tail


class ProgramFailed(Unavailable):
    """A command that has to end well did not; the detail carries the end of its log."""


class Program:
    """`python -m cognitionos ARGUMENTS`, started ahead of time: it imports, then waits for `go`.

    `process` is None before the first start. Start from the main thread only.
    """

    def __init__(self, name: str, *arguments: str, log: Path, env: Mapping[str, str], drain_s: float = 10.0) -> None:
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._arguments: Sequence[str] = arguments
        self._env = env
        self._drain_s = drain_s
        self._line: socket.socket | None = None
        self._is_ready = False

    def start(self) -> None:
        """Start it and let it go on: what a restart needs."""
        self.load()
        self.go()

    def load(self) -> None:
        """Start it; it imports and waits."""
        self._close_line()
        roll(self.log)
        self._is_ready = False
        self._line, theirs = socket.socketpair()
        with theirs:
            self.process = spawn(
                [sys.executable, "-m", "cognitionos", *self._arguments],
                log=self.log,
                death_signal=signal.SIGTERM,
                env={**os.environ, **self._env, lifeline.ENVIRONMENT_VARIABLE: str(theirs.fileno())},
                keep_fds=(theirs.fileno(),),
                cwd=None,
            )
        self._line.settimeout(0)

    def go(self) -> None:
        """Let it begin. A child that has died already is noticed by its `process`."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.send(lifeline.GO)

    def has_reported_ready(self) -> bool:
        """Whether it has said so since it was started."""
        if self._line is not None and not self._is_ready:
            with contextlib.suppress(OSError):
                self._is_ready = self._line.recv(1) == lifeline.READY
        return self._is_ready

    def has_ended_well(self) -> bool:
        """Whether it has ended with status 0, or was never needed; raise `ProgramFailed` when it ended otherwise."""
        status = 0 if self.process is None else self.process.poll()
        if status is not None and status != 0:
            raise ProgramFailed(f"{self.name} ended with status {status}; {self.log} ends with:\n{tail(self.log)}")
        return status == 0

    def stop(self) -> None:
        """Ask it to drain, then kill what is left. Safe to repeat."""
        if self.process is not None:
            stop(self.process, signal.SIGTERM, timeout_s=self._drain_s)
            kill_session(self.process)
        self._close_line()

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
