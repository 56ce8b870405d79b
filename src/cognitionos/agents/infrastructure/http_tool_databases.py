"""A tenant's databases over HTTP, for its agents to ask. Secrets never come out."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.agents.infrastructure.tool_admin import ToolAdmin, ToolDatabaseNotFound
from cognitionos.agents.infrastructure.tool_store import ToolStore
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, problems, requires


class SetDatabase(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A PostgreSQL database: `postgresql://account:password@host:port/database?sslmode=...`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*\Z")]
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


class DatabaseRoutes(Controller):
    """Databases that the tenant's agents may be let ask."""

    path = "/v1/tools/databases"
    tags = ("tools",)
    guards = (requires(Permission.TOOLS_ADMIN),)

    @get("", summary="List databases")
    async def list_databases(self, tool_store: NamedDependency[ToolStore], who: Who) -> DatabaseList:
        """Without their passwords."""
        return msgspec.convert(
            {"databases": await tool_store.databases(who.tenant_id)}, DatabaseList, from_attributes=True
        )

    @get("/{name:str}", summary="Read a database", responses=problems(404))
    async def read_database(
        self, name: FromPath[str], tool_store: NamedDependency[ToolStore], who: Who
    ) -> DatabaseView:
        """Without its password."""
        rows = [] if "\x00" in name else await tool_store.databases(who.tenant_id, name)
        if not rows:
            raise ToolDatabaseNotFound(f"There is no database '{name[:100]}' of yours.")
        return msgspec.convert(rows[0], DatabaseView, from_attributes=True)

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
        return msgspec.convert(row, DatabaseView, from_attributes=True)

    @delete("/{name:str}", summary="Delete a database", responses=problems(404))
    async def delete_database(self, name: FromPath[str], tool_admin: NamedDependency[ToolAdmin], who: Who) -> None:
        """Its tools are gone at once."""
        await tool_admin.delete(who.tenant_id, "tool_databases", name)
