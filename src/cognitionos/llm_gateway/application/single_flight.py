"""Single flight in one process: identical calls at once follow the first of them instead of asking too.

Who follows may want a streamed answer piece by piece, as it comes, or only hear how the call ended.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.domain.cached import Kept


class NotShared(Enum):
    """How a flight ended that brought nothing. `FAILED`: another may try; `RESIGNED`: so too, at once: whoever led has
    no money or not enough; `ALONE`: each asks for itself."""

    FAILED = "failed"
    RESIGNED = "resigned"
    ALONE = "alone"


@value
class Over:
    """How a stream ended that was followed piece by piece. `broken` says why it broke off.

    `usage_event` is for those who asked for the usage, where no piece said it.
    """

    cost_nanousd: int = 0
    usage_event: bytes = b""
    broken: str | None = None


@value
class By:
    """Who answers a stream, by name."""

    model: str


Said = Chunk | Kept | NotShared | Over
"""A piece; or the end: `Over` for whoever got pieces, an answer or none of them for whoever did not."""


@dataclass(eq=False, slots=True)
class Feed:
    """What one follower hears: with `pieces` each of them. `begun`: it heard some; `first` is one taken out of it.

    No queue of asyncio's: that takes 3 KiB, and who follows a call that hangs may wait for minutes.
    """

    flight: "Flight"
    pieces: bool
    begun: bool = False
    first: Chunk | None = None
    _said: deque[Said] | None = None
    _listening: "asyncio.Future[None] | None" = None

    def tell(self, said: Said) -> None:
        """Say something to the follower, who listens when it can."""
        self.begun = self.begun or isinstance(said, Chunk)
        if self._said is None:
            self._said = deque()
        self._said.append(said)
        if self._listening is not None and not self._listening.done():
            self._listening.set_result(None)

    async def hear(self) -> Said:
        """The next that was said. One listens at a time."""
        while not self._said:
            self._listening = asyncio.get_running_loop().create_future()
            await self._listening
        return self._said.popleft()

    def at_hand(self) -> Iterator[Said]:
        """What was said already."""
        while self._said:
            yield self._said.popleft()

    def leave(self) -> None:
        """Follow no longer."""
        self.flight.left(self)


class Source(Protocol):
    """Where the pieces of a flight come from."""

    def joined(self, feed: Feed) -> None:
        """Somebody follows from here on: begin it with what was said so far."""
        ...

    def deserted(self) -> None:
        """Nobody follows any more."""
        ...


@dataclass(eq=False, slots=True)
class Flight:
    """One call that others may follow, named like that call. Ended once; later ends count for nothing.

    `since` is when it left, by whatever clock its process looks at.
    """

    _flights: "Flights"
    _key: Hashable
    name: str
    since: float = 0.0
    is_far: bool = False
    """Whether another process makes the call."""
    is_heard: bool = False
    """Whether pieces of its answer came."""
    names: set[str] = field(default_factory=set)
    """Scopes that those who joined it have for its answer."""
    epoch: int | None = None
    """How many invalidations there were when it left; None: it has not left yet."""
    model: str = ""
    """Who answers, by name, once that is known of a stream."""
    _source: Source | None = None
    _feeds: set[Feed] = field(default_factory=set)
    _ended: Kept | NotShared | None = None

    def named(self, scopes: tuple[str, ...]) -> tuple[str, ...]:
        """The scopes of its answer: those of whoever makes the call, then those of whoever joined it."""
        return tuple(dict.fromkeys((*scopes, *sorted(self.names)))) if self.names else scopes

    @property
    def is_followed(self) -> bool:
        """Whether anybody depends on it."""
        return bool(self._feeds)

    @property
    def followers(self) -> int:
        """How many depend on it."""
        return len(self._feeds)

    def begins(self, source: Source) -> None:
        """The call answers piece by piece from here on."""
        if self._ended is None:
            self._source, self.is_heard = source, not self.is_far
            for feed in tuple(self._feeds):
                source.joined(feed)

    def stops(self) -> None:
        """Nothing more comes: let go of the source, which holds the flight; else both wait for the collector."""
        self._source = None

    def join(self, *, pieces: bool) -> Feed:
        """Follow it, from its beginning."""
        feed = Feed(self, pieces)
        self._feeds.add(feed)
        if self._ended is not None:
            feed.tell(self._ended)
        elif self._source is not None:
            self._source.joined(feed)
        return feed

    def rejoin(self) -> Feed:
        """Follow it from the next piece on, as whoever has had all before."""
        feed = Feed(self, pieces=True, begun=True)
        self._feeds.add(feed)
        return feed

    def left(self, feed: Feed) -> None:
        """One of those who follow does so no longer."""
        if feed in self._feeds:
            self._feeds.discard(feed)
            if not self._feeds and self._source is not None:
                self._source.deserted()

    def waiting(self) -> list[Feed]:
        """Who wants pieces and got none so far."""
        return [feed for feed in self._feeds if feed.pieces and not feed.begun] if self._ended is None else []

    def give(self, pieces: Iterable[Chunk]) -> None:
        """Pieces for everyone who has had all before."""
        self.is_heard = True
        begun = [feed for feed in self._feeds if feed.begun]
        for piece in pieces:
            for feed in begun:
                feed.tell(piece)

    def end(self, outcome: Kept | NotShared) -> None:
        """Tell everyone who got no piece, and let nobody else join."""
        self._flights.remove(self._key, self)
        if self._ended is None:
            self._ended = outcome
            for feed in self._feeds:
                if not feed.begun:
                    feed.tell(outcome)

    def over(self, over: Over) -> None:
        """Tell everyone who got pieces that there are no more."""
        for feed in self._feeds:
            if feed.begun:
                feed.tell(over)


@dataclass(slots=True)
class Flights:
    """The flights of this process."""

    _under_way: dict[Hashable, Flight] = field(default_factory=dict)

    @property
    def followers(self) -> int:
        """How many calls wait for the answer of another of this process or hear it; another process counts as one."""
        return sum(flight.followers for flight in self._under_way.values())

    def find(self, key: Hashable) -> Flight | None:
        """The flight to join."""
        return self._under_way.get(key)

    def named(self, names: Collection[str]) -> list[Flight]:
        """Those of these names."""
        return [flight for flight in self._under_way.values() if flight.name in names] if names else []

    def start(self, key: Hashable, name: str, *, at: float = 0.0) -> Flight:
        """A new flight; it takes the place of one of the same key, which goes on for those who joined it."""
        flight = self._under_way[key] = Flight(self, key, name, at)
        return flight

    def remove(self, key: Hashable, flight: Flight) -> None:
        """Nobody joins it any more."""
        if self._under_way.get(key) is flight:
            del self._under_way[key]
