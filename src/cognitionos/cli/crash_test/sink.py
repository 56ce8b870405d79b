"""A loopback server that has effects: it applies each `Idempotency-Key` once and remembers every request.

A request that breaks off before its answer tells of the death of the worker that sent it, at that very moment.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Effect:
    """What is to happen once: the run's name, the task's, and which item of a map."""

    run: str
    task: str
    item: int | None


@dataclass(slots=True)
class Attempt:
    """One request: when it came, when it was answered or broke off (seconds of the monotonic clock)."""

    began_at: float
    ended_at: float | None = None
    broke_off: bool = False


@dataclass(kw_only=True)
class Sink:
    """`effects` is told by the requests' bodies: (`run`, `task`, `item`), with every key that came for it."""

    url: str = ""
    address: str = ""
    delay_s: float = 0.0
    attempts: dict[str, list[Attempt]] = field(default_factory=dict)
    effects: dict[Effect, set[str]] = field(default_factory=dict)
    keyless: int = 0

    @property
    def seen(self) -> Counter[str]:
        """How often each key came."""
        return Counter({key: len(attempts) for key, attempts in self.attempts.items()})

    @property
    def applied(self) -> int:
        """Effects that happened: one for each distinct key, and each request without one."""
        return len(self.attempts) + self.keyless

    def reset(self, *, delay_s: float = 0.0) -> None:
        """Forget what was."""
        self.attempts, self.effects, self.keyless, self.delay_s = {}, {}, 0, delay_s

    async def apply(self, request: web.Request) -> web.Response:
        """Apply, or know already; the answer says the same each time."""
        key = request.headers.get("Idempotency-Key")
        asked = await request.json() if request.can_read_body else {}
        attempt = Attempt(time.monotonic())
        if key is None:
            self.keyless += 1
        else:
            self.attempts.setdefault(key, []).append(attempt)
        if "run" in asked:
            effect = Effect(str(asked["run"]), str(asked["task"]), asked.get("item"))
            self.effects.setdefault(effect, set()).add(key or "")
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            attempt.broke_off = True
            raise
        finally:
            attempt.ended_at = time.monotonic()
        return web.json_response({"done": asked.get("answer")})


@asynccontextmanager
async def running_sink(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Sink]:
    """A sink that listens; port 0: one of the system's choice."""
    sink = Sink()
    app = web.Application()
    app.router.add_route("*", "/effect", sink.apply)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        sink.address = f"{host}:{runner.addresses[0][1]}"
        sink.url = f"http://{sink.address}/effect"
        yield sink
    finally:
        await runner.cleanup()
