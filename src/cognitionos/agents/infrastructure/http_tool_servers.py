"""A tenant's MCP servers over HTTP. Secrets never come out."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.agents.infrastructure.tool_admin import ToolAdmin, ToolServerNotFound
from cognitionos.agents.infrastructure.tool_store import ServerRow, ToolStore
from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, problems, requires

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*\Z")]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=300)]
_Secrets = Annotated[dict[str, str], msgspec.Meta(max_length=50)]


class SetServer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An MCP server: `url` and `headers` (streamable HTTP), or `command`, `args` and `env` (a process, stdio)."""

    name: _Text
    transport: Literal["http", "stdio"] = "http"
    url: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    headers: _Secrets = {}
    command: _Text | None = None
    args: Annotated[list[Annotated[str, msgspec.Meta(max_length=2000)]], msgspec.Meta(max_length=50)] = []
    env: _Secrets = {}
    timeout_s: _Seconds = 60.0


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
