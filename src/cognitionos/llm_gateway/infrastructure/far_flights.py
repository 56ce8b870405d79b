"""How the calls of one process go on, told to those that follow them in others: a Redis stream for each such call.

Nothing is told of a call that nobody in another process follows. Whoever follows says so again every second; whoever
tells says something at least as often, so that either side notices the other's death.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from cognitionos.llm_gateway.application.cache_ports import Landed, Told
from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.application.single_flight import By, Feed, Flight, Flights, NotShared, Over, Said
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.exact_cache import (
    EVENTS,
    FLIGHT_S,
    FOLLOWED,
    GIVEN,
    ExactCache,
    flight_name,
)
from cognitionos.llm_gateway.infrastructure.kept_answers import read_kept
from cognitionos.platform.redis import REDIS_ERRORS
from cognitionos.platform.signals import Signals

_GIVEN = GIVEN.encode()
RESIGNED = NotShared.RESIGNED.value.encode()
SAY_S = 1.0
LOOK_S = 0.5
AGAIN_S = 0.1
LONGEST_S = 120.0
"""So long after the last word of a process that died its words are kept; a living one says something every second."""
_FOLLOWED_BY = "cognitionos:flight_followed:"
_LIFE_MS = int(FLIGHT_S * 1000)


class _Piece(msgspec.Struct, array_like=True):
    data: bytes
    text: str
    finish_reason: str | None
    bare_usage: bool


class _End(msgspec.Struct, array_like=True):
    cost_nanousd: int
    usage_event: bytes
    broken: str | None


class _Saying(msgspec.Struct, array_like=True):
    """What was said since the last time, and by whom. `number` counts from 0, so that nobody misses any."""

    number: int
    pieces: list[_Piece]
    end: _End | None = None
    model: str = ""


_Entries = list[tuple[bytes, dict[bytes, bytes]]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Saying).decode


class FarFlights:
    """Follows the calls of other processes, and tells of this one's `flights`, as `exact` knows them."""

    def __init__(self, redis: Redis, signals: Signals, exact: ExactCache, flights: Flights) -> None:
        self._redis = redis
        self._signals = signals
        self._exact = exact
        self._flights = flights
        self._watching: asyncio.Task[None] | None = None
        self._telling: dict[str, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Look out for followers, on the running loop."""
        self._watching = asyncio.create_task(self._watch(), name="llm_gateway.far_flights")

    async def close(self) -> None:
        """Tell nothing more."""
        tasks = [*self._telling.values(), *([self._watching] if self._watching else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def follow(self, tenant_id: UUID, key: str, leader: str) -> AsyncGenerator[Told, None]:
        """What the call says from its beginning."""
        last, number, heard_at, flight = b"0", 0, time.monotonic(), flight_name(tenant_id, key)
        has_landed = has_ended = False  # in whichever order
        while not (has_landed and has_ended) and time.monotonic() - heard_at < FLIGHT_S:
            look = await self._look(flight, leader, last)
            if look is None:
                await asyncio.sleep(AGAIN_S)
                continue
            is_flying, entries = look
            if entries or (is_flying and number == 0):
                heard_at = time.monotonic()
            elif number == 0:
                has_landed = True
                yield Landed.LANDED
            for entry, fields in entries:
                last = entry
                if b"told" not in fields:
                    has_landed = True
                    yield _landed(fields)
                    continue
                told = _decode(fields[b"told"])
                if told.number > number:
                    return
                if told.number < number:
                    continue  # said again, because nobody knew whether it was heard
                number += 1
                for said in _said(told):
                    yield said
                has_ended = told.end is not None

    async def _look(self, flight: str, leader: str, last: bytes) -> tuple[bool, _Entries] | None:
        """Whether the call is under way, and what was told since; None where Redis does not answer."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(_FOLLOWED_BY + leader, b"", px=_LIFE_MS)
                pipe.get(flight)
                pipe.xread({EVENTS + leader: last}, count=500, block=int(LOOK_S * 1000))
                _, known, found = await pipe.execute()
        except REDIS_ERRORS:
            return None
        return known is not None and leader.encode() in known, _entries(found)

    async def _watch(self) -> None:
        with self._signals.listen(FOLLOWED) as woken:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SAY_S):
                        await woken.wait()
                woken.clear()
                flying = self._exact.flying()
                if flying:
                    with suppress(*REDIS_ERRORS):
                        self._tell_of(flying, await self._redis.mget(list(flying)))

    def _tell_of(self, flying: dict[str, str], found: Iterable[Any]) -> None:
        followed = {
            name: place
            for (place, name), flight in zip(flying.items(), found, strict=True)
            if flight is not None and flight.endswith(b"+") and name.encode() in flight
        }
        for flight in self._flights.named(followed.keys() - self._telling.keys()):
            telling = self._tell(flight, followed[flight.name])
            task = asyncio.create_task(telling, name="llm_gateway.far_flight")
            self._telling[flight.name] = task
            task.add_done_callback(partial(self._told, flight.name))

    def _told(self, name: str, _task: object) -> None:
        self._telling.pop(name, None)

    async def _tell(self, flight: Flight, place: str) -> None:
        """Tell of a call to its end, as long as another process follows it."""
        feed, number = flight.join(pieces=True), 0
        try:
            await self._exact.begin_events(place, flight.name)
            while True:
                said = await _heard(feed)
                if said and not isinstance(said[-1], Chunk | Over):
                    return  # it landed without a word, which is told by whoever lands it
                pieces = [_piece(each) for each in said if isinstance(each, Chunk)]
                told = _Saying(number, pieces, _end(said), flight.model)
                number += feed.begun
                is_followed = await self._put(flight.name, _encode(told) if feed.begun else None)
                if told.end is not None or not (is_followed or said):
                    return
        except REDIS_ERRORS:
            metrics.CACHE_ERRORS.inc()
        finally:
            feed.leave()

    async def _put(self, name: str, told: bytes | None) -> bool:
        """Tell it, and say whether anybody follows. Again where Redis does not answer at once."""
        give_up = time.monotonic() + FLIGHT_S
        while True:
            try:
                async with self._redis.pipeline(transaction=False) as pipe:
                    pipe.exists(_FOLLOWED_BY + name)
                    if told is not None:
                        pipe.xadd(EVENTS + name, {b"told": told})
                        pipe.pexpire(EVENTS + name, int(LONGEST_S * 1000))
                    return bool((await pipe.execute())[0])
            except REDIS_ERRORS:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(AGAIN_S)


