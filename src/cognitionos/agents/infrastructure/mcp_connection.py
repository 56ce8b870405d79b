"""One connection to one MCP server, over the official SDK: the SDK's only door, imported when a server is first used.

The SDK's scopes want to be left by the task that entered them: each connection is lived by a task of its own, and
others talk through it. Its HTTP goes to tested addresses only, and its answers are cut off when they grow too long.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cognitionos.agents.domain.tool import ToolNotReached
from cognitionos.agents.infrastructure.mcp_stderr import LastWords
from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.http_address import AllowedHosts, Resolve, resolve_by_system

CONNECT_S = 15.0
MOST_BYTES = 4 * 2**20
_PAGES = 20
_LATE_IN_A_ROW = 2
_CLOSE_S = 8.0
_HIDDEN = "the details are in the log"
Found = TypeVar("Found")
Open = Callable[[], AbstractAsyncContextManager[Any]]


class McpServerUnavailable(Unavailable):
    """The MCP server does not answer, went away, or answers nonsense."""


class McpServerNotReached(McpServerUnavailable, ToolNotReached):
    """The MCP server did not even hear of the call."""


class McpRefused(Unavailable):
    """The MCP server answered the request with an error; the connection is as good as before."""

    passes = False


@dataclass(eq=False)
class McpConnection:
    """A server being talked to. `open_client` gives the SDK's client as a context manager.

    `words` are the last of a server that is a process: they are told with what went wrong.
    """

    name: str
    open_client: Open
    words: LastWords | None = None
    _client: "asyncio.Future[Any]" = field(init=False, repr=False)
    _leave: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _late: int = field(default=0, init=False)
    _life: "asyncio.Task[None] | None" = field(default=None, init=False)

    @property
    def is_live(self) -> bool:
        """Whether it can be talked to, as far as is known."""
        return self._life is not None and not self._life.done() and not self._leave.is_set()

    async def open(self) -> None:
        """Connect within `CONNECT_S`. Raises `McpServerUnavailable`."""
        self._client = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live())
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.shield(self._client)
        except TimeoutError as error:
            await self.close()
            said = await self._said()
            raise McpServerUnavailable(f"'{self.name}' did not answer within {CONNECT_S:g} s{said}") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End it; a process that does not want to is killed."""
        self._leave.set()
        if self._life is None:
            return
        _, late = await asyncio.wait({self._life}, timeout=_CLOSE_S)
        for each in late:
            each.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    async def tools(self) -> list[Any]:
        """Every tool it offers (the SDK's `Tool`). Raises `McpServerUnavailable`, `McpRefused`."""
        client, found, cursor = await self._client, list[Any](), None
        for _ in range(_PAGES):
            page = await self._talk(client.session.list_tools(params=_page(cursor)))
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def call(self, tool: str, arguments: Mapping[str, Any], *, meta: Mapping[str, Any], timeout_s: float) -> Any:
        """The SDK's `CallToolResult`. Raises `McpServerUnavailable`, `McpRefused`."""
        client = await self._client
        return await self._talk(client.session.call_tool(tool, dict(arguments), timeout_s, meta=dict(meta)))

    async def _talk(self, request: Coroutine[Any, Any, Found]) -> Found:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS, REQUEST_TIMEOUT

        if self._life is None:
            raise McpServerUnavailable(f"'{self.name}' is not connected")
        work = asyncio.ensure_future(request)
        try:
            await asyncio.wait({work, self._life}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise McpServerUnavailable(f"'{self.name}' went away: {_why(self._life)}{await self._said()}")
            answer = await work
            self._late = 0
            return answer
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                self._leave.set()
                gone = f"'{self.name}' went away in the middle of it{await self._said()}"
                raise McpServerUnavailable(gone) from error
            if error.code == REQUEST_TIMEOUT:
                self._late += 1
                if self._late >= _LATE_IN_A_ROW:
                    self._leave.set()  # it hangs: the next call starts it anew
                raise McpServerUnavailable(f"'{self.name}' did not answer in time") from error
            if error.code != INVALID_PARAMS:
                self._leave.set()  # who knows what state it is in: the next call connects anew
            raise McpRefused(f"'{self.name}' refused: {error.message[:1000]}") from error
        except (OSError, RuntimeError, ValueError) as error:
            raise McpServerUnavailable(f"'{self.name}' answered nonsense ({type(error).__name__})") from error
        finally:
            work.cancel()

    async def _live(self) -> None:
        try:
            async with self.open_client() as client:
                client.session.validate_tool_result = _as_it_is  # a stranger's patterns are not run
                if not self._client.done():
                    self._client.set_result(client)
                await self._leave.wait()
        except BaseException as error:
            if not self._client.done():
                said = "" if isinstance(error, asyncio.CancelledError) else await self._said()
                reason = McpServerUnavailable(f"'{self.name}' cannot be reached: {_in_short(error)}{said}")
                self._client.set_exception(reason)
                self._client.exception()  # taken note of, whoever still waits
            if isinstance(error, asyncio.CancelledError):
                raise

    async def _said(self) -> str:
        return "" if self.words is None else await self.words.told()


def stdio_client(command: str, args: Sequence[str], env: Mapping[str, str], words: LastWords) -> Open:
    """A process of ours, talked to over its standard input and output, without our environment."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        await _imported()
        from mcp.client.client import Client

        from cognitionos.agents.infrastructure.mcp_pipes import piped

        async with Client(piped(command, args, env, words=words, most_bytes=MOST_BYTES), cache=None) as client:
            yield client

    return opened


def http_client(
    url: str,
    headers: Mapping[str, str],
    *,
    allowed: AllowedHosts,
    timeout_s: float,
    resolve: Resolve = resolve_by_system,
) -> Open:
    """A server elsewhere, over streamable HTTP; only at addresses that are public or that the operator named."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        await _imported()
        import httpx2
        from mcp.client.client import Client
        from mcp.client.streamable_http import streamable_http_client

        from cognitionos.agents.infrastructure.mcp_http import GuardedTransport

        async with httpx2.AsyncClient(
            headers={**headers, "accept-encoding": "identity"},
            transport=GuardedTransport(allowed, resolve=resolve, most_bytes=MOST_BYTES),
            timeout=httpx2.Timeout(10.0, read=timeout_s + 5),
            trust_env=False,
        ) as http:
            there = streamable_http_client(url, http_client=http, max_sse_event_size=MOST_BYTES)
            async with Client(there, cache=None) as client:
                yield client

    return opened


async def _imported() -> None:
    """Import the SDK (1.3 s of CPU) beside the loop, once."""

    def load() -> None:
        import mcp.client.client  # noqa: F401

    await asyncio.to_thread(load)


async def _as_it_is(_name: str, _result: Any) -> None:
    """Take a result as it is: it goes to a model as text."""


def _page(cursor: str | None) -> Any:
    from mcp_types import PaginatedRequestParams

    return PaginatedRequestParams(cursor=cursor)


def _why(life: "asyncio.Task[None]") -> str:
    error = None if life.cancelled() else life.exception()
    return "it closed the connection" if error is None else _in_short(error)


def _in_short(error: BaseException) -> str:
    """The innermost cause in one line, without what a stranger's server wrote at length."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    with suppress(Exception):
        return f"{type(error).__name__}: {str(error)[:300]}"
    return _HIDDEN
