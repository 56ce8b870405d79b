"""The local embedder as the semantic cache's: free, so that no look-up needs a hold or a row of the ledger."""

from collections.abc import Sequence

from cognitionos.llm_gateway.application.ports import Provider
from cognitionos.llm_gateway.application.semantic_ports import EmbedTexts
from cognitionos.llm_gateway.infrastructure.wordllama_provider import MODEL


def embedder(local: Provider) -> EmbedTexts:
    """`local/wordllama`, for which the score's weights and the first thresholds hold."""

    async def embed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return (await local.embed(texts, model=MODEL, extra={})).vectors

    return embed
