"""Reads for the HTTP routes, straight to their answers."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from cognitionos.memory.domain.item import MemoryItem, MemoryKind, MemoryNotFound
from cognitionos.memory.infrastructure.rows import COLUMNS, item_of
from cognitionos.platform.database import Database


class After(NamedTuple):
    """Where a page begins: after this memory."""

    id: UUID


_ONE = f"SELECT {COLUMNS} FROM memories WHERE project_id = %s AND id = %s"  # noqa: S608 - a constant
_PAGE = (
    f"SELECT {COLUMNS} FROM memories "  # noqa: S608 - a constant
    "WHERE tenant_id = %(tenant)s AND project_id = %(project)s AND (%(kind)s::text IS NULL OR kind = %(kind)s) "
    "AND (%(after)s::uuid IS NULL OR id < %(after)s) ORDER BY id DESC LIMIT %(rows)s"
)


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a memory comes from."""

    goal_id: UUID | None = None
    run_id: UUID | None = None
    url: str | None = None
    user: str | None = None


class MemoryView(msgspec.Struct, frozen=True, kw_only=True):
    """One memory. `valid_until` null: without an end. `superseded_by`: the memory that replaced it."""

    id: UUID
    kind: MemoryKind
    content: str
    tags: list[str]
    source: SourceView
    confidence: float
    created_at: datetime
    valid_from: datetime
    valid_until: datetime | None
    superseded_by: UUID | None


class MemoryQueries:
    """Reads of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def one(self, tenant_id: UUID, project_id: UUID, memory_id: UUID) -> MemoryView:
        """The memory with this id. Raises `MemoryNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_ONE, (project_id, memory_id))).fetchone()
        if row is None:
            raise MemoryNotFound(f"There is no memory {memory_id} in this project.")
        return view_of(item_of(row))

    async def page(
        self, tenant_id: UUID, project_id: UUID, *, kind: MemoryKind | None, limit: int, after: After | None
    ) -> list[MemoryView]:
        """The newest `limit + 1` memories before `after`, superseded and outdated ones too."""
        values = {
            "tenant": tenant_id,
            "project": project_id,
            "kind": None if kind is None else kind.value,
            "after": None if after is None else after.id,
            "rows": limit + 1,
        }
        async with self._database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_PAGE, values)).fetchall()
        return [view_of(item_of(row)) for row in rows]


def view_of(item: MemoryItem) -> MemoryView:
    """An item as it is shown."""
    source = item.source
    return MemoryView(
        id=item.id,
        kind=item.kind,
        content=item.content,
        tags=list(item.tags),
        source=SourceView(goal_id=source.goal_id, run_id=source.run_id, url=source.url, user=source.user),
        confidence=item.confidence,
        created_at=item.created_at.astimezone(UTC),
        valid_from=item.valid_from,
        valid_until=item.valid_until,
        superseded_by=item.superseded_by,
    )
