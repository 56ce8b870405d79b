"""Long texts are embedded in pieces, and the item's vector is the mean of theirs: one vector for each item."""

import math
import re
from collections.abc import Sequence

CHUNK_CHARACTERS = 2000

_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?。])\s*"), re.compile(r"\s+"))


def chunks(text: str, most: int = CHUNK_CHARACTERS) -> list[str]:
    """`text` in pieces of at most `most` characters, cut at a paragraph, line, sentence or word, in this order.

    A piece is never shorter than half of `most` unless it is the last; nothing but white space gets lost.
    """
    pieces = []
    rest = text.strip()
    while len(rest) > most:
        end = _cut(rest, most)
        pieces.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*pieces, rest] if rest else pieces


def mean_vector(vectors: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean of unit vectors, of unit length itself; as it is when there is only one, or when they cancel out."""
    if len(vectors) == 1:
        return tuple(vectors[0])
    total = [math.fsum(column) for column in zip(*vectors, strict=True)]
    length = math.sqrt(math.fsum(value * value for value in total))
    return tuple(value / length for value in total) if length else tuple(total)


def _cut(text: str, most: int) -> int:
    for pattern in _ENDS:
        ends = [found.end() for found in pattern.finditer(text, most // 2, most) if found.end() > most // 2]
        if ends:
            return ends[-1]
    return most
