"""The caches of whole answers as one: shared, durable, further layers, and one flight for identical calls."""

import asyncio
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.llm_gateway.application.cache_ports import (
    CacheAsk,
    CacheLayer,
    DurableAnswers,
    FarFlights,
    SharedAnswers,
    Turn,
)
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.ports import Chunk, Monotonic
from cognitionos.llm_gateway.application.relay import Relay
from cognitionos.llm_gateway.application.single_flight import Feed, Flight, Flights, NotShared, Said
from cognitionos.llm_gateway.domain.cached import BORROWED, KEY, Kept, most_kept_s
from cognitionos.llm_gateway.domain.chat import CACHE_COALESCED
from cognitionos.llm_gateway.domain.errors import ProviderUnavailable

MOST_NAMED = 10_000
MOST_LEADERS = 3
"""After so many failures of others a call no longer waits for anybody."""
A_RESIGNATION = 0.02
"""So much of a failure is one that has no money: it took no longer than to find that out."""


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket:
    """Leave to ask the provider. `close` it whatever happens: unless an answer was kept, those who wait hear of it.

    `epoch` None: the answer is not kept. `shared`: other processes wait for it.
    """

    caches: "AnswerCaches | None" = None
    ask: CacheAsk | None = None
    epoch: int | None = None
    flight: Flight | None = None
    shared: bool = False

    def keep(self, wire: bytes, *, model: str, cost_nanousd: int) -> None:
        """Keep the provider's whole answer in every layer, and give it to everyone who waits."""
        if self.caches is None or self.ask is None or self.epoch is None:
            return
        now, wish = self.caches.clock(), self.ask.wish
        kept = Kept(
            wire=wire,
            model=model,
            cost_nanousd=cost_nanousd,
            stored_at=now,
            expires_at=now + most_kept_s(wish),
            epoch=self.epoch,
            scopes=self.ask.scopes if self.flight is None else self.flight.named(self.ask.scopes),
        )
        self.caches.put(self.ask, kept, flight=self.ask.flight if self.shared else None)
        self.shared = False
        if self.flight is not None:
            self.flight.end(kept)

    def give(self, wire: bytes, *, model: str, cost_nanousd: int) -> None:
        """Give an answer that may not be kept to those who wait, in every process, and to nobody later."""
        if self.caches is None or self.ask is None or self.epoch is None or self.flight is None:
            return
        now = self.caches.clock()
        kept = Kept(
            wire=wire,
            model=model,
            cost_nanousd=cost_nanousd,
            stored_at=now,
            expires_at=now,
            epoch=self.epoch,
            scopes=self.ask.scopes,
        )
        if self.shared:
            self.shared = False
            self.caches.shared.give(self.ask.tenant_id, self.ask.key, kept, flight=self.ask.flight)
        self.flight.end(kept)

    def everybodys(self) -> None:
        """The answer is not to be shared: who waits for it asks for itself, all at once."""
        self._end(NotShared.ALONE)

    def resign(self) -> None:
        """Somebody else leads from here, and this call asks for itself."""
        self._end(NotShared.RESIGNED)
        self.flight = None

    def close(self) -> None:
        """The call ended; if without an answer to share, somebody else leads from here."""
        self._end(NotShared.FAILED)

    def _end(self, outcome: NotShared) -> None:
        if self.shared and self.caches is not None and self.ask is not None:
            self.shared = False
            self.caches.shared.end(self.ask.tenant_id, self.ask.key, self.ask.flight, outcome)
        if self.flight is not None:
            self.flight.end(outcome)


NOT_CACHED = Ticket()
"""Of a call whose answer is neither looked up nor kept."""


@dataclass(frozen=True, slots=True)
class _Led:
    """No layer has it: ask, or follow `leader`, another process's call that does."""

    epoch: int
    turn: Turn
    leader: str


