"""Whole answers in Redis, by tenant and fingerprint, and whose turn it is to ask the provider.

Per answer there are up to three keys: the answer; a mark that PostgreSQL has it too, which lives as long as it does
there; and the flight of whoever asks the provider for it. Per tenant there is one with the number of its invalidations
and since when every answer has a mark, so that a plain call asks PostgreSQL for an answer only where one may be.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.cache_ports import Look, Turn
from cognitionos.llm_gateway.application.single_flight import NotShared
from cognitionos.llm_gateway.domain.cached import LONGEST_KEPT_S, Kept
from cognitionos.llm_gateway.domain.chat import CACHE_EXACT
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.batching import GroupCommit
from cognitionos.llm_gateway.infrastructure.kept_answers import prefix_of, read_kept, write_kept
from cognitionos.platform.redis import REDIS_ERRORS
from cognitionos.platform.redis_scripts import RedisScripts, Script, Word
from cognitionos.platform.signals import CHANNEL_PREFIX

KEPT_S = 300.0
REST_S = 1.0
LARGEST_BYTES = 1_000_000
FLIGHT_S = 3.0
"""So long after its process died a call is waited for no more."""
RENEW_S = 1.0
FOLLOWED = "llm_followed"
"""The signal that another process waits for a call."""
_ANSWER, _MARK, _FLIGHT, _VOIDS = (f"cognitionos:{each}:" for each in ("answer", "answer_mark", "flight", "voids"))
_ANSWER_B, _MARK_B, _FLIGHT_B, _VOIDS_B = (each.encode() for each in (_ANSWER, _MARK, _FLIGHT, _VOIDS))
_NOTHING = Look(deeper=True, reached=False)
_GONE = b""
GIVEN = "given"
"""How a flight ended whose answer is kept nowhere; and the field that has it, in the stream of what the call says."""
EVENTS = "cognitionos:flight_events:"
"""What the name of the stream begins with that says how a call goes on; its end is the call's name."""

# KEYS: answer, mark, flight, voids per look. ARGV: how long a flight lives, the channel for whoever is waited for; per
# look the flight, the void beginning.
# A flight is `EPOCH:NAME`, with a `+` at its end when another process waits for it; `-`: not to be waited for. Of those
# that others wait for there is a stream of what they say (`far_flights.py`), woken here when they land.
_LOOK = Script("""
local out = {}
for i = 1, #KEYS / 4 do
  local k, name, void = i * 4 - 3, ARGV[i * 2 + 1], ARGV[i * 2 + 2]
  local answer, voids = redis.call('GET', KEYS[k]), redis.call('GET', KEYS[k + 3])
  if answer and void ~= '' and string.sub(answer, 1, #void) == void then answer = false end
  local turn, mark, leader = 0, 0, ''
  if not answer then
    mark = redis.call('EXISTS', KEYS[k + 1])
    local epoch = voids and string.match(voids, '^%d+') or '0'
    local flight = name ~= '' and redis.call('GET', KEYS[k + 2])
    if name == '' then turn = 0
    elseif flight == '-' then turn = 3
    elseif flight and string.sub(flight, 1, #epoch + 1) == epoch .. ':' then
      turn, leader = 2, string.match(flight, '^%d+:([^+]+)')
      if string.sub(flight, -1) ~= '+' then redis.call('SET', KEYS[k + 2], flight .. '+', 'KEEPTTL') end
      redis.call('PUBLISH', ARGV[2], '')
    else
      turn = 1
      redis.call('SET', KEYS[k + 2], epoch .. ':' .. name, 'PX', ARGV[1])
    end
  end
  out[i] = {answer, voids, mark, turn, leader}
end
return out
""")
# KEYS: answer, mark, flight, voids per landing. ARGV: what the names of streams begin with, how long answers are
# everybody's to ask for; per landing the flight's name, answer, its life, the mark's life, epoch, how it ended without
# being kept (an answer that is `given` is for those only who wait for it elsewhere).
_LAND = Script("""
for i = 1, #KEYS / 4 do
  local k, a = i * 4 - 3, i * 6 - 3
  local voids = redis.call('GET', KEYS[k + 3])
  local current = voids and tonumber(string.match(voids, '^%d+')) or 0
  if ARGV[a + 1] ~= '' and tonumber(ARGV[a + 4]) >= current then
    if ARGV[a + 2] ~= '0' then redis.call('SET', KEYS[k], ARGV[a + 1], 'PX', ARGV[a + 2]) end
    if ARGV[a + 3] ~= '0' then redis.call('SET', KEYS[k + 1], '1', 'PX', ARGV[a + 3]) end
  end
  local flight = ARGV[a] ~= '' and redis.call('GET', KEYS[k + 2])
  if flight and string.match(flight, '^%d+:([^+]+)') == ARGV[a] then
    if ARGV[a + 5] == 'alone' then redis.call('SET', KEYS[k + 2], '-', 'PX', ARGV[2])
    else redis.call('DEL', KEYS[k + 2]) end
    if string.sub(flight, -1) == '+' then
      if ARGV[a + 5] == 'given' then redis.call('XADD', ARGV[1] .. ARGV[a], '*', 'given', ARGV[a + 1])
      else redis.call('XADD', ARGV[1] .. ARGV[a], '*', 'landed', ARGV[a + 5]) end
      redis.call('PEXPIRE', ARGV[1] .. ARGV[a], ARGV[2])
    end
  end
end
""")
# KEYS: flights. ARGV: how long they live, their names.
_RENEW = Script("""
for i = 1, #KEYS do
  local flight = redis.call('GET', KEYS[i])
  if flight and string.match(flight, '^%d+:([^+]+)') == ARGV[i + 1] then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end
""")
_FORGET = Script("for _, key in ipairs(KEYS) do redis.call('DEL', key) end")
# KEYS: flight, the stream of what it says. ARGV: its name.
_BEGIN = Script("""
local flight = redis.call('GET', KEYS[1])
if flight and string.match(flight, '^%d+:([^+]+)') == ARGV[1] then redis.call('DEL', KEYS[2]) end
""")
# KEYS: voids. ARGV: epoch, since when every answer has a mark, life.
_TELL = Script("""
local known = redis.call('GET', KEYS[1])
local epoch, since = tonumber(ARGV[1]), ARGV[2]
if known then
  if tonumber(string.match(known, '^%d+')) >= epoch then epoch = nil else since = string.match(known, ':(.*)$') end
end
if epoch then redis.call('SET', KEYS[1], ARGV[1] .. ':' .. since, 'PX', ARGV[3])
else redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
""")


