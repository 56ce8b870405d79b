"""MCP servers that mean no good: bounded in bytes, in seconds and in what they cost the loop, over both transports."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests import mcp_hostile

from cognitionos.agents.infrastructure.mcp_connection import (
    McpConnection,
    McpServerUnavailable,
    http_client,
    stdio_client,
)
from cognitionos.agents.infrastructure.mcp_schema import offered
from cognitionos.agents.infrastructure.mcp_stderr import LastWords
from cognitionos.platform.http_address import AllowedHosts

HOSTILE = str(Path(mcp_hostile.__file__))
BRIEF_S = 1.0


@asynccontextmanager
async def a_process() -> AsyncIterator[McpConnection]:
    words = LastWords()
    connection = McpConnection("hostile", stdio_client(sys.executable, [HOSTILE], {}, words), words)
    await connection.open()
    try:
        yield connection
    finally:
        await connection.close()


async def said(connection: McpConnection, tool: str, *, timeout_s: float = 20.0) -> str:
    """The text that came back."""
    result = await connection.call(tool, {}, meta={}, timeout_s=timeout_s)
    text: str = result.content[0].text
    return text


async def test_what_a_process_answers_beside_the_question_is_passed_over() -> None:
    async with a_process() as process:
        assert await said(process, "other_ids") == "yours"
        assert await said(process, "nonsense") == "after the nonsense"
        assert await said(process, "stderr") == "after the flood"
        assert await said(process, "ok") == "fine"


async def test_nothing_is_told_to_a_server_that_asks() -> None:
    async with a_process() as process:
        refused = json.loads(await said(process, "sample"))

        assert refused == {"s1": True, "s2": True, "s3": True}


@pytest.mark.parametrize("tool", ["big", "endless"])
async def test_an_answer_beyond_all_bounds_ends_the_connection(tool: str) -> None:
    async with a_process() as process:
        with pytest.raises(McpServerUnavailable, match="too long and is not read"):
            await said(process, tool)

        assert not process.is_live


async def test_a_process_that_dies_in_mid_answer_is_known_to_be_gone_at_once() -> None:
    async with a_process() as process:
        with pytest.raises(McpServerUnavailable, match="went away"):
            await said(process, "die", timeout_s=60.0)

        assert not process.is_live


@pytest.mark.parametrize("tool", ["deep", "silent"])
async def test_what_cannot_be_read_or_never_comes_ends_with_the_deadline(tool: str) -> None:
    async with a_process() as process:
        with pytest.raises(McpServerUnavailable, match="did not answer in time"):
            await said(process, tool, timeout_s=BRIEF_S)

        assert await said(process, "ok") == "fine"


async def test_a_storm_of_notifications_does_not_hold_up_the_loop() -> None:
    async with a_process() as process:
        used = time.process_time()

        with pytest.raises(McpServerUnavailable, match="did not answer in time"):
            await said(process, "storm", timeout_s=3 * BRIEF_S)

        assert time.process_time() - used < 2 * BRIEF_S


async def test_tools_that_models_would_take_for_one_another_are_refused() -> None:
    async with a_process() as process:
        kept, refused = offered(await process.tools())

        assert {"x.y", "python"} <= {tool["name"] for tool in kept}
        assert refused == {"x__y": "models would take it for 'x.y'"}


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gets: list[str]) -> None:
    """One request: a handshake, and then events for ever."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
    body = json.loads(await reader.readexactly(int(fields.get("content-length", "0"))) or "{}")
    gets += [head] if head.startswith("GET") else []
    if body.get("method") == "initialize":
        info = {"name": "hostile", "version": "1"}
        result = {"protocolVersion": body["params"]["protocolVersion"], "capabilities": {}, "serverInfo": info}
        text = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": result}).encode()
        kind = f"content-type: application/json\r\nmcp-session-id: 1\r\ncontent-length: {len(text)}"
        writer.write(f"HTTP/1.1 200 OK\r\n{kind}\r\nconnection: close\r\n\r\n".encode() + text)
    elif "id" in body and body["method"] != "tools/call":
        text = json.dumps({"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32601, "message": "no"}}).encode()
        kind = f"content-type: application/json\r\ncontent-length: {len(text)}"
        writer.write(f"HTTP/1.1 200 OK\r\n{kind}\r\nconnection: close\r\n\r\n".encode() + text)
    elif "id" in body or head.startswith("GET"):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x"}}
        event = f"id: 1\nretry: 0\ndata: {json.dumps(told)}\n\n".encode()
        while body.get("params", {}).get("name") != "closes":
            writer.write(event * 100)
            await writer.drain()
        writer.write(event)
    else:
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[McpConnection, list[str]]]:
    """A connection to a server over HTTP that never stops telling, and who opened a stream there."""
    gets: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer, gets)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    allowed = AllowedHosts.parse([f"127.0.0.1:{port}"])
    open_client: Any = http_client(f"http://127.0.0.1:{port}/mcp", {}, allowed=allowed, timeout_s=5.0)
    connection = McpConnection("hostile", open_client)
    await connection.open()
    try:
        yield connection, gets
    finally:
        await connection.close()
        server.close()


@pytest.mark.parametrize("tool", ["never_ends", "closes"])
async def test_events_for_ever_do_not_hold_up_the_loop(tool: str) -> None:
    async with elsewhere() as (connection, gets):
        used, began = time.process_time(), time.monotonic()

        with pytest.raises(McpServerUnavailable):
            await said(connection, tool, timeout_s=3 * BRIEF_S)

        assert time.monotonic() - began < 15 * BRIEF_S
        assert time.process_time() - used < 3 * BRIEF_S
        assert len(gets) < 200
