"""What is killed: workers of our own, or those of a given deployment, by its own means."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cognitionos.cli.crash_test.processes import Processes
from cognitionos.cli.program import ProgramFailed
from cognitionos.kernel.errors import Unavailable

_AGAIN_S = 0.2
_BACK_WITHIN_S = 120.0


class NothingToKill(Unavailable):
    """The deployment's worker could not be killed: it is not there, or not there again."""


class Target(Protocol):
    """Workers that somebody starts again."""

    async def ready(self) -> None:
        """Return when there is one to kill."""

    async def kill(self, chance: random.Random) -> None:
        """SIGKILL one; it is dead when this returns."""

    def up_s(self, begin: float, end: float) -> float:
        """For how long of this time (of the monotonic clock) at least one worker was there, as far as is known."""


@dataclass(kw_only=True)
class OwnWorkers:
    """`count` workers, each started again at once."""

    processes: Processes
    count: int
    _up: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _lives: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _starting: set["asyncio.Task[None]"] = field(default_factory=set)

    async def start(self) -> None:
        """Start them; all are ready when this returns."""
        await asyncio.gather(*(self._start(f"worker-{number + 1}") for number in range(self.count)))

    async def stop(self) -> None:
        """Start none any more."""
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)

    async def ready(self) -> None:
        while not self._up:
            ended = {task for task in self._starting if task.done()}
            self._starting -= ended
            for task in ended:
                task.result()
            await asyncio.sleep(_AGAIN_S / 10)

    async def kill(self, chance: random.Random) -> None:
        """See `Target.kill`. Raises `ProgramFailed` for one that had ended by itself."""
        name = chance.choice(sorted(self._up))
        process = self._up.pop(name)
        was_up = process.returncode is None
        with suppress(ProcessLookupError):
            process.kill()
        begin, _ = self._lives[name][-1]
        self._lives[name][-1] = (begin, time.monotonic())
        await self.processes.bury(process)
        if not was_up or process.returncode != -signal.SIGKILL:
            raise ProgramFailed(self.processes.end_of(name, f"ended by itself with status {process.returncode}"))
        self._starting.add(asyncio.create_task(self._start(name)))

    def up_s(self, begin: float, end: float) -> float:
        return covered([life for each in self._lives.values() for life in each], begin, end)

    async def _start(self, name: str) -> None:
        self._up[name] = await self.processes.worker(name)
        self._lives.setdefault(name, []).append((time.monotonic(), float("inf")))


def covered(spans: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """How much of the time from `begin` to `end` lies within at least one of the spans."""
    seconds = 0.0
    for lower, upper in sorted(spans):
        if min(upper, end) > max(lower, begin):
            seconds += min(upper, end) - max(lower, begin)
            begin = min(upper, end)
    return seconds


@asynccontextmanager
async def own_workers(processes: Processes, *, count: int) -> AsyncIterator[OwnWorkers]:
    """`count` workers, ready, for the length of a block."""
    workers = OwnWorkers(processes=processes, count=count)
    await workers.start()
    try:
        yield workers
    finally:
        await workers.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class KillCommand:
    """A shell command that kills one worker; it is tried again while it fails (the worker may not be back yet)."""

    command: str

    async def ready(self) -> None:
        """Only the command can tell."""

    async def kill(self, chance: random.Random) -> None:
        begun = time.monotonic()
        while True:
            process = await asyncio.create_subprocess_shell(
                self.command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
            _, said = await process.communicate()
            if process.returncode == 0:
                return
            if time.monotonic() - begun > _BACK_WITHIN_S:
                told = said.decode(errors="replace").strip()[-500:]
                raise NothingToKill(
                    f"'{self.command}' fails with {process.returncode} for {_BACK_WITHIN_S:.0f} s: {told}"
                )
            await asyncio.sleep(_AGAIN_S)

    def up_s(self, begin: float, end: float) -> float:
        return end - begin


@dataclass(kw_only=True)
class PidFiles:
    """Workers of this machine whose supervisor writes their process ids into files."""

    files: Sequence[Path]
    _killed: set[int] = field(default_factory=set)

    async def ready(self) -> None:
        begun = time.monotonic()
        while not self._alive():
            if time.monotonic() - begun > _BACK_WITHIN_S:
                names = ", ".join(str(path) for path in self.files)
                raise NothingToKill(f"no living process is named by {names} for {_BACK_WITHIN_S:.0f} s")
            await asyncio.sleep(_AGAIN_S)

    async def kill(self, chance: random.Random) -> None:
        await self.ready()
        pid = chance.choice(self._alive())
        os.kill(pid, signal.SIGKILL)
        self._killed.add(pid)

    def up_s(self, begin: float, end: float) -> float:
        return end - begin

    def _alive(self) -> list[int]:
        found = []
        for path in self.files:
            with suppress(OSError, ValueError):
                pid = int(path.read_text())
                os.kill(pid, 0)
                found.append(pid)
        return [pid for pid in found if pid not in self._killed]