@value
class _Landing:
    """One answer to keep, or none; `flight` empty: no flight ends with it."""

    tenant_id: UUID
    key: str
    flight: str = ""
    answer: bytes = b""
    life_ms: int = 0
    mark_ms: int = 0
    epoch: int = 0
    outcome: str = NotShared.FAILED.value


@dataclass(frozen=True, slots=True)
class _Asked:
    tenant_id: UUID
    key: str
    flight: str
    void: int | None


class ExactCache:
    """Forgets at will and never raises. Stores in the background, so that no answer waits for it.

    Look-ups that come together share a round trip, and so do stores: each costs more CPU than the rest of a hit.
    `kept_s` is how long answers live here (0: they do not), `durable_s` how long they live in PostgreSQL.
    """

    def __init__(self, scripts: RedisScripts, *, kept_s: float = KEPT_S, durable_s: float = 0.0) -> None:
        self._kept_s = kept_s
        self._durable_s = durable_s
        self._rest_until = 0.0
        self._scripts = scripts
        self._lookups: GroupCommit[_Asked, Look] = GroupCommit(self._look)
        self._landings: GroupCommit[_Landing, None] = GroupCommit(self._land)
        self._flying: dict[tuple[UUID, str], str] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._unmarked: set[UUID] = set()

    async def close(self) -> None:
        """Store what is left to store."""
        await self.stored()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    async def look(self, tenant_id: UUID, key: str, *, flight: str | None, void: int | None = None) -> Look:
        """The answer, else whose turn it is."""
        if time.monotonic() < self._rest_until:
            return _NOTHING
        look = await self._lookups.submit(_Asked(tenant_id, key, flight or "", void))
        if look.turn is Turn.MINE and flight:
            self._fly(tenant_id, key, flight)
        return look

    def keep(self, tenant_id: UUID, key: str, kept: Kept, *, flight: str | None) -> None:
        """Keep an answer in the background, a very large one not, and end the flight."""
        now = time.time()
        left_s = max(kept.expires_at - now, 0.0)
        life_s, mark_s = min(self._kept_s, left_s), min(self._durable_s, left_s)
        answer = write_kept(kept, expires_at=now + life_s)
        if len(answer) > LARGEST_BYTES:
            answer = _GONE
        landing = _Landing(
            tenant_id=tenant_id,
            key=key,
            flight=flight or "",
            answer=answer,
            life_ms=int(life_s * 1000),
            mark_ms=int(mark_s * 1000),
            epoch=kept.epoch,
        )
        self._submit(landing)

    def give(self, tenant_id: UUID, key: str, kept: Kept, *, flight: str) -> None:
        """End the flight with an answer for those who wait elsewhere; of a very large one they only hear the end."""
        answer = write_kept(kept, expires_at=kept.expires_at)
        if len(answer) > LARGEST_BYTES:
            self.end(tenant_id, key, flight, NotShared.FAILED)
        else:
            self._submit(_Landing(tenant_id=tenant_id, key=key, flight=flight, answer=answer, outcome=GIVEN))

    def end(self, tenant_id: UUID, key: str, flight: str, outcome: NotShared) -> None:
        """End a flight without an answer."""
        self._submit(_Landing(tenant_id=tenant_id, key=key, flight=flight, outcome=outcome.value))

    async def begin_events(self, flight: str, name: str) -> None:
        """Forget what was told before of a flight (by its name here) that has not landed. Raises `RedisError`."""
        await self._scripts.run(_BEGIN, keys=[flight, EVENTS + name], args=[name])

    async def tell(self, tenant_id: UUID, epoch: int, *, nothing_deeper: bool) -> None:
        """Say how many invalidations there were; a tenant of whom nothing is kept has a mark for all of it."""
        since = 0.0 if nothing_deeper else time.time()
        try:
            args: list[Word] = [epoch, f"{since:.0f}", int(2 * LONGEST_KEPT_S * 1000)]
            await self._scripts.run(_TELL, keys=[_voids(tenant_id)], args=args)
        except REDIS_ERRORS:
            self._rest()

    def flying(self) -> dict[str, str]:
        """The calls that this process makes: by the names of their flights the names of the calls."""
        return {flight_name(*place): name for place, name in self._flying.items()}

    async def stored(self) -> None:
        """Wait until everything put so far is stored or given up."""
        await self._landings.drain()

    async def _look(self, asked: list[_Asked]) -> list[Look]:
        args: list[Word] = [int(FLIGHT_S * 1000), CHANNEL_PREFIX + FOLLOWED]
        for each in asked:
            args += (each.flight.encode(), b"" if each.void is None else prefix_of(each.void))
        try:
            if self._unmarked:
                await self._forget_marks()
            found = await self._scripts.run(_LOOK, keys=_keys(asked), args=args)
        except REDIS_ERRORS:
            self._rest()
            return [_NOTHING] * len(asked)
        return [self._seen(*each) for each in found]

    def _seen(self, answer: bytes | None, voids: bytes | None, marked: int, turn: int, leader: bytes) -> Look:
        kept = read_kept(answer, layer=CACHE_EXACT) if answer else None
        epoch, since = (None, 0.0) if voids is None else _parsed(voids)
        unsure = epoch is None or time.time() < since + self._durable_s
        return Look(kept=kept, epoch=epoch, deeper=bool(marked) or unsure, turn=Turn(turn), leader=leader.decode())

    async def _land(self, landings: list[_Landing]) -> list[None]:
        args: list[Word] = [EVENTS, int(FLIGHT_S * 1000)]
        for each in landings:
            args += (each.flight, each.answer, each.life_ms, each.mark_ms, each.epoch, each.outcome)
        try:
            await self._scripts.run(_LAND, keys=_keys(landings), args=args)
        except REDIS_ERRORS:
            self._unmarked |= {each.tenant_id for each in landings if each.mark_ms}
            self._rest()
        return [None] * len(landings)

    def _submit(self, landing: _Landing) -> None:
        place = (landing.tenant_id, landing.key)
        if self._flying.get(place) == landing.flight:
            del self._flying[place]
        if time.monotonic() >= self._rest_until:
            self._landings.submit(landing)
        elif landing.mark_ms:
            self._unmarked.add(landing.tenant_id)

    def _fly(self, tenant_id: UUID, key: str, flight: str) -> None:
        self._flying[tenant_id, key] = flight
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(), name="llm_gateway.flights")

    async def _renew(self) -> None:
        """Keep the flights of this process alive while there are any."""
        while True:
            await asyncio.sleep(RENEW_S)
            flying = dict(self._flying)
            if not flying:
                return
            keys = [flight_name(*place) for place in flying]
            try:
                await self._scripts.run(_RENEW, keys=keys, args=[int(FLIGHT_S * 1000), *flying.values()])
            except REDIS_ERRORS:
                self._rest()

    async def _forget_marks(self) -> None:
        """Answers went to PostgreSQL without a mark while Redis was away: nobody may rely on marks from before."""
        tenants, self._unmarked = self._unmarked, set()
        try:
            await self._scripts.run(_FORGET, keys=[_voids(each) for each in tenants], args=[])
        except REDIS_ERRORS:
            self._unmarked |= tenants
            raise

    def _rest(self) -> None:
        """Leave a Redis that fails alone for a while, so that a hanging one does not slow every call."""
        metrics.CACHE_ERRORS.inc()
        self._rest_until = time.monotonic() + REST_S


def _keys(asked: Sequence[_Asked | _Landing]) -> list[bytes]:
    """As bytes: the client encodes text one by one, and there are many."""
    keys: list[bytes] = []
    for each in asked:
        tenant = str(each.tenant_id).encode()
        name = b"%b:%b" % (tenant, each.key.encode())
        keys += (_ANSWER_B + name, _MARK_B + name, _FLIGHT_B + name, _VOIDS_B + tenant)
    return keys


def flight_name(tenant_id: UUID, key: str) -> str:
    """The name under which Redis has the flight of a key."""
    return f"{_FLIGHT}{tenant_id}:{key}"


def _voids(tenant_id: UUID) -> str:
    return f"{_VOIDS}{tenant_id}"


def _parsed(voids: bytes) -> tuple[int, float]:
    epoch, _, since = voids.partition(b":")
    return int(epoch), float(since)


def answers_of(tenant_id: UUID) -> str:
    """What the names of all answers of a tenant begin with."""
    return f"{_ANSWER}{tenant_id}:"
