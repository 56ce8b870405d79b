"""CognitionOS for MCP clients that start a process: standard input and output here, `/mcp` of a server there."""

from typing import Any

from cognitionos import __version__
from cognitionos.kernel.errors import Unavailable

CALL_S = 60.0


class McpServerUnreachable(Unavailable):
    """The server does not answer at its URL, or refuses the key."""


async def pass_on(url: str, key: str) -> None:
    """Answer the client until it leaves. Raises `McpServerUnreachable`."""
    import httpx2
    from mcp.client.client import Client
    from mcp.client.streamable_http import streamable_http_client

    there = f"{url.rstrip('/')}/mcp"
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=CALL_S, trust_env=False) as http:
        try:
            answer = await http.post(
                there,
                json={"jsonrpc": "2.0", "id": 0, "method": "tools/list"},
                headers={"accept": "application/json, text/event-stream"},
            )
        except httpx2.HTTPError as error:
            raise McpServerUnreachable(f"nothing answers at {there} ({type(error).__name__})") from error
        if answer.status_code != 200:
            raise McpServerUnreachable(f"{there} refuses the key (HTTP {answer.status_code})")
        async with Client(streamable_http_client(there, http_client=http), cache=None) as client:
            await _serve(client)


async def _serve(client: Any) -> None:
    import mcp_types as types
    from mcp.server.lowlevel.server import Server
    from mcp.server.stdio import stdio_server

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        found: types.ListToolsResult = await client.session.list_tools()
        return types.ListToolsResult(tools=found.tools)

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        result: types.CallToolResult = await client.session.call_tool(params.name, params.arguments or {}, CALL_S)
        return types.CallToolResult(
            content=result.content, structured_content=result.structured_content, is_error=result.is_error
        )

    server: Server[Any] = Server(
        "cognitionos",
        version=__version__,
        instructions=client.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
