"""A tenant's tools over HTTP: what its agents may use, its rules, servers and databases. Secrets never come out."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.agents.application.tool_access import is_offered
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.approval import Default
from cognitionos.agents.domain.tool_rule import DEADLINE_S, Approval, Comparison, rule_for
from cognitionos.agents.infrastructure.tool_admin import ToolAdmin, ToolDatabaseNotFound, ToolServerNotFound
from cognitionos.agents.infrastructure.tool_store import (
    DatabaseRow,
    ReadCondition,
    ReadRule,
    RuleRow,
    ServerRow,
    ToolStore,
)
from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*\Z")]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=300)]
Role = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00]*\Z")]
Secrets = Annotated[dict[str, str], msgspec.Meta(max_length=50)]
_TOOL: msgspec.json.Decoder[str] = msgspec.json.Decoder(
    Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,199}(\.\*)?\Z")]
)


class NoSuchToolName(Invalid):
    """A rule is for a tool, `server.tool` or `server.*`."""


class ConditionsMissing(Invalid):
    """`approval` is `when`, and no condition says when; or conditions are given and it is not."""


class ConditionGiven(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A test of an argument at a path (`items.0.price`)."""

    path: Text
    op: Comparison
    value: Any = None


class SetRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who may use a tool (no roles: whoever has it), and which calls wait for a person."""

    allowed: bool
    roles: Annotated[list[Role], msgspec.Meta(max_length=20)] = []
    approval: Approval = Approval.NEVER
    conditions: Annotated[list[ConditionGiven], msgspec.Meta(max_length=20)] = []
    deadline_s: Annotated[float, msgspec.Meta(ge=1, le=30 * 86_400)] = DEADLINE_S
    default: Default = "reject"


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A rule."""

    tool: str
    allowed: bool
    roles: list[str]
    approval: str
    conditions: list[dict[str, Any]]
    deadline_s: float
    default: str
    changed_at: datetime


class RuleList(msgspec.Struct, frozen=True):
    """The tenant's rules."""

    rules: list[RuleView]


class OfferedTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool. `usable`: the tenant's agents may use it now; `approval` says which calls wait."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: str
    access: str
    usable: bool
    approval: str
    unavailable: str | None


class OfferedTools(msgspec.Struct, frozen=True):
    """Every tool there is for this tenant."""

    tools: list[OfferedTool]


class SetServer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An MCP server: `url` and `headers` (streamable HTTP), or `command`, `args` and `env` (a process, stdio)."""

    name: Text
    transport: Literal["http", "stdio"] = "http"
    url: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    headers: Secrets = {}
    command: Text | None = None
    args: Annotated[list[Annotated[str, msgspec.Meta(max_length=2000)]], msgspec.Meta(max_length=50)] = []
    env: Secrets = {}
    timeout_s: Seconds = 60.0


class ServerView(msgspec.Struct, frozen=True, kw_only=True):
    """An MCP server; of its secrets the names only. `tools` it offered last; `refused` are not used, and why."""

    name: str
    transport: str
    url: str | None
    command: str | None
    args: list[str]
    secrets: list[str]
    timeout_s: float
    tools: list[str]
    refused: dict[str, str]
    error: str | None
    asked_at: datetime | None
    changed_at: datetime


class ServerList(msgspec.Struct, frozen=True):
    """The tenant's MCP servers."""

    servers: list[ServerView]


