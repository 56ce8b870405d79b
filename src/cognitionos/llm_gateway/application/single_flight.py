"""Single flight in one process: identical calls at once wait for the first of them instead of asking too."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

Value = TypeVar("Value")


class NotShared(Enum):
    """How a flight ended that brought nothing. `FAILED`: another may try; `ALONE`: each asks for itself."""

    FAILED = "failed"
    ALONE = "alone"


@dataclass(eq=False, slots=True)
class Flight(Generic[Value]):
    """One call that others may wait for. Ended once, by whoever leads it; later ends count for nothing."""

    _flights: "Flights[Value]"
    _key: Hashable
    epoch: int | None = None
    """How many invalidations there were when it left; None: it has not left yet."""
    _landing: "asyncio.Future[Value | NotShared] | None" = None

    def end(self, outcome: Value | NotShared) -> None:
        """Tell everyone who waits, and let nobody else join."""
        self._flights.remove(self._key, self)
        if self._landing is not None and not self._landing.done():
            self._landing.set_result(outcome)

    async def landed(self, longest_s: float) -> Value | NotShared:
        """How it ends; raises `TimeoutError` after `longest_s`."""
        if self._landing is None:
            self._landing = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(longest_s):
            return await asyncio.shield(self._landing)


@dataclass(slots=True)
class Flights(Generic[Value]):
    """The flights of this process."""

    _under_way: dict[Hashable, Flight[Value]] = field(default_factory=dict)

    def find(self, key: Hashable) -> Flight[Value] | None:
        """The flight to join."""
        return self._under_way.get(key)

    def start(self, key: Hashable) -> Flight[Value]:
        """A new flight; it takes the place of one of the same key, which goes on for those who joined it."""
        flight = self._under_way[key] = Flight(self, key)
        return flight

    def remove(self, key: Hashable, flight: Flight[Value]) -> None:
        """Nobody joins it any more."""
        if self._under_way.get(key) is flight:
            del self._under_way[key]
