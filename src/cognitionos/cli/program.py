"""One of our own commands as a child of the supervisor."""

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

    def start(self) -> None:
        """Start it and let it go on: what a restart needs."""
        self.load()
        self.go()

    def load(self) -> None:
        """Start it; it imports and waits."""
        self._close_line()
        roll(self.log)
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
            try:
                self._line.send(lifeline.GO)
            except OSError:
                return

    def has_reported_ready(self) -> bool:
        """Whether it said so since it was started; asks once, so keep a `True`."""
        if self._line is None:
            return False
        try:
            return self._line.recv(1) == lifeline.READY
        except OSError:
            return False

    def finish(self, *, timeout_s: float) -> None:
        """Wait for a command that ends by itself; raise `ProgramFailed` unless it ends well."""
        if self.process is None:
            raise ProgramFailed(f"{self.name} was never started")
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            kill_session(self.process)
            raise ProgramFailed(f"{self.name} took longer than {timeout_s:.0f} s; see {self.log}") from None
        if status != 0:
            raise ProgramFailed(f"{self.name} failed:\n{tail(self.log)}")
        self._close_line()

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
