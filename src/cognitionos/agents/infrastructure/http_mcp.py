"""CognitionOS as an MCP server: streamable HTTP at `/mcp`, stateless, so that any process may answer any request.

The SDK is imported with the first request (1.3 s of CPU, 35 MB): a process that nobody asks over MCP never pays for it.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from litestar import Request, Response, Router, post
from litestar.di import NamedDependency

from cognitionos import __version__
from cognitionos.agents.infrastructure import mcp_offer
from cognitionos.kernel.json_text import read_json
from cognitionos.platform.http_api import instance, requires_any_key

INSTRUCTIONS = (
    "CognitionOS works on goals with agents: start_goal, then follow_run with the goal's run. "
    "What it learns is in its memory: search_memory."
)
_PASSED_ON = frozenset({b"authorization", b"x-api-key", b"host", b"x-request-id"})
_SEND = "cognitionos.send"


class McpDoor:
    """The SDK's server, started when it is first asked. `open` and `close` on the loop that uses it."""

    def __init__(self) -> None:
        self._manager: Any = None
        self._life: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._leave = asyncio.Event()

    async def open(self) -> None:
        """Nothing yet: see the class."""

    async def close(self) -> None:
        """End the server; requests in flight are cut off."""
        self._leave.set()
        if self._life is not None:
            await self._life

    async def answer(self, request: Request[Any, Any, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The status, the headers and the body that the SDK gives to `request`."""
        manager = await self._started()
        body = await request.body()
        status, headers, chunks = 500, list[tuple[bytes, bytes]](), list[bytes]()
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            message = next(given, None)
            if message is None:
                await asyncio.Event().wait()  # the caller does not leave before it is answered
            return message

        async def send(message: Any) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message["headers"])
            elif message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))

        scope = {**request.scope, "path": "/", "raw_path": b"/", _SEND: _sender(request)}
        await manager.handle_request(scope, receive, send)
        return status, headers, b"".join(chunks)

    async def _started(self) -> Any:
        async with self._starting:
            if self._manager is None:
                ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                self._life = asyncio.create_task(self._live(ready))
                self._manager = await ready
            return self._manager

    async def _live(self, ready: "asyncio.Future[Any]") -> None:
        try:
            manager = await asyncio.to_thread(_make)
            async with manager.run():
                ready.set_result(manager)
                await self._leave.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
                return
            raise


def _make() -> Any:
    """The SDK's server with our tools. Imports the SDK."""
    import mcp_types as types
    from mcp.server.lowlevel.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    tools = [
        types.Tool(
            name=each.name,
            description=each.description,
            input_schema=each.schema,
            annotations=types.ToolAnnotations(read_only_hint=each.reads),
        )
        for each in mcp_offer.OFFERS
    ]

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            worked, answer = await mcp_offer.call(params.name, params.arguments or {}, context.request.scope[_SEND])
        except mcp_offer.UnknownTool as error:
            worked, answer = False, {"error": str(error)}
        text = types.TextContent(text=mcp_offer.as_text(answer))
        structured = answer if isinstance(answer, dict) else None
        return types.CallToolResult(content=[text], structured_content=structured, is_error=not worked)

    server: Server[Any] = Server(
        "cognitionos",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    return StreamableHTTPSessionManager(server, json_response=True, stateless=True)


def _sender(request: Request[Any, Any, Any]) -> mcp_offer.Send:
    """Requests to this very application, with the credential of `request`."""
    app, given = request.app, request.scope["headers"]
    passed = [(name, value) for name, value in given if name in _PASSED_ON]

    async def send(method: str, path: str, body: Any) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        scope: dict[str, Any] = {
            **{key: request.scope[key] for key in ("asgi", "http_version", "scheme", "client", "server")},
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [*passed, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))],
            "state": {},
        }
        return await _asked(app, scope, content)

    return send


async def _asked(app: Any, scope: Mapping[str, Any], content: bytes) -> tuple[int, Any]:
    status, chunks = 500, list[bytes]()
    messages = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    async def collect(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))

    await app(scope, receive, collect)
    body = b"".join(chunks)
    with suppress(ValueError):
        return status, read_json(body)
    return status, {"text": body.decode("utf-8", "replace")}


@post("/mcp", status_code=200, guards=[requires_any_key()], include_in_schema=False)
async def answer_mcp(request: Request[Any, Any, Any], mcp_door: NamedDependency[McpDoor]) -> Response[bytes]:
    """One message of the protocol; each tool asks for its own permission."""
    status, headers, body = await mcp_door.answer(request)
    kept = {name.decode(): value.decode() for name, value in headers if name.lower() != b"content-length"}
    return Response(body, status_code=status, headers=kept)


def routes(door: McpDoor) -> Router:
    """The router."""
    return Router("/", route_handlers=[answer_mcp], dependencies={"mcp_door": instance(door)})
