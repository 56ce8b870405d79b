"""The world outside: a server that runs and their agents call, which remembers every call and its key."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from tests.serving import serving


@dataclass(kw_only=True)
class Outside:
    """`keys` are the idempotency keys of the calls of each path, in order; `answers` the statuses it gives next (200).

    A path in `gates` answers when its event is set, one in `leads` with a redirect to there.
    """

    address: str = ""
    keys: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    bodies: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    answers: defaultdict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://{self.address}{path}"

    async def answer(self, request: web.Request) -> web.Response:
        """Note the call, wait if it is to, answer."""
        self.keys[request.path].append(request.headers.get("idempotency-key", ""))
        self.bodies[request.path].append(await request.text())
        if request.path in self.gates:
            await self.gates[request.path].wait()
        if request.path in self.leads:
            return web.Response(status=307, headers={"location": self.leads[request.path]})
        scripted = self.answers[request.path]
        return web.json_response({}, status=scripted.popleft() if scripted else 200)


@asynccontextmanager
async def running_outside() -> AsyncIterator[Outside]:
    """A server on a free loopback port."""
    outside = Outside()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", outside.answer)
    async with serving(app) as address:
        outside.address = address
        yield outside
