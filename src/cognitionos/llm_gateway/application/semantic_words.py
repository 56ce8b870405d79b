"""How near two words are, by the vectors of the words alone."""

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import mul

from cognitionos.llm_gateway.application.semantic_ports import EmbedTexts

MOST_WORDS = 4000


@dataclass(slots=True)
class WordVectors:
    """The vectors of the words met last; some 4 MB at most."""

    _known: "OrderedDict[str, array[float]]" = field(default_factory=OrderedDict)

    async def learn(self, words: Sequence[str], embed: EmbedTexts) -> None:
        """Know these words' vectors."""
        new = [word for word in words if word not in self._known]
        for word in words:
            if word in self._known:
                self._known.move_to_end(word)
        if new:
            for word, vector in zip(new, await embed(new), strict=True):
                self._known[word] = array("f", vector)
        while len(self._known) > max(MOST_WORDS, len(words)):
            self._known.popitem(last=False)

    def likeness(self, one: str, other: str) -> float:
        """The cosine of two known words; 0 where one is not known."""
        mine, others = self._known.get(one), self._known.get(other)
        return 0.0 if mine is None or others is None else sum(map(mul, mine, others))
