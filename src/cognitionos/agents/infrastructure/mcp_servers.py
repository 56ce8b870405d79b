"""Tenants' MCP servers: asked what they offer, kept connected while they are used, told to agents as tools.

What a server offers is stored, so that no agent waits for a server it does not call. A server that fails is left alone
for a while and says so; it holds up nobody but its own callers.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from cognitionos.agents.application.ports import Tool, ToolAnswer, ToolContext
from cognitionos.agents.domain.tool import Access, Effect, ToolSpec, clipped
from cognitionos.agents.infrastructure.mcp_connection import (
    McpConnection,
    McpServerNotReached,
    McpServerUnavailable,
    http_client,
    stdio_client,
)
from cognitionos.agents.infrastructure.mcp_schema import offered
from cognitionos.agents.infrastructure.mcp_stderr import LastWords
from cognitionos.agents.infrastructure.tool_store import ReadServer, ReadTool, ServerRow, ToolStore
from cognitionos.kernel.errors import DomainError, Forbidden
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.sealing import SealingKey, unseal
from cognitionos.platform.url_spellings import spellings_elsewhere

ASK_S = 20.0
MOST_CONNECTIONS = 64
IDLE_S = 600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_KEY = "cognitionos/idempotency-key"


class StdioRefused(Forbidden):
    """The operator does not let tenants start processes (`COGNITIONOS_MCP_STDIO`)."""


class McpServerChanged(McpServerUnavailable):
    """The server is not there any more."""


@dataclass(eq=False)
class _Place:
    """One server of one tenant in this process."""

    version: UUID
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: McpConnection | None = None
    failures: int = 0
    not_before: float = 0.0
    reason: str = ""
    used_at: float = 0.0


@dataclass(eq=False, kw_only=True)
class McpServers:
    """Connections to servers, opened when one is called, closed when it is idle."""

    store: ToolStore
    sealing_key: SealingKey
    allowed: AllowedHosts
    is_stdio_allowed: bool
    monotonic: Callable[[], float] = time.monotonic
    _places: dict[tuple[UUID, str], _Place] = field(default_factory=dict, init=False)

    async def open(self) -> None:
        """Nothing yet: servers are connected to when they are called."""

    async def close(self) -> None:
        """End every connection and every process."""
        places, self._places = list(self._places.values()), {}
        await asyncio.gather(*(each.connection.close() for each in places if each.connection is not None))

    async def ask(self, server: ServerRow) -> ServerRow:
        """Ask it what it offers and store that, or why it cannot be told."""
        connection = self._connection_of(server)
        try:
            async with asyncio.timeout(ASK_S):
                await connection.open()
                tools, refused = offered(await connection.tools())
            noted = await self.store.note_tools(server, tools=tools, refused=refused)
        except TimeoutError:
            noted = await self.store.note_tools(server, error=f"It did not say within {ASK_S:g} s what it offers.")
        except DomainError as error:
            noted = await self.store.note_tools(server, error=error.detail)
        finally:
            await connection.close()
        return noted or server

    async def call(self, context: ToolContext, server: str, tool: str, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Call a tool. Raises `McpServerUnavailable`, `McpServerNotReached`, `McpRefused`, `StdioRefused`."""
        rows = await self.store.servers(context.tenant_id, server)
        if not rows:
            raise McpServerChanged(f"'{server}' is not there any more.")
        try:
            connection = await self._connected(rows[0])
        except McpServerUnavailable as error:
            raise McpServerNotReached(error.detail) from error
        result = await connection.call(
            tool, arguments, meta={_KEY: context.idempotency_key}, timeout_s=rows[0].timeout_s
        )
        return ToolAnswer(content=_content(result, context.longest), is_error=bool(result.is_error))

    async def _connected(self, server: ServerRow) -> McpConnection:
        place = await self._place(server)
        async with place.lock:
            place.used_at = self.monotonic()
            if place.connection is not None and place.connection.is_live:
                return place.connection
            if place.not_before > place.used_at:
                wait_s = place.not_before - place.used_at
                raise McpServerUnavailable(f"{place.reason} It is tried again in {wait_s:.0f} s.")
            if place.connection is not None:
                await place.connection.close()
            connection = place.connection = self._connection_of(server)
            try:
                await connection.open()
            except McpServerUnavailable as error:
                self._note_failure(place, error.detail)
                raise
            place.failures = 0
            return connection

    async def _place(self, server: ServerRow) -> _Place:
        key = (server.tenant_id, server.name)
        place = self._places.get(key)
        outdated = [] if place is None or place.version == server.version else [key]
        for each in [*outdated, *self._idle(but=key)]:
            left = self._places.pop(each)
            if left.connection is not None:
                await left.connection.close()
        return self._places.setdefault(key, _Place(server.version))

    def _idle(self, *, but: tuple[UUID, str]) -> list[tuple[UUID, str]]:
        """Who is not used any more; the longest unused too where there are too many."""
        now = self.monotonic()
        by_age = sorted((key for key in self._places if key != but), key=lambda key: self._places[key].used_at)
        too_many = max(0, len(by_age) + 1 - MOST_CONNECTIONS)
        return [
            key
            for number, key in enumerate(by_age)
            if number < too_many or now - self._places[key].used_at > IDLE_S
            if not self._places[key].lock.locked()
        ]

    def _note_failure(self, place: _Place, reason: str) -> None:
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**place.failures)
        place.failures += 1
        place.reason, place.not_before = reason, self.monotonic() + pause

    def _connection_of(self, server: ServerRow) -> McpConnection:
        secrets = opened_secrets(self.sealing_key, server)
        if server.transport == "http":
            there = http_client(server.url or "", secrets, allowed=self.allowed, timeout_s=server.timeout_s)
            return McpConnection(server.name, there)
        if not self.is_stdio_allowed:
            raise StdioRefused("The operator does not allow servers that are processes (COGNITIONOS_MCP_STDIO).")
        words = LastWords(list(secrets.values()))
        return McpConnection(server.name, stdio_client(server.command or "", server.args, secrets, words), words)


