"""An MCP server of the official SDK, run as a process: `mcp_peer.py stdio`, or `mcp_peer.py http PORT`."""

import asyncio
import os
import sys
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel

READS = ToolAnnotations(read_only_hint=True)
SECRET = "PEER_SECRET"
server: Any = MCPServer("peer")
calls: list[str] = []


class Sum(BaseModel):
    total: int


class Pair(BaseModel):
    a: int
    b: int


@server.tool(annotations=READS)
def add(pair: Pair) -> Sum:
    """Add two numbers."""
    return Sum(total=pair.a + pair.b)


@server.tool(description=os.environ.get("PEER_ORDER", "Order something."))
def order(item: str, amount: int) -> str:
    calls.append(item)
    return f"ordered {amount} {item}, order {len(calls)}"


@server.tool(annotations=READS)
def environment() -> str:
    """Show the secret and which variables there are."""
    return f"{os.environ.get(SECRET)} {'DATABASE_URL' in os.environ} {'TEST_MARKER' in os.environ}"


@server.tool()
def fetch(url: str) -> str:
    """Fetch a page."""
    calls.append(url)
    return f"fetched {url}"


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("there is nothing to order")


@server.tool()
def crash() -> str:
    """Leave in the middle of a call."""
    sys.stderr.write(f"\x1b[31mTraceback:\x1b[0m\nno ink left for {os.environ.get(SECRET)}\n")
    sys.stderr.flush()
    os._exit(1)


@server.tool()
async def hang() -> str:
    """Never answer."""
    await asyncio.sleep(3600)
    return "never"


@server.tool(annotations=READS)
def flood(characters: int) -> str:
    """Say a lot."""
    return "x" * characters


@contextmanager
def running_peer(port: int, **variables: str):
    """This file as an HTTP server on 127.0.0.1, ready when this gives its URL."""
    import subprocess

    import httpx
    from tests.waiting import eventually_sync

    def is_ready() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"http://127.0.0.1:{port}/mcp", timeout=1).status_code > 0
        except httpx.TransportError:
            return False

    env = {**os.environ, **variables}
    process = subprocess.Popen([sys.executable, __file__, "http", str(port)], env=env, stderr=subprocess.DEVNULL)
    try:
        eventually_sync(is_ready, timeout_s=30)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
