"""The table's rows as memory items, and items as the values of a row."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from cognitionos.memory.application.ports import Embedding
from cognitionos.memory.domain.item import MemoryItem, MemoryKind, Source
from cognitionos.memory.domain.words import words_of

COLUMNS = (
    "id, tenant_id, project_id, kind, content, source, confidence, created_at, valid_from, valid_until, "
    "superseded_by, tags"
)


def item_of(row: Sequence[Any]) -> MemoryItem:
    """The item in a row of `COLUMNS`."""
    return MemoryItem(
        id=row[0],
        tenant_id=row[1],
        project_id=row[2],
        kind=MemoryKind(row[3]),
        content=row[4],
        source=msgspec.convert(row[5], Source),
        confidence=row[6],
        created_at=row[7].astimezone(UTC),
        valid_from=row[8].astimezone(UTC),
        valid_until=_utc(row[9]),
        superseded_by=row[10],
        tags=tuple(row[11]),
    )


def values_of(item: MemoryItem, embedding: Embedding | None) -> dict[str, Any]:
    """Everything a new row is made from, by parameter name."""
    words = words_of(item.content)
    source = {name: value for name, value in msgspec.to_builtins(item.source).items() if value is not None}
    return {
        "id": item.id,
        "tenant_id": item.tenant_id,
        "project_id": item.project_id,
        "kind": item.kind.value,
        "content": item.content,
        "content_hash": item.content_hash,
        "source": msgspec.json.encode(source).decode(),
        "tags": list(item.tags),
        "confidence": item.confidence,
        "created_at": item.created_at,
        "valid_from": item.valid_from,
        "valid_until": item.valid_until,
        "superseded_by": item.superseded_by,
        "words": len(words),
        "text": " ".join(words),
        "project_term": f"project:{item.project_id}",
        "embedding": None if embedding is None else vector_text(embedding),
        "embedding_model": None if embedding is None else embedding.model,
    }


def vector_text(embedding: Embedding) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join([f"{value:.6g}" for value in embedding.vector]) + "]"


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
