"""What a call costs beside its tokens: the call itself, and the web searches that a provider makes for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from cognitionos.llm_gateway.domain.chat import Usage

USUAL_SIZE = "medium"
"""The size of a search that nobody told."""
_NONE: Mapping[str, Decimal] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """Dollars for each call, and for each web search by its size (`low`, `medium`, `high`; empty: nobody knows).

    `unasked` is how often a model searches though its request does not say so: 0; 1, and its answer counts none; None,
    as often as it likes, and its answer says how often.
    """

    call: Decimal = Decimal(0)
    searches: Mapping[str, Decimal] = field(default_factory=lambda: _NONE)
    unasked: int | None = 0

    def cost_usd(self, usage: Usage) -> Decimal:
        """Exact dollars for what `usage` counts."""
        count = usage.searches if self.unasked is None else self.unasked or usage.searches
        if not count or not self.searches:
            return self.call
        usual = self.searches.get(USUAL_SIZE, self._dearest_search)
        return self.call + count * self.searches.get(usage.search_size or USUAL_SIZE, usual)

    def most_usd(self, searches: int) -> Decimal:
        """The most that a call with so many searches costs."""
        return self.call + (searches + (self.unasked or 0)) * self._dearest_search

    def covers(self, usage: Usage) -> bool:
        """Whether everything that `usage` counts has a fee."""
        return not usage.searches or bool(self.searches)

    @property
    def is_free(self) -> bool:
        """Whether nothing is asked for beside the tokens."""
        return not self.call and not any(self.searches.values())

    @property
    def _dearest_search(self) -> Decimal:
        return max(self.searches.values(), default=Decimal(0))


NO_FEES = Fees()