class SetDatabase(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A PostgreSQL database: `postgresql://account:password@host:port/database?sslmode=...`."""

    name: Text
    url: Annotated[str, msgspec.Meta(max_length=2000)]
    description: Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*\Z")] = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    max_rows: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


class DatabaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A database, without its password."""

    name: str
    description: str
    host: str
    database: str
    account: str
    timeout_s: float
    max_rows: int
    changed_at: datetime


class DatabaseList(msgspec.Struct, frozen=True):
    """The tenant's databases."""

    databases: list[DatabaseView]


class ToolRoutes(Controller):
    """What agents may use."""

    path = "/v1/tools"
    tags = ("tools",)

    @get("", guards=[requires(Permission.AGENTS_READ)], summary="List the tools")
    async def list_tools(self, toolbox: NamedDependency[Toolbox], who: Who) -> OfferedTools:
        """Built-in ones and those of the tenant's servers and databases."""
        kit = await toolbox.kit_of(who.tenant_id)
        found = [*toolbox.tools.values(), *kit.tools.values()]
        views = []
        for each in found:
            rule = rule_for(kit.rules, each.spec.rule_name)
            views.append(
                OfferedTool(
                    name=each.spec.name,
                    description=each.spec.description,
                    parameters=dict(each.spec.parameters),
                    effect=each.spec.effect.value,
                    access=each.spec.access.value,
                    usable=is_offered(each, kit) and each.why_not() is None,
                    approval=Approval.NEVER.value if rule is None else rule.approval.value,
                    unavailable=each.why_not(),
                )
            )
        return OfferedTools(views)

    @get("/rules", guards=[requires(Permission.TOOLS_ADMIN)], summary="List tool rules")
    async def list_rules(self, tool_store: NamedDependency[ToolStore], who: Who) -> RuleList:
        """By tool."""
        return RuleList([_rule(each) for each in await tool_store.rules(who.tenant_id)])

    @put("/rules/{tool:str}", guards=[requires(Permission.TOOLS_ADMIN)], summary="Set a rule", responses=problems(422))
    async def set_rule(
        self, tool: FromPath[str], data: JSONBody[SetRule], tool_store: NamedDependency[ToolStore], who: Who
    ) -> RuleView:
        """`tool` is a name or `server.*`. It goes for the next call, of runs under way too."""
        if (data.approval is Approval.WHEN) is not bool(data.conditions):
            raise ConditionsMissing(
                "Give 'conditions' with approval 'when', and only then.", fields={"conditions": "with 'when' only"}
            )
        rule = ReadRule(
            tool=_tool_name(tool),
            allowed=data.allowed,
            roles=tuple(data.roles),
            approval=data.approval,
            conditions=tuple(ReadCondition(path=each.path, op=each.op, value=each.value) for each in data.conditions),
            deadline_s=data.deadline_s,
            default_decision=data.default,
        )
        return _rule(await tool_store.put_rule(who.tenant_id, rule))

    @delete(
        "/rules/{tool:str}", guards=[requires(Permission.TOOLS_ADMIN)], summary="Delete a rule", responses=problems(404)
    )
    async def delete_rule(self, tool: FromPath[str], tool_admin: NamedDependency[ToolAdmin], who: Who) -> None:
        """The tool is as open as it is by itself."""
        await tool_admin.delete(who.tenant_id, "tool_rules", tool)


class ServerRoutes(Controller):
    """MCP servers whose tools the tenant's agents may be given."""

    path = "/v1/tools/servers"
    tags = ("tools",)
    guards = (requires(Permission.TOOLS_ADMIN),)

    @get("", summary="List MCP servers")
    async def list_servers(self, tool_store: NamedDependency[ToolStore], who: Who) -> ServerList:
        """With what each offered last."""
        return ServerList([_server(each) for each in await tool_store.servers(who.tenant_id)])

    @get("/{name:str}", summary="Read an MCP server", responses=problems(404))
    async def read_server(self, name: FromPath[str], tool_store: NamedDependency[ToolStore], who: Who) -> ServerView:
        """Without its secrets."""
        rows = [] if "\x00" in name else await tool_store.servers(who.tenant_id, name)
        if not rows:
            raise ToolServerNotFound(f"There is no MCP server '{name[:100]}' of yours.")
        return _server(rows[0])

    @post("", summary="Set an MCP server", status_code=201, responses=problems(422))
    async def set_server(
        self, data: JSONBody[SetServer], tool_admin: NamedDependency[ToolAdmin], who: Who
    ) -> ServerView:
        """Make or replace it, and ask it what it offers. One that does not answer is kept, with `error`. Its tools are
        closed until a rule opens them (`PUT /v1/tools/rules/NAME.*`)."""
        if data.transport == "http":
            if data.url is None or data.command is not None or data.args or data.env:
                raise Invalid("With transport 'http', give 'url' and 'headers'.", fields={"url": "required"})
            row = await tool_admin.put_http_server(
                who.tenant_id, data.name, url=data.url, headers=data.headers, timeout_s=data.timeout_s
            )
        else:
            if data.command is None or data.url is not None or data.headers:
                raise Invalid(
                    "With transport 'stdio', give 'command', 'args' and 'env'.", fields={"command": "required"}
                )
            row = await tool_admin.put_stdio_server(
                who.tenant_id, data.name, command=data.command, args=data.args, env=data.env, timeout_s=data.timeout_s
            )
        return _server(row)

    @post("/{name:str}/refresh", summary="Ask an MCP server again", status_code=200, responses=problems(404))
    async def refresh_server(self, name: FromPath[str], tool_admin: NamedDependency[ToolAdmin], who: Who) -> ServerView:
        """What it offers now; where it does not answer, what it offered last, with `error`."""
        if "\x00" in name:
            raise ToolServerNotFound("There is no MCP server of this name.")
        return _server(await tool_admin.refresh_server(who.tenant_id, name))

    @delete("/{name:str}", summary="Delete an MCP server", responses=problems(404))
    async def delete_server(self, name: FromPath[str], tool_admin: NamedDependency[ToolAdmin], who: Who) -> None:
        """Rules for its tools stay, for one of the same name."""
        await tool_admin.delete(who.tenant_id, "tool_servers", name)


class DatabaseRoutes(Controller):
    """Databases that the tenant's agents may be let ask."""

    path = "/v1/tools/databases"
    tags = ("tools",)
    guards = (requires(Permission.TOOLS_ADMIN),)

    @get("", summary="List databases")
    async def list_databases(self, tool_store: NamedDependency[ToolStore], who: Who) -> DatabaseList:
        """Without their passwords."""
        return DatabaseList([_database(each) for each in await tool_store.databases(who.tenant_id)])

    @get("/{name:str}", summary="Read a database", responses=problems(404))
    async def read_database(
        self, name: FromPath[str], tool_store: NamedDependency[ToolStore], who: Who
    ) -> DatabaseView:
        """Without its password."""
        rows = [] if "\x00" in name else await tool_store.databases(who.tenant_id, name)
        if not rows:
            raise ToolDatabaseNotFound(f"There is no database '{name[:100]}' of yours.")
        return _database(rows[0])

    @post("", summary="Set a database", status_code=201, responses=problems(422))
    async def set_database(
        self, data: JSONBody[SetDatabase], tool_admin: NamedDependency[ToolAdmin], who: Who
    ) -> DatabaseView:
        """Make or replace it; it is connected to once, and refused where its account may do more than read. Its tools
        are closed until a rule opens them (`PUT /v1/tools/rules/sql.NAME`)."""
        row = await tool_admin.put_database(
            who.tenant_id,
            data.name,
            url=data.url,
            description=data.description,
            timeout_s=data.timeout_s,
            max_rows=data.max_rows,
        )
        return _database(row)

    @delete("/{name:str}", summary="Delete a database", responses=problems(404))
    async def delete_database(self, name: FromPath[str], tool_admin: NamedDependency[ToolAdmin], who: Who) -> None:
        """Its tools are gone at once."""
        await tool_admin.delete(who.tenant_id, "tool_databases", name)


def routes(*, toolbox: Toolbox, store: ToolStore, admin: ToolAdmin) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[ToolRoutes, ServerRoutes, DatabaseRoutes],
        dependencies={"toolbox": instance(toolbox), "tool_store": instance(store), "tool_admin": instance(admin)},
    )


