"""Writing memory: remember and forget."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cognitionos.events.memory import MemoryForgotten, MemoryRemembered
from cognitionos.kernel.clock import Clock
from cognitionos.memory.application.embedding import Embedder
from cognitionos.memory.application.ports import Begin, Embedding, Scope, Work
from cognitionos.memory.domain.item import (
    MemoryItem,
    MemoryKind,
    MemoryNotFound,
    Source,
    check_confidence,
    check_content,
    check_source,
    check_tags,
    check_valid_until,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMemory:
    """What somebody wants remembered, unchecked. `supersedes` is the item that no longer holds because of it."""

    content: str
    kind: MemoryKind = MemoryKind.NOTE
    source: Source = Source()
    tags: tuple[str, ...] = ()
    confidence: float = 1.0
    valid_until: datetime | None = None
    supersedes: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An item that is now in memory. `created`: not there before; `embedded`: it can be found by meaning already."""

    item: MemoryItem
    created: bool
    embedded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """Puts items into a project's memory and takes them out of it."""

    begin: Begin
    embedder: Embedder
    new_id: Callable[[], UUID]
    now: Clock

    async def remember(self, scope: Scope, new: NewMemory) -> Kept:
        """Keep `new`, or give back the project's item with the same content, renewed if it had run out.

        Raises `MemoryInvalid` naming the field, `MemoryNotFound` for a `supersedes` that is not there.
        """
        item = self.item(scope, new)
        known = await self._known(scope, item, supersedes=new.supersedes)
        if known is not None:
            return Kept(item=known, created=False, embedded=True)
        embedding = await self.embedder.one(scope, item.content)
        async with self.begin(scope.tenant_id) as work:
            created = await keep(work, item, embedding)
            if created and new.supersedes is not None:
                await self._supersede(work, item, new.supersedes)
            kept = item if created else await work.memories.same(scope.project_id, item.content)
        return Kept(item=kept or item, created=created, embedded=embedding is not None)

    async def forget(self, scope: Scope, memory_id: UUID) -> None:
        """Erase an item: its row, words and embedding; nothing keeps a copy. Raises `MemoryNotFound`."""
        async with self.begin(scope.tenant_id) as work:
            if not await work.memories.delete(scope.project_id, memory_id):
                raise _not_found(memory_id)
            work.publish(
                MemoryForgotten(
                    tenant_id=scope.tenant_id, at=self.now(), project_id=scope.project_id, memory_id=memory_id
                )
            )

    async def forget_from(self, tenant_id: UUID, run_id: UUID) -> None:
        """Erase every item that came from a run, or a conversation. What was known before it said so stays."""
        async with self.begin(tenant_id) as work:
            for project_id, memory_id in await work.memories.delete_from(run_id):
                work.publish(
                    MemoryForgotten(tenant_id=tenant_id, at=self.now(), project_id=project_id, memory_id=memory_id)
                )

    def item(self, scope: Scope, new: NewMemory) -> MemoryItem:
        """`new` checked, as an item that is not stored yet. Raises `MemoryInvalid`."""
        now = self.now()
        return MemoryItem(
            id=self.new_id(),
            tenant_id=scope.tenant_id,
            project_id=scope.project_id,
            kind=new.kind,
            content=check_content(new.content),
            source=check_source(new.source),
            tags=check_tags(new.tags),
            confidence=check_confidence(new.confidence),
            created_at=now,
            valid_from=now,
            valid_until=check_valid_until(new.valid_until, now=now),
        )

    async def _known(self, scope: Scope, item: MemoryItem, *, supersedes: UUID | None) -> MemoryItem | None:
        """The same item if it is stored already: asked before the embedding is paid for."""
        async with self.begin(scope.tenant_id) as work:
            if supersedes is not None and await work.memories.get(scope.project_id, supersedes) is None:
                raise _not_found(supersedes)
            known = await work.memories.same(scope.project_id, item.content)
            if known is not None and not known.holds(item.created_at):
                known.renew(at=item.created_at, valid_until=item.valid_until)
                await work.memories.save(known)
        return known

    async def _supersede(self, work: Work, item: MemoryItem, old_id: UUID) -> None:
        old = await work.memories.get(item.project_id, old_id)
        if old is not None:
            old.superseded_by = item.id
            await work.memories.save(old)


async def keep(work: Work, item: MemoryItem, embedding: Embedding | None) -> bool:
    """Store `item` in `work` and say so; False when the project has it already."""
    created = await work.memories.add(item, embedding)
    if created:
        work.publish(
            MemoryRemembered(
                tenant_id=item.tenant_id,
                at=item.created_at,
                project_id=item.project_id,
                memory_id=item.id,
                kind=item.kind.value,
            )
        )
    return created


def _not_found(memory_id: UUID) -> MemoryNotFound:
    return MemoryNotFound(f"There is no memory {memory_id} in this project.")
