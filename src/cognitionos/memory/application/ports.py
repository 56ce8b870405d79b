"""Where the use cases meet the database and the embedder. Each has a twin in `tests/fakes`."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cognitionos.kernel.event import Event
from cognitionos.llm_gateway.facade import Caller
from cognitionos.memory.domain.item import MemoryItem, MemoryKind
from cognitionos.memory.domain.ranking import Candidate, Corpus
from cognitionos.platform.bus import Delivery

EMBEDDING_DIMENSIONS = 256


IsSimulated = Callable[[], bool]
"""Whether a simulated model answers when nobody names one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose memory, and on whose behalf a model is called for it: `caller`'s, where one is named."""

    tenant_id: UUID
    project_id: UUID
    api_key_id: UUID | None = None
    user: str | None = None
    goal_id: UUID | None = None
    run_id: UUID | None = None
    caller: Caller | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """A text's meaning as 256 numbers, comparable only with those of the same model."""

    model: str
    vector: tuple[float, ...]


Embed = Callable[[Scope, Sequence[str]], Awaitable[list[Embedding]]]
"""One embedding per text, in order. Raises a `DomainError` of the kernel when there is none to be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is looked for, and among which items. `words` is the text in the form that items are stored by."""

    project_id: UUID
    words: str
    embedding: Embedding | None
    kinds: tuple[MemoryKind, ...]
    min_confidence: float
    include_superseded: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The candidates for a question, unordered. `path`: exact | index | text (no embedding to compare with)."""

    candidates: list[Candidate]
    corpus: Corpus
    path: str


class Memories(Protocol):
    """The items of one tenant."""

    async def add(self, item: MemoryItem, embedding: Embedding | None) -> bool:
        """Store `item`; False, and nothing stored, when the project has a current one with the same content."""
        ...

    async def same(self, project_id: UUID, content: str) -> MemoryItem | None:
        """The project's current item with this content."""
        ...

    async def get(self, project_id: UUID, memory_id: UUID) -> MemoryItem | None:
        """The item with this id, if the project has it."""
        ...

    async def save(self, item: MemoryItem) -> None:
        """Store what changed: validity and supersession."""
        ...

    async def set_embedding(self, memory_id: UUID, embedding: Embedding) -> None:
        """Give a stored item its embedding; nothing happens when it is gone."""
        ...

    async def delete(self, project_id: UUID, memory_id: UUID) -> bool:
        """Erase the row and everything derived from it; False when there was none."""
        ...

    async def delete_from(self, run_id: UUID) -> list[tuple[UUID, UUID]]:
        """Erase what came from this run, in whichever project; gives (project, item) of each."""
        ...


class Work(Protocol):
    """One transaction of one tenant."""

    @property
    def memories(self) -> Memories:
        """Its items."""
        ...

    def publish(self, *events: Event) -> None:
        """Tell the other contexts when this commits."""
        ...

    async def settle(self, delivery: Delivery) -> None:
        """Mark the delivery being handled as done in this commit."""
        ...


Begin = Callable[[UUID], AbstractAsyncContextManager[Work]]


class Index(Protocol):
    """Searches the items of one tenant."""

    async def candidates(self, question: Question) -> Found:
        """Those nearest by meaning and those best by words."""
        ...

    async def items(self, ids: Iterable[UUID]) -> dict[UUID, MemoryItem]:
        """The items with these ids that are still there."""
        ...


Read = Callable[[UUID], AbstractAsyncContextManager[Index]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unembedded:
    """A stored item that still lacks its embedding."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    content: str


PickUnembedded = Callable[[int], Awaitable[list[Unembedded]]]
"""At most that many items of any tenant without an embedding, each put off for some minutes so that no two workers
take the same one."""
