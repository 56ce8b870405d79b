"""The caches of whole answers as one: shared, durable, further layers, and one flight for identical calls."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from cognitionos.llm_gateway.application.cache_ports import (
    CacheAsk,
    CacheLayer,
    DurableAnswers,
    SharedAnswers,
    Turn,
)
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.ports import Monotonic
from cognitionos.llm_gateway.application.single_flight import Flight, Flights, NotShared
from cognitionos.llm_gateway.domain.cached import LONGEST_KEPT_S, Kept
from cognitionos.llm_gateway.domain.chat import CACHE_COALESCED
from cognitionos.llm_gateway.domain.errors import ProviderUnavailable

LOOK_AGAIN_S = 0.5
"""How long a call that another process makes is waited for before looking whether that process still lives."""
MOST_LEADERS = 3
"""After so many failures of others a call no longer waits for anybody."""


@dataclass(eq=False, slots=True, kw_only=True)
class Ticket:
    """Leave to ask the provider. `close` it whatever happens: unless an answer was kept, those who wait hear of it.

    `epoch` None: the answer is not kept. `shared`: other processes wait for it.
    """

    caches: "AnswerCaches | None" = None
    ask: CacheAsk | None = None
    epoch: int | None = None
    flight: Flight[Kept] | None = None
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
            expires_at=now + min(wish.ttl_s or LONGEST_KEPT_S, LONGEST_KEPT_S),
            epoch=self.epoch,
            scopes=self.ask.scopes,
        )
        self.caches.put(self.ask, kept, flight=self.ask.flight if self.shared else None)
        self.shared = False
        if self.flight is not None:
            self.flight.end(kept)

    def give(self, wire: bytes, *, model: str, cost_nanousd: int) -> None:
        """Give an answer that may not be kept to those who wait in this process, and to nobody later."""
        if self.caches is not None and self.ask is not None and self.epoch is not None and self.flight is not None:
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
            self.flight.end(kept)
        self.everybodys()

    def everybodys(self) -> None:
        """The answer is not to be shared: who waits for it asks for itself, all at once."""
        self._end(NotShared.ALONE)

    def close(self) -> None:
        """The call ended; if without an answer to share, somebody else leads from here."""
        self._end(NotShared.FAILED)

    def _end(self, outcome: NotShared) -> None:
        if self.shared and self.caches is not None and self.ask is not None:
            self.shared = False
            self.caches.shared.end(
                self.ask.tenant_id, self.ask.key, self.ask.flight, everybodys=outcome is NotShared.ALONE
            )
        if self.flight is not None:
            self.flight.end(outcome)


NOT_CACHED = Ticket()
"""Of a call whose answer is neither looked up nor kept."""


@dataclass(frozen=True, slots=True)
class _Led:
    """No layer has it: ask."""

    epoch: int
    turn: Turn


@dataclass(slots=True, kw_only=True)
class AnswerCaches:
    """`further` layers are asked in order when the exact ones have nothing. `clock` is the wall's, in seconds."""

    shared: SharedAnswers
    durable: DurableAnswers
    further: Sequence[CacheLayer] = ()
    voids: Voids
    clock: Callable[[], float]
    monotonic: Monotonic
    _flights: Flights[Kept] = field(default_factory=Flights)

    async def find(self, ask: CacheAsk) -> Kept | Ticket:
        """A kept answer, that of an identical call under way, or leave to ask the provider.

        Raises `ProviderUnavailable` when the call that it waits for takes longer than the request's deadline.
        """
        tenant, wish = ask.tenant_id, ask.wish
        if not wish.look:
            epoch = await self.voids.catch_up(tenant, None)
            return Ticket(caches=self, ask=ask, epoch=epoch if wish.keep else None)
        if not self.voids.is_fresh(tenant):
            await self.voids.catch_up(tenant, None)
        give_up, place, failures = self.monotonic() + ask.request.deadline_s, (tenant, ask.key), 0
        while True:
            flight = self._flights.find(place)
            if flight is None or not wish.keep or self._is_outdated(ask, flight):
                return await self._lead(ask, give_up)
            outcome = await self._landed(flight, give_up)
            if isinstance(outcome, Kept) and self._will_do(ask, outcome, fresh=True):
                return replace(outcome, layer=outcome.layer or CACHE_COALESCED)
            failures += 1
            if outcome is NotShared.ALONE or failures >= MOST_LEADERS:
                return Ticket(caches=self, ask=ask, epoch=self.voids.epoch(tenant))

    def put(self, ask: CacheAsk, kept: Kept, *, flight: str | None) -> None:
        """Keep a provider's answer in every layer; `flight` ends with it."""
        self.shared.keep(ask.tenant_id, ask.key, kept, flight=flight)
        self.durable.put(ask.tenant_id, ask.key, kept)
        for layer in self.further:
            layer.put(ask, kept)

    async def _lead(self, ask: CacheAsk, give_up: float) -> Kept | Ticket:
        """Look on behalf of everyone who asks the same meanwhile."""
        flight = self._flights.start((ask.tenant_id, ask.key)) if ask.wish.keep else None
        try:
            found = await self._look(ask, flight, give_up)
        except BaseException:
            self.shared.end(ask.tenant_id, ask.key, ask.flight, everybodys=False)
            if flight is not None:
                flight.end(NotShared.FAILED)
            raise
        if isinstance(found, Kept):
            if flight is not None:
                flight.end(found)
            return found
        if flight is not None and found.turn is Turn.EVERYBODYS:
            flight.end(NotShared.ALONE)
        epoch = found.epoch if ask.wish.keep else None
        return Ticket(caches=self, ask=ask, epoch=epoch, flight=flight, shared=found.turn is Turn.MINE)

    async def _look(self, ask: CacheAsk, flight: Flight[Kept] | None, give_up: float) -> Kept | _Led:
        """Layer by layer; where another process asks the provider already, wait for it."""
        void: int | None = None
        word = ask.flight if ask.wish.keep else None
        with ExitStack() as watching:
            woken: asyncio.Event | None = None
            while True:
                if woken is not None:
                    woken.clear()
                look = await self.shared.look(ask.tenant_id, ask.key, flight=word, void=void)
                unsaid = look.reached and look.epoch is None
                epoch = await self.voids.catch_up(ask.tenant_id, look.epoch, tell=unsaid)
                if flight is not None:
                    flight.epoch = epoch
                if look.kept is not None and not self.voids.allows(ask.tenant_id, look.kept):
                    void = look.kept.epoch
                    continue
                if look.kept is not None and self._will_do(ask, look.kept):
                    return look.kept if woken is None else replace(look.kept, layer=CACHE_COALESCED)
                if look.turn is not Turn.ANOTHERS:
                    deeper = await self._look_deeper(ask, reached=look.reached) if look.deeper else None
                    deeper = deeper or await self._look_further(ask)
                    return deeper or _Led(self.voids.epoch(ask.tenant_id), look.turn)
                if woken is None:
                    woken = watching.enter_context(self.shared.watch())
                else:
                    await self._wait(woken, give_up)

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
            kept = await layer.get(ask)
            if kept is not None and self._will_do(ask, kept):
                scopes = tuple(dict.fromkeys((*kept.scopes, *ask.scopes)))
                promoted = replace(kept, scopes=scopes, layer="", similarity=None)
                self.shared.keep(ask.tenant_id, ask.key, promoted, flight=ask.flight)
                self.durable.put(ask.tenant_id, ask.key, promoted)
                return kept
        return None

    def _will_do(self, ask: CacheAsk, kept: Kept, *, fresh: bool = False) -> bool:
        """Whether the answer is neither void nor too old for this request; a `fresh` one has not been kept at all."""
        now, most = self.clock(), ask.wish.max_age_s
        lives = fresh or now < kept.expires_at
        return lives and (most is None or now - kept.stored_at <= most) and self.voids.allows(ask.tenant_id, kept)

    def _is_outdated(self, ask: CacheAsk, flight: Flight[Kept]) -> bool:
        """Whether something was declared void since the flight left: its answer is none to an ask of today."""
        return flight.epoch is not None and flight.epoch < self.voids.epoch(ask.tenant_id)

    async def _landed(self, flight: Flight[Kept], give_up: float) -> Kept | NotShared:
        try:
            return await flight.landed(max(give_up - self.monotonic(), 0.0))
        except TimeoutError:
            raise _too_long() from None

    async def _wait(self, woken: asyncio.Event, give_up: float) -> None:
        left_s = give_up - self.monotonic()
        if left_s <= 0:
            raise _too_long()
        try:
            async with asyncio.timeout(min(LOOK_AGAIN_S, left_s)):
                await woken.wait()
        except TimeoutError:
            return  # look whether its process still lives


def _too_long() -> ProviderUnavailable:
    return ProviderUnavailable("An identical call under way did not end within this one's deadline.")
