"""The least that a proxy in Python can cost: raw ASGI under granian, aiohttp upstream, bytes through untouched.

`python -m tests.bench.floor PORT MODEL_PORT`. It knows no key, tenant, cache, budget, ledger, metric or log. What the
gateway costs is read beside it: both ran on the same machine, at the same moment.
"""

import sys
from typing import Any

import aiohttp
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server

_START = {"type": "http.response.start", "status": 200}


class Proxy:
    """Passes every POST on."""

    def __init__(self, model_port: int) -> None:
        self._url = f"http://127.0.0.1:{model_port}"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request with what the model server says."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {"content-type": "application/json"}
        async with self._session.post(self._url + scope["path"], data=body, headers=headers) as answer:
            kind = answer.headers["content-type"].encode()
            if kind != b"text/event-stream":
                whole = await answer.read()
                length = (b"content-length", str(len(whole)).encode())
                await send(_START | {"headers": [(b"content-type", kind), length]})
                await send({"type": "http.response.body", "body": whole, "more_body": False})
                return
            await send(_START | {"headers": [(b"content-type", kind)]})
            async for part in answer.content.iter_any():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def main() -> None:
    """Serve until SIGTERM, set up as `cognitionos serve` is."""
    port, model_port = int(sys.argv[1]), int(sys.argv[2])
    server = Server(
        "floor",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        workers=1,
        websockets=False,
        backpressure=1024,
        log_level=LogLevels.warning,
        log_access=False,
    )
    server.serve(target_loader=lambda: Proxy(model_port), wrap_loader=False)


if __name__ == "__main__":
    main()
