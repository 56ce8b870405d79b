"""What providers list, remembered for a while: asked only about names that may be a model's or a provider's."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from cognitionos.llm_gateway.application.ports import Monotonic

KNOWN_S = 60.0
MISSED_S = 5.0
"""So often a provider is asked again for a name that it did not list: it may have it by now."""
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Listings:
    """Lists by the providers' homes."""

    monotonic: Monotonic
    _known: dict[str, tuple[float, Collection[str]]] = field(default_factory=dict)

    async def of(self, home: str, ask: Callable[[], Awaitable[Collection[str]]], wanted: str) -> Collection[str]:
        """The models of a provider; one that lists nothing is asked as often as one that has not got what is wanted."""
        known, now = self._known.get(home), self.monotonic()
        if known is not None and now - known[0] < (KNOWN_S if wanted in known[1] else MISSED_S):
            return known[1]
        if len(self._known) >= MOST:
            self._known.clear()
        listed = await ask()
        self._known[home] = (now, listed)
        return listed