async def _heard(feed: Feed) -> list[Said]:
    """All that was said since, nothing where nothing was for a while."""
    try:
        async with asyncio.timeout(SAY_S):
            first = await feed.hear()
    except TimeoutError:
        return []
    return [first, *feed.at_hand()]


def _piece(chunk: Chunk) -> _Piece:
    return _Piece(chunk.data, chunk.text, chunk.finish_reason, chunk.bare_usage)


def _end(said: Sequence[Said]) -> _End | None:
    over = said[-1] if said else None
    return _End(over.cost_nanousd, over.usage_event, over.broken) if isinstance(over, Over) else None


def _landed(fields: dict[bytes, bytes]) -> Kept | Landed:
    """How the call landed: with an answer that is kept nowhere, or else."""
    given = read_kept(fields[_GIVEN], layer="") if _GIVEN in fields else None
    return given or (Landed.RESIGNED if fields.get(b"landed") == RESIGNED else Landed.LANDED)


def _said(told: _Saying) -> Iterable[By | Chunk | Over]:
    if told.model and told.number == 0:
        yield By(model=told.model)
    for piece in told.pieces:
        yield Chunk(data=piece.data, text=piece.text, finish_reason=piece.finish_reason, bare_usage=piece.bare_usage)
    if told.end is not None:
        end = told.end
        yield Over(cost_nanousd=end.cost_nanousd, usage_event=end.usage_event, broken=end.broken)


def _entries(found: Any) -> _Entries:
    """The entries of the one stream that was read."""
    if not found:
        return []
    streams = found.values() if isinstance(found, dict) else (entries for _, entries in found)
    return [entry for entries in streams for entry in entries]
