"""Processes that are killed, and a canary that counts the effects they had."""

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web
from tests.serving import serving
from tests.stacks import clean_environment, command

from cognitionos.cli.lifeline import ENVIRONMENT_VARIABLE, GO
from cognitionos.platform.config import Settings

START_WITHIN_S = 30.0
READY = b"worker_ready"


@dataclass(kw_only=True)
class Canary:
    """A loopback server that applies each `Idempotency-Key` once and counts how often it saw it."""

    url: str = ""
    address: str = ""
    delay_s: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    keyless: int = 0

    @property
    def applied(self) -> int:
        """Effects that happened: one for each distinct key."""
        return len(self.seen) + self.keyless

    def reset(self, *, delay_s: float = 0.0) -> None:
        """Forget what was."""
        self.seen, self.keyless, self.delay_s = Counter(), 0, delay_s

    async def effect(self, request: web.Request) -> web.Response:
        """Apply, or know already."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            self.keyless += 1
        else:
            self.seen[key] += 1
        await asyncio.sleep(self.delay_s)
        return web.json_response({"applied": key})


@asynccontextmanager
async def a_canary() -> AsyncIterator[Canary]:
    """A running canary on a port of the system's choice."""
    canary = Canary()
    app = web.Application()
    app.router.add_route("*", "/effect", canary.effect)
    async with serving(app) as address:
        canary.address, canary.url = address, f"http://{address}/effect"
        yield canary


@dataclass(kw_only=True)
class Product:
    """How to start the product's processes on the test's servers; every one that is left is killed in the end."""

    environment: dict[str, str]
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    lifelines: list[socket.socket] = field(default_factory=list)

    async def worker(self, *, crash_point: str | None = None) -> asyncio.subprocess.Process:
        """A worker, ready (or dead already, at its crash point)."""
        process = await self._start(["work"], crash_point)
        await _seen(process, READY)
        return process

    async def api(self, port: int, *, crash_point: str | None = None) -> asyncio.subprocess.Process:
        """The API on `port`; the caller asks it whether it is ready."""
        return await self._start(["serve", "--port", str(port)], crash_point)

    async def _start(self, arguments: Sequence[str], crash_point: str | None) -> asyncio.subprocess.Process:
        environment = self.environment | ({"COGNITIONOS_CRASH_POINT": crash_point} if crash_point else {})
        ours, theirs = socket.socketpair()  # its end tells them that the tests are dead, and they die too
        process = await asyncio.create_subprocess_exec(
            *command(*arguments),
            env=environment | {ENVIRONMENT_VARIABLE: str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE if arguments[0] == "work" else asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        ours.send(GO)
        self.lifelines.append(ours)
        self.processes.append(process)
        return process

    async def kill_all(self) -> None:
        """SIGKILL whatever still runs, with its children: each process leads a group of its own."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        for line in self.lifelines:
            line.close()


@asynccontextmanager
async def a_product(settings: Settings, **more: str) -> AsyncIterator[Product]:
    """The product on the servers of `settings`, with short leases."""
    product = Product(
        environment=clean_environment(
            DATABASE_URL=settings.database_url.get_secret_value(),
            REDIS_URL=settings.redis_url.get_secret_value(),
            COGNITIONOS_LEASE_S="1",
            COGNITIONOS_SWEEP_S="0.3",
            COGNITIONOS_DATA_DIR=str(settings.data_dir),
            PYTHONUNBUFFERED="1",
            PATH=os.environ["PATH"],
            **more,
        )
    )
    try:
        yield product
    finally:
        await product.kill_all()


async def died_at_its_point(process: asyncio.subprocess.Process, *, within_s: float = 20.0) -> bool:
    """Whether `process` killed itself."""
    async with asyncio.timeout(within_s):
        return await process.wait() == -signal.SIGKILL


async def its_child_died(process: asyncio.subprocess.Process, *, within_s: float = 20.0) -> bool:
    """Whether `process` (the API's master, whose child serves) has ended because its child killed itself."""
    async with asyncio.timeout(within_s):
        return await process.wait() != 0


async def _seen(process: asyncio.subprocess.Process, text: bytes) -> None:
    """Read stderr until `text` is there or the process has ended, and go on reading in the background."""
    assert process.stderr is not None
    lines: list[bytes] = []
    async with asyncio.timeout(START_WITHIN_S):
        while (line := await process.stderr.readline()) and text not in line:
            lines.append(line)
    if not line and await process.wait() != -signal.SIGKILL:
        sys.stderr.write(b"".join(lines).decode())
        raise AssertionError(f"the process ended with {process.returncode} before it was ready")
    _drains.add(drain := asyncio.create_task(_drain(process)))
    drain.add_done_callback(_drains.discard)


_drains: set["asyncio.Task[None]"] = set()


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(65536):
        pass
