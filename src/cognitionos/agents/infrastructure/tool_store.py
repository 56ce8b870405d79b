"""What tenants say of tools: rules, MCP servers, databases. Rows, and the SQL for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cognitionos.agents.domain.approval import Default
from cognitionos.agents.domain.tool_rule import DEADLINE_S, Approval, Comparison, Condition, ToolRule
from cognitionos.platform.database import Database

Transport = Literal["stdio", "http"]
Table = Literal["tool_rules", "tool_servers", "tool_databases"]

_READ = """
SELECT json_build_object(
  'rules', COALESCE((SELECT json_agg(json_build_object(
      'tool', tool, 'allowed', allowed, 'roles', roles, 'approval', approval, 'conditions', conditions,
      'deadline_s', deadline_s, 'default_decision', default_decision)) FROM tool_rules), '[]'),
  'servers', COALESCE((SELECT json_agg(json_build_object(
      'name', name, 'timeout_s', timeout_s, 'tools', tools, 'place', json_build_array(url, command, args))
      ORDER BY name) FROM tool_servers), '[]'),
  'databases', COALESCE((SELECT json_agg(json_build_object(
      'name', name, 'description', description, 'timeout_s', timeout_s) ORDER BY name) FROM tool_databases), '[]')
)::text
"""
_NAMED_BY = {"tool_rules": "tool", "tool_servers": "name", "tool_databases": "name"}
_PUT_RULE = """
INSERT INTO tool_rules (tenant_id, tool, allowed, roles, approval, conditions, deadline_s, default_decision)
VALUES (%(tenant_id)s, %(tool)s, %(allowed)s, %(roles)s, %(approval)s, %(conditions)s, %(deadline_s)s,
        %(default_decision)s)
ON CONFLICT (tenant_id, tool) DO UPDATE SET allowed = excluded.allowed, roles = excluded.roles,
  approval = excluded.approval, conditions = excluded.conditions, deadline_s = excluded.deadline_s,
  default_decision = excluded.default_decision, changed_at = now()
RETURNING *
"""
_PUT_SERVER = """
INSERT INTO tool_servers (tenant_id, name, transport, command, args, url, sealed, secret_names, timeout_s, tools,
                          refused, error, asked_at, version)