def mcp_tools(servers: McpServers, read: ReadServer) -> list[Tool]:
    """The tools of a server, as agents know them: `server.tool`, closed until a rule opens them."""
    return [_tool(servers, read, each) for each in read.tools]


def _tool(servers: McpServers, server: ReadServer, offer: ReadTool) -> Tool:
    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        return await servers.call(context, server.name, offer.name, arguments)

    spec = ToolSpec(
        name=f"{server.name}.{offer.name}",
        description=offer.description,
        parameters=offer.parameters,
        effect=Effect(offer.effect),
        access=Access.CLOSED,
        offer=_offer(server, offer),
    )
    return Tool(spec=spec, run=run, timeout_s=server.timeout_s + ASK_S, spellings=lambda _path: spellings_elsewhere)


def _offer(server: ReadServer, offer: ReadTool) -> str:
    """Where the tool is and what is said of it, in short: what of this changes, nobody has approved."""
    said = [server.place, offer.name, offer.description, offer.parameters, offer.effect]
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def sealed_about(tenant_id: UUID, name: str, address: str) -> str:
    """What a server's secrets are bound to: elsewhere they do not open."""
    return f"tool-server:{tenant_id}:{name}:{address}"


def opened_secrets(key: SealingKey, server: ServerRow) -> dict[str, str]:
    """Its headers, or the variables of its environment."""
    if server.sealed is None:
        return {}
    address = server.url if server.transport == "http" else server.command
    about = sealed_about(server.tenant_id, server.name, address or "")
    opened = unseal(key, server.sealed, about=about, named=f"the secrets of the server '{server.name}'")
    found: dict[str, str] = json.loads(opened)
    return found


def _content(result: Any, longest: int) -> dict[str, Any]:
    """A result as JSON: what is structured, else its texts; of all else, what it is."""
    texts, rest = list[str](), list[str]()
    for each in result.content:
        text = getattr(each, "text", None) or getattr(getattr(each, "resource", None), "text", None)
        if isinstance(text, str):
            texts.append(text)
        else:
            rest.append(_described(each))
    told: dict[str, Any] = {}
    if isinstance(result.structured_content, dict | list) and not result.is_error:
        told["result"] = result.structured_content
    elif texts:
        told["error" if result.is_error else "text"] = clipped("\n".join(texts), longest)
    if rest:
        told["also"] = rest
    return told or {"text": ""}


def _described(block: Any) -> str:
    kind = getattr(block, "mime_type", None) or getattr(getattr(block, "resource", None), "mime_type", None)
    size = len(getattr(block, "data", "") or "")
    return f"{block.type} {kind or ''} {f'of {size * 3 // 4} bytes' if size else ''}".strip()
