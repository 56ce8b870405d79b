"""Texts of many callers in one upstream call: those that wait at the same time for the same tenant, model and key.

A caller that comes alone goes at once. While a call is under way, others gather for at most `WINDOW_S`, or until a call
ends; while `MOST_AT_ONCE` are, until one ends. What a call used and cost is split over its callers by the bytes of
their texts, exactly: the parts add up. Where longer prompts cost more, no call grows beyond the rate
that its callers' texts were held at. A call that is refused is made again in halves, so that one bad text fails nobody
but the caller that sent it. So is one over which the server itself fails (500 and above, but not 503 and 529,
which say that it is busy), once its tries are used up and the server has shown by one of two callers' texts alone that
it lives: one that is down is asked twice more and no oftener.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.application.attempts import Attempted, Attempts
from cognitionos.llm_gateway.application.ports import Provider, Vectors
from cognitionos.llm_gateway.domain.budget import Bound, can_be
from cognitionos.llm_gateway.domain.chat import Text, Usage
from cognitionos.llm_gateway.domain.errors import (
    AnswerLost,
    OfACall,
    ProviderFailure,
    ProviderUnavailable,
    RequestRefused,
)
from cognitionos.llm_gateway.domain.price import FREE, Price
from cognitionos.llm_gateway.domain.route import Candidate, Route
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

WINDOW_S = 0.01
MOST_AT_ONCE = 4
MOST_TEXTS = 2048
MOST_BYTES = 250_000
"""OpenAI takes 2,048 texts and 300,000 tokens at once; a token is at least one byte."""
DEADLINE_S = 120.0
MOST_PROBES = 2
MOST_SEARCHED = 40
"""So many calls a search for bad texts makes at most: three bad ones among thousands are found."""
_BUSY = frozenset({"status-503", "status-529"})
_Key = tuple[UUID, str, str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one caller gets of a call: its vectors, its part of the use and the cost (None: price unknown)."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
    cost_nanousd: int | None
    done: Attempted[Vectors]


@dataclass(slots=True, kw_only=True)
class Wish:
    """One caller's texts, waiting. `most` is the most tokens they can have; `attempts`: how often they were sent,
    `left`: how often nothing came of that which its provider will bill.

    `price` is what the model cost when the call was held; in a call of more than `until` tokens each costs more than
    was held (None: in none).
    """

    tenant_id: UUID
    route: Route
    texts: Sequence[Text]
    extra: Mapping[str, Any]
    most: int
    price: Price | None
    until: int | None
    share: "asyncio.Future[Share]"
    attempts: int = 0
    left: int = 0

    @property
    def key(self) -> "_Key":
        """What wishes of one call have in common."""
        extra = json.dumps(self.extra, sort_keys=True, default=str) if self.extra else ""
        return (
            self.tenant_id,
            self.route.candidates[0].deployment,
            extra,
            all(isinstance(text, str) for text in self.texts),
        )


class _Unfit(Exception):
    """The answer is not what was asked for, whoever's texts were in the call."""

    def __init__(self, refusal: RequestRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class _Broke(Exception):
    """The server failed over the texts of several callers: perhaps over those of one."""

    def __init__(self, failure: ProviderUnavailable) -> None:
        super().__init__(str(failure))
        self.failure = failure


@dataclass(slots=True)
class _Search:
    """For the texts that a server fails over. `lives`: it has answered since; `left`: so many calls may be made."""

    failure: ProviderUnavailable
    lives: bool = False
    left: int = MOST_SEARCHED


@dataclass(slots=True)
class _Queue:
    waiting: list[Wish] = field(default_factory=list)
    running: int = 0
    timer: asyncio.Handle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingBatches:
    """The queues of this process, one for each tenant, model, key and setting."""

    attempts: Attempts
    _queues: dict[_Key, _Queue] = field(default_factory=dict)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def embed(self, wish: Wish) -> Share:
        """The wish's share of the next call. Raises what the attempt raises."""
        queue = self._queues.setdefault(wish.key, _Queue())
        queue.waiting.append(wish)
        if queue.timer is None and queue.running < MOST_AT_ONCE:
            loop = asyncio.get_running_loop()
            go = partial(self._go, wish.key, queue)
            queue.timer = loop.call_later(WINDOW_S, go) if queue.running else loop.call_soon(go)
        return await wish.share

    def _go(self, key: _Key, queue: _Queue) -> None:
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        while queue.waiting and queue.running < MOST_AT_ONCE:
            batch, queue.waiting = _first(queue.waiting)
            queue.running += 1
            task = asyncio.get_running_loop().create_task(self._run(key, queue, batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, key: _Key, queue: _Queue, batch: list[Wish]) -> None:
        try:
            await self._answer([wish for wish in batch if not wish.share.done()])
        finally:
            queue.running -= 1
            if queue.waiting:
                self._go(key, queue)
            elif not queue.running and queue.timer is None:
                self._queues.pop(key, None)

    async def _answer(self, wishes: list[Wish], search: _Search | None = None) -> None:
        if not wishes:
            return
        try:
            shares = await self._ask(wishes, search)
        except _Unfit as unfit:
            _fail(wishes, unfit.refusal)
        except RequestRefused as refusal:
            if len(wishes) == 1:
                _fail(wishes, refusal)
                return
            await asyncio.gather(*(self._answer(half, search) for half in _halves(wishes)))
        except _Broke as broke:
            await (self._search(wishes, _Search(broke.failure)) if search is None else self._in_turn(wishes, search))
        except BaseException as error:
            _fail(wishes, error)
            if not isinstance(error, Exception):
                raise
        else:
            for wish, share in zip(wishes, shares, strict=True):
                if not wish.share.done():
                    wish.share.set_result(share)

    async def _search(self, wishes: list[Wish], search: _Search) -> None:
        """Answer all but those whose texts the server fails over; nobody where it answers none of the first."""
        asked = 0
        while asked < min(MOST_PROBES, len(wishes)) and not search.lives:
            await self._answer([wishes[asked]], search)
            asked += 1
        rest = wishes[asked:]
        if not search.lives:
            _fail(rest, search.failure)
        elif asked == 1:  # a good one: it is one of the others
            await self._in_turn(rest, search)
        else:
            await self._answer(rest, search)

    async def _in_turn(self, wishes: list[Wish], search: _Search) -> None:
        for half in _halves(wishes):
            await self._answer(half, search)

    async def _made(self, wishes: Sequence[Wish], search: _Search | None) -> Attempted[Vectors]:
        """The vectors of all of them. Raises `_Broke` where it may be that one of several spoils it for the others."""
        texts = [text for wish in wishes for text in wish.texts]
        first, why = wishes[0], ""

        async def ask(provider: Provider, candidate: Candidate) -> Vectors:
            nonlocal why
            for wish in wishes:
                wish.attempts += 1
            try:
                return await provider.embed(texts, model=candidate.model, extra=first.extra)
            except (asyncio.CancelledError, AnswerLost):
                for wish in wishes:
                    wish.left += 1
                raise
            except ProviderFailure as failure:
                why = failure.why
                if search is not None and search.lives:
                    failure.broken = False  # over these texts: it answers others
                raise

        if search is not None:
            if not search.left:
                raise search.failure
            search.left -= 1
        try:
            rounds = None if search is None else 1
            done = await self.attempts.run(first.route, ask, deadline_s=DEADLINE_S, rounds=rounds)
        except ProviderUnavailable as failure:
            if len(wishes) > 1 and why.startswith("status-5") and why not in _BUSY:
                raise _Broke(failure) from failure
            raise
        if search is not None:
            search.lives = True
        return done

    async def _ask(self, wishes: Sequence[Wish], search: _Search | None) -> list[Share]:
        done, first = await self._made(wishes, search), wishes[0]
        _check_size(done.value, wishes, model=done.candidate.model)
        most = [wish.most for wish in wishes]
        told = done.value.usage
        if told is not None and not can_be(
            told, Bound(price=first.price or FREE, prompt=sum(most), completion=0, limit=None)
        ):
            log.warning("usage_not_believed", model=done.candidate.name, prompt_tokens=told.prompt)
            told = None
        usages = _usages(told, most)
        costs = _costs(told, usages, wishes)
        bounds = pairwise(accumulate((len(wish.texts) for wish in wishes), initial=0))
        return [
            Share(vectors=done.value.vectors[start:end], usage=usage, cost_nanousd=cost, done=done)
            for (start, end), usage, cost in zip(bounds, usages, costs, strict=True)
        ]


def _halves(wishes: list[Wish]) -> tuple[list[Wish], list[Wish]]:
    half = len(wishes) // 2
    return wishes[:half], wishes[half:]


def _check_size(made: Vectors, wishes: Sequence[Wish], *, model: str) -> None:
    """Raise for vectors of another size than all these wishes ask for: they were made, and so are billed."""
    wanted, size = wishes[0].extra.get("dimensions"), len(made.vectors[0]) if made.vectors else None
    if wanted is None or size in (None, wanted):
        return
    for wish in wishes:
        wish.left += 1
    wrong = f"{model} makes vectors of {size} numbers, not of {wanted}; leave out 'dimensions'"
    raise _Unfit(RequestRefused(wrong, fields={"dimensions": wrong}))


def split(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts in proportion to `weights`, which add up to it; none is more than one from its due."""
    whole = sum(weights)
    marks = [total * sofar // whole if whole else 0 for sofar in accumulate(weights, initial=0)]
    parts = [after - before for before, after in pairwise(marks)]
    parts[-1] += total - sum(parts)
    return parts


def estimate(most: int) -> Usage:
    """About how many tokens texts have that can have `most`, where nobody counted them."""
    return Usage(prompt=max(most // 4, 1), estimated=True)


def _usages(told: Usage | None, most: Sequence[int]) -> list[Usage]:
    if told is None:
        return [estimate(each) for each in most]
    if len(most) == 1:
        return [told]
    return [replace(told, prompt=part, audio_input=0, image_input=0) for part in split(told.prompt, most)]


def _costs(told: Usage | None, usages: Sequence[Usage], wishes: Sequence[Wish]) -> list[int | None]:
    """What each wish costs, at the price that it was held at."""
    if told is None:
        return [None if wish.price is None else wish.price.cost(use) for wish, use in zip(wishes, usages, strict=True)]
    most, costs, price, parts = [wish.most for wish in wishes], [], None, []
    for place, wish in enumerate(wishes):
        if wish.price is not None and (price is None or wish.price != price):
            price = wish.price
            parts = split(price.cost(told), most)
        costs.append(None if wish.price is None else parts[place])
    return costs


def _first(waiting: Sequence[Wish]) -> tuple[list[Wish], list[Wish]]:
    """The first wish with as many of the others as one call takes at the rates that all were held at, and the rest."""
    batch, rest = [waiting[0]], list[Wish]()
    texts, size, until = len(waiting[0].texts), waiting[0].most, waiting[0].until
    for place, wish in enumerate(waiting[1:], start=1):
        if texts + len(wish.texts) > MOST_TEXTS or size + wish.most > MOST_BYTES:
            return batch, [*rest, *waiting[place:]]
        lowest = min((each for each in (until, wish.until) if each is not None), default=None)
        if lowest is not None and size + wish.most > lowest:
            rest.append(wish)
            continue
        batch.append(wish)
        texts, size, until = texts + len(wish.texts), size + wish.most, lowest
    return batch, rest


def _fail(wishes: Sequence[Wish], error: BaseException) -> None:
    for wish in wishes:
        if wish.share.done():
            continue
        if isinstance(error, Exception):
            wish.share.set_exception(copy(error) if isinstance(error, OfACall) else error)  # each names its own
        else:
            wish.share.cancel()
