"""Keeping children alive: what dies is started again, later each time; signals end the watch."""

import contextlib
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from cognitionos.platform.embedded.child import kill_session

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_HEALTHY_AFTER_S = 60.0


class Member(Protocol):
    """A child that is meant to run for as long as we do."""

    name: str
    process: subprocess.Popen[bytes] | None

    def start(self) -> None:
        """Start it (again); does not wait for it to be ready."""

    def stop(self) -> None:
        """Let it finish, then see to it that it is gone."""


class Interrupts:
    """SIGTERM, SIGINT and SIGHUP ask us to stop; a second one no longer waits for anybody to drain.

    `wait` returns early for these and when a child ends. One per process, made in the main thread.
    """

    def __init__(self) -> None:
        self.asked_to_stop = False
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.settimeout(0)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def wait(self, timeout_s: float) -> float:
        """Sleep until a signal comes, at most `timeout_s`; gives the seconds slept."""
        begun = time.monotonic()
        select.select([self._reader], [], [], max(0.0, timeout_s))
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        return time.monotonic() - begun

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked_to_stop:
            raise KeyboardInterrupt
        self.asked_to_stop = True


@dataclass(eq=False, kw_only=True)
class _Watched:
    member: Member
    started_at: float = field(default_factory=time.monotonic)
    failures: int = 0
    due_at: float | None = None  # when to start it again; None: it runs


class Supervisor:
    """Watches members that were started before."""

    def __init__(self, members: Sequence[Member], *, interrupts: Interrupts, say: Callable[[str], None]) -> None:
        self._watched = [_Watched(member=member) for member in members]
        self._interrupts = interrupts
        self._say = say

    def watch(self) -> None:
        """Return when asked to stop."""
        while not self._interrupts.asked_to_stop:
            for watched in self._watched:
                self._tend(watched)
            due = [watched.due_at for watched in self._watched if watched.due_at is not None]
            self._interrupts.wait(min(due) - time.monotonic() if due else 3600.0)

    def _tend(self, watched: _Watched) -> None:
        now = time.monotonic()
        process = watched.member.process
        if watched.due_at is not None:
            if now >= watched.due_at:
                watched.due_at = None
                watched.started_at = now
                watched.member.start()
        elif process is not None and process.poll() is not None:
            kill_session(process)  # its own children must not stand in the way of the next one
            if now - watched.started_at > _HEALTHY_AFTER_S:
                watched.failures = 0
            pause_s = min(_FIRST_PAUSE_S * 2**watched.failures, _LONGEST_PAUSE_S)
            watched.failures += 1
            watched.due_at = now + pause_s
            self._say(
                f"{watched.member.name} ended ({_reason(process.returncode)}); starting it again in {pause_s:.1f} s"
            )


def _reason(returncode: int) -> str:
    if returncode < 0:
        return f"killed by {signal.Signals(-returncode).name}"
    return f"status {returncode}"