VALUES (%(tenant_id)s, %(name)s, %(transport)s, %(command)s, %(args)s, %(url)s, %(sealed)s, %(secret_names)s,
        %(timeout_s)s, '[]', '{}', NULL, NULL, %(version)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET transport = excluded.transport, command = excluded.command,
  args = excluded.args, url = excluded.url, sealed = excluded.sealed, secret_names = excluded.secret_names,
  timeout_s = excluded.timeout_s, tools = '[]', refused = '{}', error = NULL, asked_at = NULL,
  version = excluded.version, changed_at = now()
RETURNING *
"""
_NOTE_TOOLS = """
UPDATE tool_servers SET tools = COALESCE(%(tools)s, tools), refused = COALESCE(%(refused)s, refused),
  error = %(error)s, asked_at = now()
WHERE name = %(name)s AND version = %(version)s RETURNING *
"""
_PUT_DATABASE = """
INSERT INTO tool_databases (tenant_id, name, description, host, database, account, sealed, timeout_s, max_rows)
VALUES (%(tenant_id)s, %(name)s, %(description)s, %(host)s, %(database)s, %(account)s, %(sealed)s, %(timeout_s)s,
        %(max_rows)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET description = excluded.description, host = excluded.host,
  database = excluded.database, account = excluded.account, sealed = excluded.sealed,
  timeout_s = excluded.timeout_s, max_rows = excluded.max_rows, changed_at = now()
RETURNING *
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """A rule as stored."""

    tenant_id: UUID
    tool: str
    allowed: bool
    roles: list[str]
    approval: str
    conditions: list[dict[str, Any]]
    deadline_s: float
    default_decision: Default
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """An MCP server as stored; `tools` are those it offered last, `refused` says why others of it are not used."""

    tenant_id: UUID
    name: str
    transport: Transport
    command: str | None
    args: list[str]
    url: str | None
    sealed: bytes | None
    secret_names: list[str]
    timeout_s: float
    tools: list[dict[str, Any]]
    refused: dict[str, str]
    error: str | None
    asked_at: datetime | None
    version: UUID
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRow:
    """A database as stored."""

    tenant_id: UUID
    name: str
    description: str
    host: str
    database: str
    account: str
    sealed: bytes
    timeout_s: float
    max_rows: int
    changed_at: datetime


class ReadCondition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition in JSON."""

    path: str
    op: Comparison
    value: Any = None


class ReadRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in JSON."""

    tool: str
    allowed: bool = True
    roles: tuple[str, ...] = ()
    approval: Approval = Approval.NEVER
    conditions: tuple[ReadCondition, ...] = ()
    deadline_s: float = DEADLINE_S
    default_decision: Default = "reject"

    def rule(self) -> ToolRule:
        """As the use cases know it."""
        return ToolRule(
            tool=self.tool,
            allowed=self.allowed,
            roles=self.roles,
            approval=self.approval,
            conditions=tuple(Condition(path=each.path, op=each.op, value=each.value) for each in self.conditions),
            deadline_s=self.deadline_s,
            default=self.default_decision,
        )


class ReadTool(msgspec.Struct, frozen=True, kw_only=True):
    """A server's tool in JSON."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: str


class ReadServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server's tools in JSON; `place` says where it is."""

    name: str
    timeout_s: float
    tools: tuple[ReadTool, ...]
    place: Any = None


class ReadDatabase(msgspec.Struct, frozen=True, kw_only=True):
    """A database in JSON."""

    name: str
    description: str
    timeout_s: float


class ReadKit(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a tenant says of tools, in one read."""

    rules: tuple[ReadRule, ...]
    servers: tuple[ReadServer, ...]
    databases: tuple[ReadDatabase, ...]


class ToolStore:
    """The three tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, tenant_id: UUID) -> ReadKit:
        """Everything a tenant says."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_READ)).fetchone()
        return msgspec.json.decode(row[0] if row else b"{}", type=ReadKit)

    async def rules(self, tenant_id: UUID) -> list[RuleRow]:
        """The tenant's rules, by tool."""
        return await self._rows(RuleRow, tenant_id, "tool_rules", None)

    async def servers(self, tenant_id: UUID, name: str | None = None) -> list[ServerRow]:
        """The tenant's MCP servers by name, or the one."""
        return await self._rows(ServerRow, tenant_id, "tool_servers", name)

    async def databases(self, tenant_id: UUID, name: str | None = None) -> list[DatabaseRow]:
        """The tenant's databases by name, or the one."""
        return await self._rows(DatabaseRow, tenant_id, "tool_databases", name)

    async def put_rule(self, tenant_id: UUID, rule: ReadRule) -> RuleRow:
        """Make or replace a rule."""
        values = msgspec.structs.asdict(rule) | {
            "roles": list(rule.roles),
            "approval": rule.approval.value,
            "conditions": Jsonb(msgspec.to_builtins(rule.conditions)),
        }
        row: RuleRow = await self._put(RuleRow, tenant_id, _PUT_RULE, values)
        return row

    async def put_server(self, tenant_id: UUID, values: Mapping[str, Any]) -> ServerRow:
        """Make or replace a server; what it offered is forgotten."""
        row: ServerRow = await self._put(ServerRow, tenant_id, _PUT_SERVER, values)
        return row

    async def note_tools(
        self,
        server: ServerRow,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        refused: Mapping[str, str] | None = None,
        error: str | None = None,
    ) -> ServerRow | None:
        """Keep what it offers, or why it could not say (then what it offered last stays). None: it was changed."""
        values = {
            "name": server.name,
            "version": server.version,
            "tools": None if tools is None else Jsonb(list(tools)),
            "refused": None if refused is None else Jsonb(dict(refused)),
            "error": error,
        }
        async with self._database.transaction(server.tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(ServerRow))
            return await (await cursor.execute(_NOTE_TOOLS, values)).fetchone()

    async def put_database(self, tenant_id: UUID, values: Mapping[str, Any]) -> DatabaseRow:
        """Make or replace a database."""
        row: DatabaseRow = await self._put(DatabaseRow, tenant_id, _PUT_DATABASE, values)
        return row

    async def delete(self, tenant_id: UUID, table: Table, name: str) -> bool:
        """Take it away; says whether it was there."""
        statement = f"DELETE FROM {table} WHERE {_NAMED_BY[table]} = %s"  # noqa: S608 - both are words of ours
        async with self._database.transaction(tenant_id) as connection:
            return (await connection.execute(statement.encode(), (name,))).rowcount > 0

    async def _put(self, kind: Any, tenant_id: UUID, statement: str, values: Mapping[str, Any]) -> Any:
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(kind))
            return await (await cursor.execute(statement.encode(), {**values, "tenant_id": tenant_id})).fetchone()

    async def _rows(self, kind: Any, tenant_id: UUID, table: Table, name: str | None) -> list[Any]:
        column = _NAMED_BY[table]
        where = "" if name is None else f"WHERE {column} = %s"
        statement = f"SELECT * FROM {table} {where} ORDER BY {column}"  # noqa: S608 - both are words of ours
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(kind))
            return await (await cursor.execute(statement.encode(), None if name is None else (name,))).fetchall()
