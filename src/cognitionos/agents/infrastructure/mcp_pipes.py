"""An MCP server as a process, talked to in lines of JSON: the streams that the SDK's client wants.

In place of the SDK's own, which keeps a line however long it grows, reads as fast as the process writes, and logs a
stack trace for each line that is no message. Imported with the SDK only.
"""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from cognitionos.agents.infrastructure.mcp_pace import A_MESSAGE, Pace
from cognitionos.agents.infrastructure.mcp_stderr import LastWords

_LEAVE_S, _LOOK_S = 2.0, 0.02


@asynccontextmanager
async def piped(
    command: str, args: Sequence[str], env: Mapping[str, str], *, words: LastWords, most_bytes: int
) -> AsyncIterator[tuple[Any, Any]]:
    """Start it, in a session of its own and without our environment; at the end everything of that session is killed.

    A line of more than `most_bytes` ends the connection. Raises `OSError`.
    """
    async with words.listening() as errlog:
        process = await asyncio.create_subprocess_exec(
            command,
            *args,
            env=get_default_environment() | dict(env),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errlog,
            limit=most_bytes,
            start_new_session=True,
        )
        errlog.close()  # it is the process's now: with the process it ends
        heard, hears = anyio.create_memory_object_stream[Any](0)
        said, says = anyio.create_memory_object_stream[Any](0)
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise OSError("the process has no pipes")
        tasks = [asyncio.create_task(_read(stdout, heard, words)), asyncio.create_task(_write(stdin, says, heard))]
        try:
            yield hears, said
        finally:
            await asyncio.shield(_end(process, tasks))
            for stream in (heard, hears, said, says):
                stream.close()


async def _read(stdout: asyncio.StreamReader, heard: Any, words: LastWords) -> None:
    """Hand on what it says, message by message; what is none is passed over."""
    pace = Pace()
    with heard, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, asyncio.IncompleteReadError):
        while True:
            try:
                line = await stdout.readuntil(b"\n")
            except asyncio.LimitOverrunError:
                words.data_received(b"\n(what it answered was too long and is not read)\n")
                return
            await pace.take(len(line) + A_MESSAGE)
            with suppress(ValueError):
                await heard.send(SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)))


async def _write(stdin: asyncio.StreamWriter, says: Any, heard: Any) -> None:
    """Say what is to be said; where nobody listens any more, the connection is at its end."""
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for each in says:
            text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            stdin.write(text.encode() + b"\n")
            await stdin.drain()
        return
    heard.close()


async def _end(process: Process, tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Let it leave by itself, then make it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if process.stdin is not None:
        process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        await _left(process)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
    await _left(process)
    transport = getattr(process, "_transport", None)  # which otherwise waits for the end of pipes nobody reads
    if transport is not None:
        transport.close()


async def _left(process: Process) -> None:
    """Until it has left, `_LEAVE_S` at most. Not `wait()`, which waits for whoever inherited the pipes too."""
    for _ in range(int(_LEAVE_S / _LOOK_S)):
        if process.returncode is not None:
            return
        await asyncio.sleep(_LOOK_S)
