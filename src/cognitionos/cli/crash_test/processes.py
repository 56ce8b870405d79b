"""The product's processes as children that may be killed at any moment; none of them outlives us."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cognitionos.cli.lifeline import ENVIRONMENT_VARIABLE, GO, READY
from cognitionos.cli.program import ProgramFailed
from cognitionos.platform.embedded.child import tail

START_WITHIN_S = 60.0
_FOREIGN = ("COGNITIONOS_", "DATABASE_URL", "MIGRATION_DATABASE_URL", "REDIS_URL", "OPENAI_", "ANTHROPIC_")


def clean_environment(**settings: str) -> dict[str, str]:
    """Ours, without anything that would set up the product, plus `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return kept | {"COGNITIONOS_DETECT_LOCAL_MODELS": "false", "PYTHONUNBUFFERED": "1"} | settings


@dataclass(kw_only=True)
class Processes:
    """How to start them, all in one `environment`, with their output below `logs`; `kill_all` is the end of them."""

    environment: dict[str, str]
    logs: Path
    _started: list[tuple[asyncio.subprocess.Process, socket.socket]] = field(default_factory=list)

    async def worker(self, name: str = "worker", *, crash_point: str | None = None) -> asyncio.subprocess.Process:
        """A worker, ready (or dead already, at its crash point). Raises `ProgramFailed`."""
        process, line = await self.start(name, "work", crash_point=crash_point)
        try:
            async with asyncio.timeout(START_WITHIN_S):
                is_ready = await asyncio.get_running_loop().sock_recv(line, 1) == READY
        except (TimeoutError, OSError):
            is_ready = False
        if not is_ready and (process.returncode is None or await process.wait() != -signal.SIGKILL):
            raise ProgramFailed(self.end_of(name, "is not ready"))
        return process

    async def api(self, port: int, *, crash_point: str | None = None) -> asyncio.subprocess.Process:
        """The API on `port`; the caller asks it whether it is ready."""
        return (await self.start("api", "serve", "--port", str(port), crash_point=crash_point))[0]

    async def ends_well(self, name: str, *arguments: str) -> None:
        """Run a command to its end. Raises `ProgramFailed` unless its status is 0."""
        process, _ = await self.start(name, *arguments)
        if await process.wait() != 0:
            raise ProgramFailed(self.end_of(name, f"ended with {process.returncode}"))

    async def start(
        self, name: str, *arguments: str, crash_point: str | None = None
    ) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """`python -m cognitionos ARGUMENTS`, and our end of its lifeline."""
        environment = {**self.environment, **({"COGNITIONOS_CRASH_POINT": crash_point} if crash_point else {})}
        ours, theirs = socket.socketpair()  # its end tells them that we are dead, and they die too
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *_command(arguments),
                env={**environment, ENVIRONMENT_VARIABLE: str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        theirs.close()
        ours.settimeout(0)
        ours.send(GO)
        self._started.append((process, ours))
        return process, ours

    async def bury(self, process: asyncio.subprocess.Process) -> None:
        """Wait until `process` has ended, and end what is left of its session."""
        await process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for known, line in self._started:
            if known is process:
                line.close()
        self._started = [each for each in self._started if each[0] is not process]

    async def kill_all(self) -> None:
        """SIGKILL whatever still runs, with its children: each process leads a session of its own."""
        for process, _ in list(self._started):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await self.bury(process)

    def end_of(self, name: str, what: str) -> str:
        """`what` became of it, and the last words of its log."""
        log = self.logs / f"{name}.log"
        return f"{name} {what}; {log} ends with:\n{tail(log)}"


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "cognitionos", *arguments]
