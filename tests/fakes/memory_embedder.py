"""An embedder without a model: the hashing trick over word stems and a small table of synonyms, 256 dimensions.

Deterministic in every process, and like a real one in what the tests need: texts that share words or synonyms are near.
"""

import hashlib
import math
from collections.abc import Sequence

from cognitionos.kernel.errors import Unavailable
from cognitionos.memory.application.ports import EMBEDDING_DIMENSIONS, Embedding, Scope
from cognitionos.memory.domain.words import words_of

MODEL = "fake/hashing"
_SYNONYMS = {
    "car": "vehicle", "automobile": "vehicle", "truck": "vehicle", "vendor": "supplier", "provider": "supplier",
    "cheap": "inexpensive", "affordable": "inexpensive", "physician": "doctor", "medic": "doctor", "begin": "start",
    "commence": "start", "purchase": "buy", "acquire": "buy", "holiday": "vacation", "leave": "vacation",
    "bug": "defect", "error": "defect", "salary": "pay", "wage": "pay", "film": "movie", "quick": "fast",
    "rapid": "fast", "house": "home", "residence": "home", "repair": "fix", "mend": "fix",
}  # fmt: skip
_STOP = frozenset(
    words_of("a an and are be by for from how i in is it of on or that the to was we what when which who with")
)


class FakeEmbedder:
    """`ports.Embed`. Counts its calls; set `down` and it is not to be had."""

    def __init__(self, *, model: str = MODEL, dimensions: int = EMBEDDING_DIMENSIONS) -> None:
        self.model = model
        self.dimensions = dimensions
        self.down = False
        self.texts: list[str] = []

    async def __call__(self, scope: Scope, texts: Sequence[str]) -> list[Embedding]:
        """One embedding per text, or `Unavailable`."""
        if self.down:
            raise Unavailable("no embedding model answers")
        self.texts.extend(texts)
        return [Embedding(model=self.model, vector=embed(text, self.dimensions)) for text in texts]


def embed(text: str, dimensions: int = EMBEDDING_DIMENSIONS) -> tuple[float, ...]:
    """The unit vector of a text; the first axis for a text without a word."""
    vector = [0.0] * dimensions
    for word in words_of(text):
        if word not in _STOP:
            meaning = _SYNONYMS.get(stem(word), stem(word))
            digest = hashlib.blake2b(meaning.encode(), digest_size=8).digest()
            for position in range(4):
                axis = int.from_bytes(digest[position : position + 2]) % dimensions
                vector[axis] += 1.0 if digest[position + 4] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in vector))
    return tuple(value / length for value in vector) if length else (1.0,) + (0.0,) * (dimensions - 1)


def stem(word: str) -> str:
    """A crude stem, enough that a plural finds its singular."""
    for ending in ("ies", "ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word
