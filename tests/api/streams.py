"""Server-sent events of the application in this process, one by one as they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.edge import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One event."""

    id: str
    event: str
    data: dict[str, Any]


@asynccontextmanager
async def streaming(
    app: Any, caller: Caller, path: str, *, body: dict[str, Any] | None = None, last: str = ""
) -> AsyncIterator[AsyncIterator[Frame]]:
    """POST `body` to `path`, or GET it; the events of the answer that has begun. Leaving hangs up."""
    sent: asyncio.Queue[bytes | None] = asyncio.Queue()
    begun, left = asyncio.Event(), asyncio.Event()
    asked = iter([json.dumps(body).encode() if body is not None else b""])

    async def receive() -> dict[str, Any]:
        for content in asked:
            return {"type": "http.request", "body": content, "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message
            begun.set()
        elif message["type"] == "http.response.body":
            sent.put_nowait(message.get("body", b""))
            if not message.get("more_body", False):
                sent.put_nowait(None)

    headers = {"host": "api", **caller.headers, **({"last-event-id": last} if last else {})}
    headers |= {"content-type": "application/json"} if body is not None else {}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
    }
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http", "root_path": ""}
    scope |= {"server": ("api", 80), "client": ("127.0.0.1", 1)}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    serving = asyncio.create_task(app(scope, receive, send))
    serving.add_done_callback(lambda _: (sent.put_nowait(None), begun.set()))
    try:
        await begun.wait()
        yield _frames(sent)
    finally:
        left.set()
        await asyncio.wait({serving}, timeout=20)


async def _frames(sent: "asyncio.Queue[bytes | None]") -> AsyncIterator[Frame]:
    text = ""
    while True:
        async with asyncio.timeout(30):
            part = await sent.get()
        if part is None:
            return
        text += part.decode()
        *whole, text = text.split("\n\n")
        for each in whole:
            fields = dict(line.split(": ", 1) for line in each.splitlines() if not line.startswith(":"))
            if fields:
                yield Frame(id=fields.get("id", ""), event=fields["event"], data=json.loads(fields["data"]))


async def all_of(frames: AsyncIterator[Frame]) -> list[Frame]:
    """Every event to the stream's end."""
    return [frame async for frame in frames]
