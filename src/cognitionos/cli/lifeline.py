"""The line between the supervisor and a child: 'go' down, 'ready' up, and its end means that the supervisor is dead.

A supervised child imports what it needs before its database is up, then waits for 'go'; this hides most of its start.
"""

import os
import signal
import socket
import threading
from typing import Self

ENVIRONMENT_VARIABLE = "COGNITIONOS_SUPERVISOR_FD"
GO = b"g"
READY = b"r"
# with the kernel's SIGTERM at the supervisor's death this is all the time there is to drain: 'gone within 5 s'
_GRACE_S = 3.0


class Lifeline:
    """The child's end. Not supervised: every call returns at once and does nothing."""

    def __init__(self, line: socket.socket | None) -> None:
        self._line = line

    @classmethod
    def from_environment(cls) -> Self:
        """Take the line, if we were given one; our own children do not see it."""
        number = os.environ.pop(ENVIRONMENT_VARIABLE, None)
        if number is None:
            return cls(None)
        line = socket.socket(fileno=int(number))
        line.set_inheritable(False)
        return cls(line)

    @property
    def is_supervised(self) -> bool:
        """Whether a supervisor started us."""
        return self._line is not None

    def wait_for_go(self) -> None:
        """Return when we may begin; end this process if the supervisor is gone."""
        if self._line is not None and self._line.recv(1) != GO:
            raise SystemExit(1)

    def report_ready(self) -> None:
        """Tell the supervisor that we do our work."""
        if self._line is not None:
            self._line.send(READY)

    def watch(self) -> None:
        """From now on: when the supervisor dies, our whole session is killed after a short grace.

        Call it in the process that will not fork any more: it starts a thread.
        """
        if self._line is not None:
            threading.Thread(target=self._kill_session_after_supervisor, args=(self._line,), daemon=True).start()

    @staticmethod
    def _kill_session_after_supervisor(line: socket.socket) -> None:
        line.recv(1)
        threading.Event().wait(_GRACE_S)
        os.killpg(os.getpgrp(), signal.SIGKILL)
