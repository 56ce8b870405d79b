"""Many memories at once, past the use cases: what a search is measured on."""

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from cognitionos.kernel.ids import new_id
from cognitionos.memory.application.ports import EMBEDDING_DIMENSIONS, Embedding
from cognitionos.memory.domain.item import MemoryItem, MemoryKind, Source
from cognitionos.memory.infrastructure.rows import values_of

MODEL = "synthetic"
_COPY = """
INSERT INTO memories (id, tenant_id, project_id, kind, content, content_hash, source, tags, confidence, created_at,
  valid_from, words, terms, embedding, embedding_model)
VALUES (%(id)s, %(tenant_id)s, %(project_id)s, %(kind)s, %(content)s, %(content_hash)s, %(source)s, %(tags)s,
  %(confidence)s, %(created_at)s, %(valid_from)s, %(words)s,
  to_tsvector('english', %(text)s) || array_to_tsvector(ARRAY[%(project_term)s::text]),
  %(embedding)s::halfvec, %(embedding_model)s)
"""


def load(
    admin_url: str, *, tenant_id: UUID, project_id: UUID, contents: Iterable[str], embed: Callable[[str], Embedding]
) -> None:
    """Store each content as a fact, with the vector index taken down meanwhile."""
    now = datetime.now(UTC)
    rows = [
        values_of(
            MemoryItem(
                id=new_id(),
                tenant_id=tenant_id,
                project_id=project_id,
                kind=MemoryKind.FACT,
                content=content,
                source=Source(),
                confidence=1.0,
                created_at=now,
                valid_from=now,
            ),
            embed(content),
        )
        for content in contents
    ]
    with psycopg.connect(admin_url) as connection, connection.cursor() as cursor:
        cursor.executemany(_COPY, rows)


def without_vector_index(admin_url: str, load_rows: Callable[[], None]) -> None:
    """Run `load_rows` with the HNSW index dropped, build it again as the migration does, then gather statistics."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        [(definition,)] = connection.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'memories_embedding'"
        ).fetchall()
        connection.execute("DROP INDEX memories_embedding")
        load_rows()
        connection.execute(definition)
        connection.execute("VACUUM ANALYZE memories")


class Clustered:
    """Synthetic unit-free vectors around topics, as texts about the same thing are; the same for the same seed."""

    def __init__(self, *, topics: int, seed: int = 7, spread: float = 0.7) -> None:
        self._random = random.Random(seed)
        self._spread = spread
        self._centres = [self._noise() for _ in range(topics)]

    def __call__(self, _content: str = "") -> Embedding:
        """The next vector, of a topic drawn by chance."""
        centre = self._random.choice(self._centres)
        vector = tuple(c + self._spread * n for c, n in zip(centre, self._noise(), strict=True))
        return Embedding(model=MODEL, vector=vector)

    def _noise(self) -> list[float]:
        return [self._random.gauss(0, 1) for _ in range(EMBEDDING_DIMENSIONS)]