def _tool_name(tool: str) -> str:
    try:
        return _TOOL.decode(msgspec.json.encode(tool))
    except msgspec.ValidationError:
        raise NoSuchToolName("Name a tool, 'server.tool' or 'server.*'.", fields={"tool": "no such name"}) from None


def _rule(row: RuleRow) -> RuleView:
    return RuleView(
        tool=row.tool,
        allowed=row.allowed,
        roles=row.roles,
        approval=row.approval,
        conditions=row.conditions,
        deadline_s=row.deadline_s,
        default=row.default_decision,
        changed_at=row.changed_at,
    )


def _server(row: ServerRow) -> ServerView:
    return ServerView(
        name=row.name,
        transport=row.transport,
        url=row.url,
        command=row.command,
        args=row.args,
        secrets=row.secret_names,
        timeout_s=row.timeout_s,
        tools=[f"{row.name}.{each['name']}" for each in row.tools],
        refused=row.refused,
        error=row.error,
        asked_at=row.asked_at,
        changed_at=row.changed_at,
    )


def _database(row: DatabaseRow) -> DatabaseView:
    return DatabaseView(
        name=row.name,
        description=row.description,
        host=row.host,
        database=row.database,
        account=row.account,
        timeout_s=row.timeout_s,
        max_rows=row.max_rows,
        changed_at=row.changed_at,
    )
