"""Memory's ports without a database: `Memories`, `Index`, `Begin`, `Read` and `PickUnembedded` over one dictionary."""

import copy
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from statistics import fmean
from uuid import UUID

from tests.fakes.memory_embedder import stem

from cognitionos.kernel.event import Event
from cognitionos.memory.application.ports import Embedding, Found, Question, Unembedded
from cognitionos.memory.domain.item import MemoryItem
from cognitionos.memory.domain.ranking import Candidate, Corpus
from cognitionos.memory.domain.words import words_of
from cognitionos.platform.bus import Delivery
from cognitionos.platform.outbox import AlreadyDelivered

Stored = tuple[MemoryItem, Embedding | None]


class FakeMemoryStore:
    """Everything of every tenant. A unit of work that fails leaves no trace, like a rolled-back transaction."""

    def __init__(self) -> None:
        self.rows: dict[UUID, Stored] = {}
        self.settled: set[UUID] = set()
        self.published: list[Event] = []

    @asynccontextmanager
    async def begin(self, tenant_id: UUID) -> AsyncIterator["FakeWork"]:
        work = FakeWork(self, tenant_id)
        yield work
        self.rows, self.settled = work.rows, work.settled
        self.published += work.events

    @asynccontextmanager
    async def read(self, tenant_id: UUID) -> AsyncIterator["FakeIndex"]:
        yield FakeIndex([stored for stored in self.rows.values() if stored[0].tenant_id == tenant_id])

    async def to_embed(self, batch: int) -> list[Unembedded]:
        waiting = [item for item, embedding in self.rows.values() if embedding is None]
        return [
            Unembedded(id=item.id, tenant_id=item.tenant_id, project_id=item.project_id, content=item.content)
            for item in waiting[:batch]
        ]


class FakeWork:
    """One transaction: a copy of the rows, put back by leaving it."""

    def __init__(self, store: FakeMemoryStore, tenant_id: UUID) -> None:
        self.rows = copy.deepcopy(store.rows)
        self.settled = set(store.settled)
        self.events: list[Event] = []
        self.memories = FakeMemories(self.rows, tenant_id)

    def publish(self, *events: Event) -> None:
        self.events.extend(events)

    async def settle(self, delivery: Delivery) -> None:
        if delivery.id in self.settled:
            raise AlreadyDelivered
        self.settled.add(delivery.id)


class FakeMemories:
    """`ports.Memories`."""

    def __init__(self, rows: dict[UUID, Stored], tenant_id: UUID) -> None:
        self._rows = rows
        self._tenant_id = tenant_id

    async def add(self, item: MemoryItem, embedding: Embedding | None) -> bool:
        if await self.same(item.project_id, item.content) is not None:
            return False
        self._rows[item.id] = (copy.copy(item), embedding)
        return True

    async def same(self, project_id: UUID, content: str) -> MemoryItem | None:
        wanted = " ".join(content.split())
        return next(
            (
                copy.copy(item)
                for item in self._of(project_id)
                if item.superseded_by is None and " ".join(item.content.split()) == wanted
            ),
            None,
        )

    async def get(self, project_id: UUID, memory_id: UUID) -> MemoryItem | None:
        return next((copy.copy(item) for item in self._of(project_id) if item.id == memory_id), None)

    async def save(self, item: MemoryItem) -> None:
        stored, embedding = self._rows[item.id]
        stored.valid_from, stored.valid_until = item.valid_from, item.valid_until
        stored.superseded_by = item.superseded_by
        self._rows[item.id] = (stored, embedding)

    async def set_embedding(self, memory_id: UUID, embedding: Embedding) -> None:
        if memory_id in self._rows:
            self._rows[memory_id] = (self._rows[memory_id][0], embedding)

    async def delete_from(self, run_id: UUID) -> list[tuple[UUID, UUID]]:
        found = [item for item, _ in self._rows.values() if item.source.run_id == run_id]
        gone = [(item.project_id, item.id) for item in found if item.tenant_id == self._tenant_id]
        for _, memory_id in gone:
            del self._rows[memory_id]
        return gone

    async def delete(self, project_id: UUID, memory_id: UUID) -> bool:
        if await self.get(project_id, memory_id) is None:
            return False
        del self._rows[memory_id]
        return True

    def _of(self, project_id: UUID) -> list[MemoryItem]:
        return [i for i, _ in self._rows.values() if i.tenant_id == self._tenant_id and i.project_id == project_id]


class FakeIndex:
    """`ports.Index`: compares everything."""

    def __init__(self, stored: list[Stored]) -> None:
        self._stored = stored

    async def candidates(self, question: Question) -> Found:
        of_project = [stored for stored in self._stored if stored[0].project_id == question.project_id]
        asked = sorted({stem(word) for word in question.words.split()})
        counts = {item.id: Counter(stem(word) for word in words_of(item.content)) for item, _ in of_project}
        fit = [stored for stored in of_project if _fits(stored[0], question)]
        candidates = [
            Candidate(
                id=item.id,
                similarity=_cosine(embedding, question.embedding),
                frequencies=tuple(counts[item.id][word] for word in asked),
                words=counts[item.id].total(),
            )
            for item, embedding in fit
        ]
        corpus = Corpus(
            items=len(of_project),
            mean_words=fmean([count.total() for count in counts.values()]) if counts else 0.0,
            matches=tuple(sum(1 for each in candidates if each.frequencies[n]) for n in range(len(asked))),
        )
        near = [each for each in candidates if each.similarity is not None or any(each.frequencies)]
        return Found(candidates=near, corpus=corpus, path="text" if question.embedding is None else "exact")

    async def items(self, ids: Iterable[UUID]) -> dict[UUID, MemoryItem]:
        wanted = set(ids)
        return {item.id: item for item, _ in self._stored if item.id in wanted}


def _fits(item: MemoryItem, question: Question) -> bool:
    return (
        (not question.kinds or item.kind in question.kinds)
        and item.confidence >= question.min_confidence
        and item.valid_from <= question.at
        and (question.include_superseded or item.holds(question.at))
    )


def _cosine(one: Embedding | None, other: Embedding | None) -> float | None:
    if one is None or other is None or one.model != other.model:
        return None
    return sum(a * b for a, b in zip(one.vector, other.vector, strict=True))
