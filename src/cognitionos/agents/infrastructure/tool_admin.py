"""What a tenant sets of its tools: checked, sealed, stored."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from cognitionos.agents.infrastructure.mcp_servers import McpServers, StdioRefused
from cognitionos.agents.infrastructure.mcp_servers import sealed_about as server_about
from cognitionos.agents.infrastructure.sql_address import DatabaseAddress
from cognitionos.agents.infrastructure.sql_tool import SqlDatabases
from cognitionos.agents.infrastructure.sql_tool import sealed_about as database_about
from cognitionos.agents.infrastructure.tool_store import DatabaseRow, ServerRow, Table, ToolStore
from cognitionos.kernel.errors import Invalid, NotFound
from cognitionos.platform.http_guard import check_base_url
from cognitionos.platform.sealing import SealingKey, seal

RESERVED = frozenset({"sql", "sql_schema"})
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_VALUE = re.compile(r"[\x20-\x7e]{0,8000}\Z")
# What the protocol and the connection decide, and what would make a process load code of somebody else's choice.
_OURS = re.compile(
    r"(host|accept|accept-.*|content-.*|transfer-encoding|connection|te|upgrade|expect|mcp-.*)\Z", re.IGNORECASE
)
_LOADERS = re.compile(r"(LD_|DYLD_|PYTHON|NODE_OPTIONS|PATH\Z|BASH_ENV|ENV\Z|PERL|RUBY)", re.IGNORECASE)


class ToolServerNotFound(NotFound):
    """This tenant has no MCP server of this name."""


class ToolDatabaseNotFound(NotFound):
    """This tenant has no database of this name."""


class ToolRuleNotFound(NotFound):
    """This tenant has no rule for this tool."""


class ToolSettingRefused(Invalid):
    """A name, an address, a header or a variable is not one that tools may have."""


class ToolAdmin:
    """Servers and databases of tenants."""

    def __init__(
        self,
        *,
        store: ToolStore,
        servers: McpServers,
        databases: SqlDatabases,
        sealing_key: SealingKey,
        new_id: Callable[[], UUID],
    ) -> None:
        self.store = store
        self.servers = servers
        self.databases = databases
        self.sealing_key = sealing_key
        self.new_id = new_id

    async def put_http_server(
        self, tenant_id: UUID, name: str, *, url: str, headers: Mapping[str, str], timeout_s: float
    ) -> ServerRow:
        """A server elsewhere, asked what it offers. Raises `ToolSettingRefused`, `BadUrl`, `DestinationRefused`."""
        for header, value in headers.items():
            if not _HEADER.match(header) or _OURS.match(header) or not _VALUE.match(value):
                raise _refused("headers", f"the header {header[:100]!r} is not sent")
        await check_base_url(url, self.servers.allowed)
        values: dict[str, object] = {"transport": "http", "command": None, "args": [], "url": url}
        return await self._put_server(tenant_id, name, values, address=url, secrets=headers, timeout_s=timeout_s)

    async def put_stdio_server(
        self,
        tenant_id: UUID,
        name: str,
        *,
        command: str,
        args: Sequence[str],
        env: Mapping[str, str],
        timeout_s: float,
    ) -> ServerRow:
        """A process on this machine, asked what it offers. Raises `ToolSettingRefused`, `StdioRefused`."""
        if not self.servers.is_stdio_allowed:
            raise StdioRefused("The operator does not allow servers that are processes (COGNITIONOS_MCP_STDIO).")
        if any("\x00" in text for text in (command, *args)):
            raise _refused("command", "it contains a NUL")
        for variable, value in env.items():
            if not _VARIABLE.match(variable) or _LOADERS.match(variable) or "\x00" in value:
                raise _refused("env", f"the variable {variable[:100]!r} is not set")
        values = {"transport": "stdio", "command": command, "args": list(args), "url": None}
        return await self._put_server(tenant_id, name, values, address=command, secrets=env, timeout_s=timeout_s)

    async def refresh_server(self, tenant_id: UUID, name: str) -> ServerRow:
        """Ask it again what it offers. Raises `ToolServerNotFound`."""
        rows = await self.store.servers(tenant_id, name)
        if not rows:
            raise ToolServerNotFound(f"There is no MCP server '{name[:100]}' of yours.")
        return await self.servers.ask(rows[0])

    async def put_database(
        self, tenant_id: UUID, name: str, *, url: str, description: str, timeout_s: float, max_rows: int
    ) -> DatabaseRow:
        """A database, tried out before anything is kept of it.

        Raises what a question to it would: `AccountTooPowerful`, `SqlDatabaseUnavailable`.
        """
        address = DatabaseAddress.parse(url)
        await self.databases.check(address, name=_checked(name), timeout_s=timeout_s)
        values = {
            "name": name,
            "description": description,
            "host": f"{address.host}:{address.port}",
            "database": address.database,
            "account": address.account,
            "sealed": seal(self.sealing_key, url, about=database_about(name, tenant_id)),
            "timeout_s": timeout_s,
            "max_rows": max_rows,
        }
        return await self.store.put_database(tenant_id, values)

    async def delete(self, tenant_id: UUID, table: Table, name: str) -> None:
        """Take it away. Raises what says that it is not there."""
        if "\x00" in name or not await self.store.delete(tenant_id, table, name):
            kinds = {
                "tool_servers": ToolServerNotFound,
                "tool_databases": ToolDatabaseNotFound,
                "tool_rules": ToolRuleNotFound,
            }
            raise kinds[table](f"There is nothing of yours by the name {name[:100]!r}.")

    async def _put_server(
        self,
        tenant_id: UUID,
        name: str,
        values: Mapping[str, object],
        *,
        address: str,
        secrets: Mapping[str, str],
        timeout_s: float,
    ) -> ServerRow:
        if _checked(name) in RESERVED:
            raise _refused("name", f"'{name}' is ours")
        if "__" in name:
            raise _refused("name", "'__' parts a server's name from its tool's, to models")
        about = server_about(tenant_id, name, address)
        given = {
            **values,
            "name": name,
            "sealed": seal(self.sealing_key, json.dumps(dict(secrets)), about=about) if secrets else None,
            "secret_names": sorted(secrets),
            "timeout_s": timeout_s,
            "version": self.new_id(),
        }
        return await self.servers.ask(await self.store.put_server(tenant_id, given))


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise _refused("name", "it has up to 40 of a-z, 0-9, '_' and '-', and begins with a letter or digit")
    return name


def _refused(field: str, reason: str) -> ToolSettingRefused:
    return ToolSettingRefused(f"'{field}' is refused: {reason}.", fields={field: reason})
