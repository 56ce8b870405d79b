"""In-memory twins of the caches' stores: the same promises, kept by one process' memory."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.llm_gateway.application.cache import AnswerCaches
from cognitionos.llm_gateway.application.cache_ports import CacheAsk, CacheLayer, Landed, Look, Told, Turn
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.application.single_flight import By, Flights, NotShared, Over
from cognitionos.llm_gateway.domain.cached import EVERYTHING, Kept, Voided
from cognitionos.llm_gateway.domain.chat import CACHE_DURABLE, CACHE_EXACT

Place = tuple[UUID, str]


@dataclass
class MemorySharedAnswers:
    """`answers` by place; `flights` have their epoch, their name and whether somebody waits. `reached` False: gone."""

    kept_s: float = 300.0
    answers: dict[Place, Kept] = field(default_factory=dict)
    marks: set[Place] = field(default_factory=set)
    flights: dict[Place, tuple[int, str, bool]] = field(default_factory=dict)
    epochs: dict[UUID, tuple[int, bool]] = field(default_factory=dict)
    reached: bool = True
    looks: int = 0
    processes: list[Flights] = field(default_factory=list)
    landed: dict[str, Kept | Landed] = field(default_factory=dict)

    async def look(self, tenant_id: UUID, key: str, *, flight: str | None, void: int | None = None) -> Look:
        await asyncio.sleep(0)
        self.looks += 1
        if not self.reached:
            return Look(reached=False)
        place, (epoch, all_marked) = (tenant_id, key), self.epochs.get(tenant_id, (None, False))
        kept = self.answers.get(place)
        if kept is not None and kept.epoch != void and kept.expires_at > time.time():
            return Look(kept=replace(kept, layer=CACHE_EXACT), epoch=epoch, deeper=True)
        turn = Turn.NOBODY if flight is None else self._turn(place, flight, epoch or 0)
        leader = self.flights[place][1] if turn is Turn.ANOTHERS else ""
        return Look(epoch=epoch, deeper=place in self.marks or not all_marked, turn=turn, leader=leader)

    def keep(self, tenant_id: UUID, key: str, kept: Kept, *, flight: str | None) -> None:
        place = (tenant_id, key)
        if self.reached and kept.epoch >= self.epochs.get(tenant_id, (0, False))[0]:
            until = min(kept.expires_at, time.time() + self.kept_s)
            self.answers[place] = replace(kept, expires_at=until, layer="", similarity=None)
            self.marks.add(place)
        if flight is not None:
            self.end(tenant_id, key, flight, NotShared.FAILED)

    def give(self, tenant_id: UUID, key: str, kept: Kept, *, flight: str) -> None:
        waited_for = self.flights.get((tenant_id, key), (0, "", False))[1:] == (flight, True)
        self.end(tenant_id, key, flight, NotShared.FAILED)
        if waited_for:
            self.landed[flight] = kept

    def end(self, tenant_id: UUID, key: str, flight: str, outcome: NotShared) -> None:
        epoch, name, waited_for = self.flights.get((tenant_id, key), (0, "", False))
        if name != flight:
            return
        del self.flights[tenant_id, key]
        if outcome is NotShared.ALONE:
            self.flights[tenant_id, key] = (epoch, "-", False)
        if waited_for:
            self.landed[name] = Landed.RESIGNED if outcome is NotShared.RESIGNED else Landed.LANDED

    async def tell(self, tenant_id: UUID, epoch: int, *, nothing_deeper: bool) -> None:
        known = self.epochs.get(tenant_id)
        if known is None or known[0] < epoch:
            self.epochs[tenant_id] = (epoch, known[1] if known else nothing_deeper)

    async def stored(self) -> None:
        """Everything is stored at once."""

    def _turn(self, place: Place, flight: str, epoch: int) -> Turn:
        known = self.flights.get(place)
        if known is not None and known[1] == "-":
            return Turn.EVERYBODYS
        if known is None or known[0] != epoch:
            self.flights[place] = (epoch, flight, False)
            return Turn.MINE
        self.flights[place] = (*known[:2], True)
        return Turn.ANOTHERS


@dataclass
class MemoryFarFlights:
    """Hears the flights of every process over the same memory. `processes` are theirs."""

    shared: MemorySharedAnswers
    processes: list[Flights]

    async def follow(self, tenant_id: UUID, key: str, leader: str) -> AsyncGenerator[Told, None]:
        flights = [each for flights in self.processes for each in flights.named({leader})]
        feed = flights[0].join(pieces=True) if flights else None
        try:
            while True:
                if leader in self.shared.landed or self.shared.flights.get((tenant_id, key), (0, ""))[1] != leader:
                    yield self.shared.landed.get(leader, Landed.LANDED)
                for said in feed.at_hand() if feed is not None else ():
                    if isinstance(said, Chunk) and feed is not None:
                        yield By(model=feed.flight.model)
                    if isinstance(said, Chunk | Over):
                        yield said
                    if isinstance(said, Over):
                        return
                await asyncio.sleep(0)
        finally:
            if feed is not None:
                feed.leave()


@dataclass
class MemoryDurableAnswers:
    """Answers by place, and the invalidations of each tenant."""

    kept_s: float = 3600.0
    answers: dict[Place, Kept] = field(default_factory=dict)
    voids: dict[UUID, Voided] = field(default_factory=lambda: defaultdict(Voided))
    names: set[tuple[UUID, str, str]] = field(default_factory=set)
    asked: int = 0

    async def name(self, tenant_id: UUID, key: str, scopes: Collection[str]) -> None:
        self.names |= {(tenant_id, key, scope) for scope in scopes}

    async def get(self, tenant_id: UUID, key: str) -> tuple[Kept | None, int | None]:
        self.asked += 1
        kept = self.answers.get((tenant_id, key))
        alive = kept is not None and kept.expires_at > time.time()
        return replace(kept, layer=CACHE_DURABLE) if kept and alive else None, self.voids[tenant_id].epoch

    def put(self, tenant_id: UUID, key: str, kept: Kept) -> None:
        known = self.answers.get((tenant_id, key))
        if known is None or known.epoch <= kept.epoch:
            until = min(kept.expires_at, time.time() + self.kept_s)
            self.answers[tenant_id, key] = replace(kept, expires_at=until, layer="", similarity=None)

    async def voided(self, tenant_id: UUID) -> tuple[Voided, bool] | None:
        return self.voids[tenant_id], any(tenant == tenant_id for tenant, _ in self.answers)

    async def void(self, tenant_id: UUID, scopes: Sequence[str]) -> tuple[Voided, int]:
        epoch = self.voids[tenant_id].epoch + 1
        named = (key for tenant, key, scope in self.names if tenant == tenant_id and scope in scopes)
        scopes = [*scopes, *(f"key:{key}" for key in named)]
        by_scope = dict(self.voids[tenant_id].by_scope) | dict.fromkeys(scopes, epoch)
        self.voids[tenant_id] = Voided(epoch=epoch, by_scope=by_scope)
        gone = [
            place
            for place, kept in self.answers.items()
            if place[0] == tenant_id and (EVERYTHING in scopes or set(scopes) & set(kept.scopes))
        ]
        for place in gone:
            del self.answers[place]
        return self.voids[tenant_id], len(gone)

    async def stored(self) -> None:
        """Everything is stored at once."""


@dataclass
class MemoryLayer:
    """A further layer that gives `answer` to whoever asks; `put_keys` are the keys of what it was given."""

    answer: Kept | None = None
    put_keys: list[str] = field(default_factory=list)
    calls_lent_to: list[UUID] = field(default_factory=list)
    name: str = "similar"

    async def get(self, ask: CacheAsk) -> Kept | None:
        return None if self.answer is None else replace(self.answer, layer=self.name, similarity=0.97)

    async def lent(self, tenant_id: UUID, call_id: UUID, kept: Kept) -> None:
        self.calls_lent_to.append(call_id)

    def put(self, ask: CacheAsk, kept: Kept) -> None:
        self.put_keys.append(ask.key)


async def _nobody_listens() -> None:
    """There is one process only."""


def some_caches(
    shared: MemorySharedAnswers | None = None,
    durable: MemoryDurableAnswers | None = None,
    *,
    further: Sequence[CacheLayer] = (),
    monotonic: Callable[[], float] = time.monotonic,
) -> AnswerCaches:
    """Caches over memory; two of them over the same stores are two processes."""
    shared, durable = shared or MemorySharedAnswers(), durable or MemoryDurableAnswers()
    voids = Voids(
        shared=shared,
        durable=durable,
        changed=asyncio.Event(),
        announce=_nobody_listens,
        monotonic=monotonic,
        fresh_s=lambda usual: usual,
    )
    flights = Flights()
    shared.processes.append(flights)
    return AnswerCaches(
        shared=shared,
        durable=durable,
        further=further,
        far=MemoryFarFlights(shared, shared.processes),
        voids=voids,
        clock=time.time,
        monotonic=monotonic,
        flights=flights,
    )
