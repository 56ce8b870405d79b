"""Memory items in PostgreSQL, inside a unit of work."""

from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from cognitionos.memory.application.ports import Embedding
from cognitionos.memory.domain.item import MemoryItem, hash_of
from cognitionos.memory.infrastructure.rows import COLUMNS, item_of, values_of, vector_text
from cognitionos.platform.unit_of_work import UnitOfWork

# the project is a term of each item: a search intersects it with its words inside the index (search.sql)
_ADD = text(
    """
    INSERT INTO memories (
      id, tenant_id, project_id, kind, content, content_hash, source, tags, confidence, created_at, valid_from,
      valid_until, superseded_by, words, terms, embedding, embedding_model
    ) VALUES (
      :id, :tenant_id, :project_id, :kind, :content, :content_hash, CAST(:source AS jsonb), CAST(:tags AS text[]),
      :confidence, :created_at, :valid_from, :valid_until, :superseded_by, :words,
      to_tsvector('english', :text) || array_to_tsvector(ARRAY[CAST(:project_term AS text)]),
      CAST(CAST(:embedding AS text) AS halfvec), :embedding_model
    )
    ON CONFLICT (tenant_id, project_id, content_hash) WHERE superseded_by IS NULL DO NOTHING
    """
)
_SAME = text(
    f"SELECT {COLUMNS} FROM memories "  # noqa: S608 - a constant
    "WHERE project_id = :project_id AND content_hash = :content_hash AND superseded_by IS NULL"
)
_GET = text(f"SELECT {COLUMNS} FROM memories WHERE project_id = :project_id AND id = :id")  # noqa: S608 - a constant
_SAVE = text(
    "UPDATE memories SET valid_from = :valid_from, valid_until = :valid_until, superseded_by = :superseded_by "
    "WHERE id = :id"
)
_SET_EMBEDDING = text(
    "UPDATE memories SET embedding = CAST(CAST(:embedding AS text) AS halfvec), embedding_model = :model WHERE id = :id"
)
_DELETE_FROM = text("DELETE FROM memories WHERE source ->> 'run_id' = :run_id RETURNING project_id, id")
_DELETE = text("DELETE FROM memories WHERE project_id = :project_id AND id = :id")


class MemoryRepository:
    """`ports.Memories` on one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, item: MemoryItem, embedding: Embedding | None) -> bool:
        """Store `item`; False when the project has a current one with the same content."""
        return await self._changed(_ADD, values_of(item, embedding)) == 1

    async def same(self, project_id: UUID, content: str) -> MemoryItem | None:
        """The project's current item with this content."""
        return await self._one(_SAME, {"project_id": project_id, "content_hash": hash_of(content)})

    async def get(self, project_id: UUID, memory_id: UUID) -> MemoryItem | None:
        """The item with this id, if the project has it."""
        return await self._one(_GET, {"project_id": project_id, "id": memory_id})

    async def save(self, item: MemoryItem) -> None:
        """Store validity and supersession."""
        await self._changed(
            _SAVE,
            {
                "id": item.id,
                "valid_from": item.valid_from,
                "valid_until": item.valid_until,
                "superseded_by": item.superseded_by,
            },
        )

    async def set_embedding(self, memory_id: UUID, embedding: Embedding) -> None:
        """Give a stored item its embedding."""
        values = {"id": memory_id, "embedding": vector_text(embedding), "model": embedding.model}
        await self._changed(_SET_EMBEDDING, values)

    async def delete(self, project_id: UUID, memory_id: UUID) -> bool:
        """Erase the row; its words and its embedding are columns of it."""
        return await self._changed(_DELETE, {"project_id": project_id, "id": memory_id}) == 1

    async def delete_from(self, run_id: UUID) -> list[tuple[UUID, UUID]]:
        """Erase what came from this run."""
        rows = await self._session.execute(_DELETE_FROM, {"run_id": str(run_id)})
        return [(row[0], row[1]) for row in rows]

    async def _one(self, statement: Any, values: dict[str, Any]) -> MemoryItem | None:
        row = (await self._session.execute(statement, values)).one_or_none()
        return None if row is None else item_of(row)

    async def _changed(self, statement: Any, values: dict[str, Any]) -> int:
        result = await self._session.execute(statement, values)
        return result.rowcount if isinstance(result, CursorResult) else 0


class MemoryWork(UnitOfWork):
    """A unit of work that sees memory items."""

    def __init__(self, session: AsyncSession) -> None:
        super().__init__(session)
        self.memories = MemoryRepository(session)
