"""Reading memory: by meaning and by words at once."""

from dataclasses import dataclass
from typing import Literal

from cognitionos.kernel.clock import Clock
from cognitionos.memory.application.embedding import Embedder
from cognitionos.memory.application.ports import Question, Read, Scope
from cognitionos.memory.domain.item import MemoryInvalid, MemoryItem, MemoryKind, check_confidence, checked_text
from cognitionos.memory.domain.ranking import Ranked, rank
from cognitionos.memory.domain.words import words_of

MAX_QUERY_CHARACTERS = 4096
MAX_RECALLED = 100
MAX_QUERY_WORDS = 64

Path = Literal["exact", "index", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """An item that was found, and why."""

    item: MemoryItem
    rank: Ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollections:
    """The answer to a question, best first. `degraded`: no embedder answered, so words alone decided."""

    found: list[Recollection]
    path: str
    degraded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Finds what a project knows about a question."""

    read: Read
    embedder: Embedder
    now: Clock

    async def recall(
        self,
        scope: Scope,
        query: str,
        *,
        limit: int = 10,
        kinds: tuple[MemoryKind, ...] = (),
        min_confidence: float = 0.0,
        include_superseded: bool = False,
    ) -> Recollections:
        """At most `limit` items, best first; none that is superseded or out of its time, unless asked for.

        Raises `MemoryInvalid` naming the field.
        """
        text = _check(query, limit=limit)
        embedding = await self.embedder.one(scope, text)
        question = Question(
            project_id=scope.project_id,
            words=" ".join(words_of(text)[:MAX_QUERY_WORDS]),
            embedding=embedding,
            kinds=kinds,
            min_confidence=check_confidence(min_confidence, name="min_confidence"),
            include_superseded=include_superseded,
            at=self.now(),
        )
        async with self.read(scope.tenant_id) as index:
            found = await index.candidates(question)
            best = rank(found.candidates, found.corpus)[:limit]
            items = await index.items([each.id for each in best])
        recollected = [Recollection(item=items[each.id], rank=each) for each in best if each.id in items]
        return Recollections(found=recollected, path=found.path, degraded=embedding is None)


def _check(query: str, *, limit: int) -> str:
    text = query.strip()
    if not text:
        raise MemoryInvalid("query is empty.", fields={"query": "is empty; say what to look for"})
    if len(text) > MAX_QUERY_CHARACTERS:
        message = f"is longer than {MAX_QUERY_CHARACTERS} characters"
        raise MemoryInvalid(f"query {message}.", fields={"query": message})
    if not 1 <= limit <= MAX_RECALLED:
        message = f"must be between 1 and {MAX_RECALLED}"
        raise MemoryInvalid(f"limit {message}.", fields={"limit": message})
    return checked_text(text, name="query")
