"""Search on the hot path: plain psycopg, one transaction of one tenant, the work done by `search.sql`."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.memory.application.ports import Found, Question, Unembedded
from cognitionos.memory.domain.item import MemoryItem
from cognitionos.memory.domain.ranking import Candidate, Corpus
from cognitionos.memory.infrastructure.metrics import SEARCH_SECONDS, SEARCHES
from cognitionos.memory.infrastructure.rows import COLUMNS, item_of, vector_text
from cognitionos.platform.database import Database, Row

CANDIDATES = 100
"""How many are fetched by meaning, and as many by words, to be ranked together."""
EXACT_UP_TO = 10_000
"""Items in a project that are always compared one by one (7 ms at 10,000, recall 1.0; the index takes 4 to 6 ms and
finds 0.93 on sentences of random words, its worst case); above, `memory_candidates` weighs the cost."""

_CANDIDATES = (
    "SELECT candidate, similarity, frequencies, length, matches, corpus_items, corpus_words, path "
    "FROM memory_candidates(%s, %s, %s::halfvec, %s, %s, %s, %s, %s, %s, %s)"
)
_ITEMS = f"SELECT {COLUMNS} FROM memories WHERE id = ANY (%s)"  # noqa: S608 - a constant
_TO_EMBED = "SELECT memory_id, tenant, project, content FROM memories_to_embed(%s)"


class SearchStore:
    """Gives out `ports.Index`es, one for each search, and picks what waits for its embedding."""

    def __init__(self, database: Database, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self._database = database
        self._exact_up_to = exact_up_to

    @asynccontextmanager
    async def read(self, tenant_id: UUID) -> AsyncIterator["TenantIndex"]:
        """The tenant's index; the time until it is left is measured."""
        started = time.perf_counter()
        async with self._database.transaction(tenant_id) as connection:
            yield TenantIndex(connection, self._exact_up_to)
        SEARCH_SECONDS.observe(time.perf_counter() - started)

    async def to_embed(self, batch: int) -> list[Unembedded]:
        """`ports.PickUnembedded`: across tenants, by the dispatch function."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_TO_EMBED, (batch,))).fetchall()
        return [Unembedded(id=row[0], tenant_id=row[1], project_id=row[2], content=row[3]) for row in rows]


class TenantIndex:
    """`ports.Index` on one transaction."""

    def __init__(self, connection: AsyncConnection[Row], exact_up_to: int) -> None:
        self._connection = connection
        self._exact_up_to = exact_up_to

    async def candidates(self, question: Question) -> Found:
        """Up to 100 by meaning and 100 by words; those in both once."""
        embedding = question.embedding
        values = (
            question.project_id,
            question.words,
            None if embedding is None else vector_text(embedding),
            None if embedding is None else embedding.model,
            [kind.value for kind in question.kinds] or None,
            question.min_confidence,
            question.include_superseded,
            question.at,
            CANDIDATES,
            self._exact_up_to,
        )
        rows = await (await self._connection.execute(_CANDIDATES, values)).fetchall()
        path = rows[0][7] if rows else "none"
        SEARCHES.labels(path).inc()
        return Found(
            candidates=[
                Candidate(id=row[0], similarity=row[1], frequencies=tuple(row[2]), words=row[3]) for row in rows
            ],
            corpus=_corpus(rows),
            path=path,
        )

    async def items(self, ids: Iterable[UUID]) -> dict[UUID, MemoryItem]:
        """The items with these ids."""
        rows = await (await self._connection.execute(_ITEMS, (list(ids),))).fetchall()
        return {row[0]: item_of(row) for row in rows}


def _corpus(rows: list[Row]) -> Corpus:
    if not rows:
        return Corpus(items=0, mean_words=0.0, matches=())
    return Corpus(items=rows[0][5], mean_words=float(rows[0][6]), matches=tuple(rows[0][4]))
