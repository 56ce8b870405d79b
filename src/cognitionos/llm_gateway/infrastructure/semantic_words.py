"""How near words are, by the vectors of the words alone: one product of two small matrices for each look-up."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cognitionos.llm_gateway.application.semantic_ports import EmbedTexts
from cognitionos.llm_gateway.domain.semantic_score import Likeness

if TYPE_CHECKING:
    import numpy as np

MOST_WORDS = 4000
"""Of the words met last the vectors are kept; 1 KB each."""


class WordVectors:
    """`semantic_ports.Words` by an embedder."""

    def __init__(self, embed: EmbedTexts) -> None:
        self._embed = embed
        self._known: OrderedDict[str, np.ndarray[Any, Any]] = OrderedDict()

    async def likeness(self, words: Sequence[str]) -> Likeness:
        """How near each of these words is to each other: their cosine; 0 for any other word."""
        if not words:
            return lambda _one, _other: 0.0
        import numpy as np

        new = [word for word in words if word not in self._known]
        for word in words:
            if word in self._known:
                self._known.move_to_end(word)
        if new:
            for word, vector in zip(new, await self._embed(new), strict=True):
                self._known[word] = np.asarray(vector, dtype=np.float32)
        rows = np.stack([self._known[word] for word in words])
        while len(self._known) > MOST_WORDS:
            self._known.popitem(last=False)
        # not `rows @ rows.T`: for that BLAS wakes a thread on every core, which costs ten times the work
        cosines: list[list[float]] = np.einsum("ij,kj->ik", rows, rows).tolist()
        place = {word: number for number, word in enumerate(words)}

        def between(one: str, other: str) -> float:
            here, there = place.get(one), place.get(other)
            return 0.0 if here is None or there is None else cosines[here][there]

        return between