@dataclass(slots=True, kw_only=True)
class AnswerCaches:
    """`further` layers are asked in order when the exact ones have nothing. `clock` is the wall's, in seconds.

    A call that has said nothing for `patience_s` is waited for no longer: whoever did asks, and leads the others.
    """

    shared: SharedAnswers
    durable: DurableAnswers
    further: Sequence[CacheLayer] = ()
    far: FarFlights
    voids: Voids
    clock: Callable[[], float]
    monotonic: Monotonic
    flights: Flights = field(default_factory=Flights)
    patience_s: float = 120.0
    _named: set[Hashable] = field(default_factory=set)
    _relays: set[asyncio.Task[None]] = field(default_factory=set)

    async def find(self, ask: CacheAsk) -> Kept | Ticket:
        """A kept answer, that of an identical call under way, or leave to ask the provider.

        Raises `ProviderUnavailable` when the call that it waits for takes longer than the request's deadline.
        """
        found = await self.seek(ask)
        if not isinstance(found, Flight):
            return found
        outcome = await self.follow(ask, found.join(pieces=False))
        if isinstance(outcome, Feed):
            raise TypeError("pieces came that nobody asked for")
        return outcome

    async def seek(self, ask: CacheAsk) -> Kept | Ticket | Flight:
        """One look. An identical call under way is to be joined before anything else is awaited."""
        tenant, wish = ask.tenant_id, ask.wish
        if not wish.look:
            epoch = await self.voids.catch_up(tenant, None)
            return Ticket(caches=self, ask=ask, epoch=epoch if wish.keep else None)
        if not self.voids.is_fresh(tenant):
            await self.voids.catch_up(tenant, None)
        flight = self.flights.find((tenant, ask.key))
        if flight is None or not wish.keep or self._is_outdated(ask, flight):
            return await self._lead(ask)
        if self._is_silent(flight):
            return await self._lead(ask, behind_silence=True)
        flight.names.update(ask.names)
        return flight

    async def follow(self, ask: CacheAsk, feed: Feed) -> Kept | Ticket | Feed:
        """What comes of the flight that was joined, or of the next ones: the feed, if it wants pieces, from its first
        piece on; else a whole answer, or leave to ask. Raises what `find` raises.
        """
        give_up, failures = self.monotonic() + ask.request.deadline_s, 0.0
        while True:
            said = None
            try:
                said = await self._heard(feed, give_up)
            finally:
                if not isinstance(said, Chunk):
                    feed.leave()
            by = feed.flight.model if isinstance(said, Chunk) else said.model if isinstance(said, Kept) else ask.model
            if by and by not in ask.takes:
                feed.leave()  # the other's route has models that this one's has not
                return Ticket(caches=self, ask=ask, epoch=self.voids.epoch(ask.tenant_id))
            if isinstance(said, Chunk):
                feed.first = said
                if feed.flight.is_far:
                    await self._name(ask, ask.key, ask.names, of=feed.flight.name)
                return feed
            if isinstance(said, Kept) and self._will_do(ask, said, fresh=True):
                await self._name_kept(ask, said)
                return replace(said, layer=said.layer or CACHE_COALESCED)
            failures += 0 if said is None else A_RESIGNATION if said is NotShared.RESIGNED else 1
            if said is NotShared.ALONE or failures >= MOST_LEADERS:
                return Ticket(caches=self, ask=ask, epoch=self.voids.epoch(ask.tenant_id))
            found = await self.seek(ask)
            if not isinstance(found, Flight):
                return found
            feed = found.join(pieces=feed.pieces)

    async def _heard(self, feed: Feed, give_up: float) -> Said | None:
        """What the call says next; None: it has been silent for too long. Raises `ProviderUnavailable` at `give_up`."""
        while True:
            flight = feed.flight
            silent = math.inf if flight.is_heard else flight.since + self.patience_s
            try:
                async with asyncio.timeout(max(min(give_up, silent) - self.monotonic(), 0.0)):
                    return await feed.hear()
            except TimeoutError:
                if give_up <= silent:
                    told = "An identical call under way did not end within this one's deadline."
                    raise ProviderUnavailable(told) from None
                if not flight.is_heard:
                    return None

    async def is_elsewhere(self, ask: CacheAsk) -> bool:
        """Whether an identical call is under way in this process, or an answer is kept where all look first."""
        flight = self.flights.find((ask.tenant_id, ask.key))
        if flight is not None and not self._is_silent(flight):
            return True
        kept = (await self.shared.look(ask.tenant_id, ask.key, flight=None)).kept
        return kept is not None and self._will_do(ask, kept)

    async def close(self) -> None:
        """Follow no other process's call any longer."""
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def lent(self, tenant_id: UUID, call_id: UUID, kept: Kept) -> None:
        """A call was given an answer that was lent to another before: whoever got it may say what it was worth."""
        for layer in self.further:
            await layer.lent(tenant_id, call_id, kept)

    def put(self, ask: CacheAsk, kept: Kept, *, flight: str | None) -> None:
        """Keep a provider's answer in every layer; `flight` ends with it."""
        self.shared.keep(ask.tenant_id, ask.key, kept, flight=flight)
        self.durable.put(ask.tenant_id, ask.key, kept)
        for layer in self.further:
            layer.put(ask, kept)

    async def _lead(self, ask: CacheAsk, *, behind_silence: bool = False) -> Kept | Ticket | Flight:
        """Look on behalf of everyone who asks the same meanwhile. `behind_silence`: without waiting for whoever leads
        all processes, as that is whom nobody hears.
        """
        flight = None
        if ask.wish.keep:
            flight = self.flights.start((ask.tenant_id, ask.key), ask.flight, at=self.monotonic())
        try:
            found = await self._look(ask, flight, takes_turn=flight is not None and not behind_silence)
        except BaseException:
            self.shared.end(ask.tenant_id, ask.key, ask.flight, NotShared.FAILED)
            if flight is not None:
                flight.end(NotShared.FAILED)
            raise
        if isinstance(found, Kept):
            if flight is not None:
                flight.end(found)
            await self._name_kept(ask, found)
            return found
        if flight is not None and found.turn is Turn.ANOTHERS:
            self._relay(ask, flight, found.leader)
            return flight
        if flight is not None and found.turn is Turn.EVERYBODYS:
            flight.end(NotShared.ALONE)
        epoch = found.epoch if ask.wish.keep else None
        return Ticket(caches=self, ask=ask, epoch=epoch, flight=flight, shared=found.turn is Turn.MINE)

    async def _look(self, ask: CacheAsk, flight: Flight | None, *, takes_turn: bool) -> Kept | _Led:
        """Layer by layer, but where another process asks the provider already."""
        void: int | None = None
        word = ask.flight if takes_turn else None
        while True:
            look = await self.shared.look(ask.tenant_id, ask.key, flight=word, void=void)
            unsaid = look.reached and look.epoch is None
            epoch = await self.voids.catch_up(ask.tenant_id, look.epoch, tell=unsaid)
            if flight is not None:
                flight.epoch = epoch
            if look.kept is not None and not self.voids.allows(ask.tenant_id, look.kept):
                void = look.kept.epoch
                continue
            if look.kept is not None and self._will_do(ask, look.kept):
                return look.kept
            if look.turn is not Turn.ANOTHERS:
                deeper = await self._look_deeper(ask, reached=look.reached) if look.deeper else None
                deeper = deeper or await self._look_further(ask)
                if deeper is not None:
                    return deeper
            return _Led(self.voids.epoch(ask.tenant_id), look.turn, look.leader)

    async def _name_kept(self, ask: CacheAsk, kept: Kept) -> None:
        """Give a kept answer what words of this request it has not got, so that these declare it void too."""
        if kept.scopes != ask.scopes and (lacking := ask.names - set(kept.scopes)):
            keys = {scope.removeprefix(KEY) for scope in kept.scopes if scope.startswith(KEY)}
            for key in {ask.key, *keys}:
                await self._name(ask, key, lacking, of=kept.stored_at)

    async def _name(self, ask: CacheAsk, key: str, names: frozenset[str], *, of: Hashable) -> None:
        """Once for each answer and process: whoever names an answer again waits for nothing."""
        place = (ask.tenant_id, key, of, names)
        if names and place not in self._named:
            await self.durable.name(ask.tenant_id, key, names)
            if len(self._named) >= MOST_NAMED:
                self._named.clear()
            self._named.add(place)

    def _relay(self, ask: CacheAsk, flight: Flight, leader: str) -> None:
        """Have everybody here follow another process's call."""
        flight.is_far = True
        relay = Relay(
            tenant_id=ask.tenant_id,
            key=ask.key,
            leader=leader,
            flight=flight,
            far=self.far,
            shared=self.shared,
            voids=self.voids,
        )
        self._relays.add(relay.start())
        relay.task.add_done_callback(self._relays.discard)

    async def _look_deeper(self, ask: CacheAsk, *, reached: bool) -> Kept | None:
        kept, epoch = await self.durable.get(ask.tenant_id, ask.key)
        if epoch is not None:
            await self.voids.catch_up(ask.tenant_id, epoch)
        if kept is None or not self._will_do(ask, kept):
            return None
        if reached:
            self.shared.keep(ask.tenant_id, ask.key, kept, flight=ask.flight)
        return kept

    async def _look_further(self, ask: CacheAsk) -> Kept | None:
        for layer in self.further:
            epoch = self.voids.epoch(ask.tenant_id)
            kept = await layer.get(ask)
            if kept is not None and self._will_do(ask, kept):
                if ask.wish.keep:
                    self._promote(ask, kept, lent_by=layer.name, epoch=epoch)
                return kept
        return None

    def _promote(self, ask: CacheAsk, kept: Kept, *, lent_by: str, epoch: int) -> None:
        """Keep what a further layer lent under this request's own key, as long as it wishes; until the layer is turned
        off at most, which declares all of it void. It was not void after `epoch` invalidations.
        """
        promoted = replace(
            kept,
            scopes=tuple(dict.fromkeys((*kept.scopes, *ask.scopes, BORROWED + lent_by))),
            epoch=max(kept.epoch, epoch),
            expires_at=min(kept.expires_at, self.clock() + most_kept_s(ask.wish)),
            layer="",
            similarity=None,
        )
        self.shared.keep(ask.tenant_id, ask.key, promoted, flight=ask.flight)
        self.durable.put(ask.tenant_id, ask.key, promoted)

    def _will_do(self, ask: CacheAsk, kept: Kept, *, fresh: bool = False) -> bool:
        """Whether the answer is neither void nor too old for this request; a `fresh` one has not been kept at all."""
        now, most = self.clock(), ask.wish.max_age_s
        lives = fresh or now < kept.expires_at
        return lives and (most is None or now - kept.stored_at <= most) and self.voids.allows(ask.tenant_id, kept)

    def _is_silent(self, flight: Flight) -> bool:
        """Whether the call has said nothing for longer than anybody shall wait for another's."""
        return not flight.is_heard and self.monotonic() - flight.since >= self.patience_s

    def _is_outdated(self, ask: CacheAsk, flight: Flight) -> bool:
        """Whether something was declared void since the flight left: its answer is none to an ask of today."""
        return flight.epoch is not None and flight.epoch < self.voids.epoch(ask.tenant_id)
