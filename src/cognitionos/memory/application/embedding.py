"""Texts to vectors through the gateway; where no embedder answers, memory goes on with words alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from cognitionos.kernel.errors import DomainError, Unavailable
from cognitionos.memory.application.ports import EMBEDDING_DIMENSIONS, Embed, Embedding, Scope
from cognitionos.memory.domain.chunking import chunks, mean_vector
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)


class EmbeddingUnusable(Unavailable):
    """The embedding model answers with vectors that the database cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedder:
    """Embeds items and questions; None stands for 'not now'."""

    embed: Embed

    async def one(self, scope: Scope, text: str) -> Embedding | None:
        """The embedding of `text`, or None when the embedder is not to be had (which is logged)."""
        return (await self.all(scope, [text]))[0]

    async def all(self, scope: Scope, texts: Sequence[str]) -> list[Embedding | None]:
        """One embedding per text, in one call; all None when the embedder is not to be had (which is logged)."""
        try:
            return [*await self.require(scope, texts)]
        except DomainError as error:
            log.warning("embedding_unavailable", texts=len(texts), reason=error.detail)
            return [None] * len(texts)

    async def require(self, scope: Scope, texts: Sequence[str]) -> list[Embedding]:
        """One embedding per text. Raises a `DomainError` when there is none to be had."""
        if not texts:
            return []
        pieces = [chunks(text) for text in texts]
        vectors = iter(await self.embed(scope, [piece for each in pieces for piece in each]))
        return [_mean([next(vectors) for _ in each]) for each in pieces]


def _mean(embeddings: Sequence[Embedding]) -> Embedding:
    model = embeddings[0].model
    for embedding in embeddings:
        if len(embedding.vector) != EMBEDDING_DIMENSIONS:
            message = f"{model} gives {len(embedding.vector)} dimensions; memory stores {EMBEDDING_DIMENSIONS}"
            raise EmbeddingUnusable(message)
    return Embedding(model=model, vector=mean_vector([embedding.vector for embedding in embeddings]))
