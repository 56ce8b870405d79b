"""What other contexts may ask of memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cognitionos.llm_gateway.facade import Caller
from cognitionos.memory.application.ports import IsSimulated, Scope
from cognitionos.memory.application.recall import Recall
from cognitionos.memory.application.remember import NewMemory, Remember
from cognitionos.memory.domain.item import SIMULATED, MemoryInvalid, MemoryKind, MemoryNotFound, Source, parse_kind
from cognitionos.memory.domain.ranking import bears_on_question

__all__ = ["Memory", "MemoryInvalid", "MemoryKind", "MemoryNotFound", "RecalledMemory", "Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledMemory:
    """Something known that fits a question. `score` orders one answer, it does not compare between answers."""

    id: UUID
    content: str
    kind: str
    score: float
    confidence: float
    source: Source
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory as planning and agents see it. Makes no model call but embeddings, and goes on without those."""

    writing: Remember
    reading: Recall
    is_simulated: IsSimulated

    async def recall(
        self,
        tenant_id: UUID,
        project_id: UUID,
        query: str,
        limit: int = 10,
        *,
        kinds: Sequence[str] = (),
        min_confidence: float = 0.0,
        caller: Caller | None = None,
    ) -> list[RecalledMemory]:
        """At most `limit` (1 to 50) memories of the project that bear on `query`, best first. Raises `MemoryInvalid`.

        What a simulated model said is left out once a real one answers. `caller` pays for the embedding.
        """
        answer = await self.reading.recall(
            Scope(tenant_id=tenant_id, project_id=project_id, caller=caller),
            query,
            limit=2 * limit,
            kinds=tuple(parse_kind(kind, name="kinds") for kind in kinds),
            min_confidence=min_confidence,
        )
        return [
            RecalledMemory(
                id=each.item.id,
                content=each.item.content,
                kind=each.item.kind.value,
                score=each.rank.score,
                confidence=each.item.confidence,
                source=each.item.source,
                created_at=each.item.created_at,
            )
            for each in answer.found
            if bears_on_question(each.rank) and (self.is_simulated() or SIMULATED not in each.item.tags)
        ][:limit]

    async def remember(
        self,
        tenant_id: UUID,
        project_id: UUID,
        content: str,
        kind: str = "note",
        source: Source | None = None,
        *,
        tags: Sequence[str] = (),
        confidence: float = 1.0,
        valid_until: datetime | None = None,
        caller: Caller | None = None,
    ) -> UUID:
        """Keep `content` in the project's memory; gives its id (that of the same content, if it is known already).

        `caller` pays for the embedding. Raises `MemoryInvalid` naming the field.
        """
        source = source or Source()
        scope = Scope(
            tenant_id=tenant_id,
            project_id=project_id,
            user=source.user,
            goal_id=source.goal_id,
            run_id=source.run_id,
            caller=caller,
        )
        new = NewMemory(
            content=content,
            kind=parse_kind(kind),
            source=source,
            tags=(*tags, SIMULATED) if self.is_simulated() else tuple(tags),
            confidence=confidence,
            valid_until=valid_until,
        )
        return (await self.writing.remember(scope, new)).item.id

    async def forget_from(self, tenant_id: UUID, run_id: UUID) -> None:
        """Erase what a run, or a conversation, was first to remember."""
        await self.writing.forget_from(tenant_id, run_id)
