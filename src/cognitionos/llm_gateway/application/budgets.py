"""Money around a call: held before it starts, settled after it, in PostgreSQL, exact under concurrency."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.application.call import Resolve, Started
from cognitionos.llm_gateway.application.granted import Granted
from cognitionos.llm_gateway.application.key_lines import KeyLines, none_earlier
from cognitionos.llm_gateway.application.ports import BudgetStore, Encode, Monotonic, Observe, Prices, Refused
from cognitionos.llm_gateway.application.refusals import exhausted, halted, set_price
from cognitionos.llm_gateway.domain.budget import Exposure, Held, Hold, Period, Spend, Terms, exposure
from cognitionos.llm_gateway.domain.chat import ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import CallUnbounded, HoldLost, PriceUnknown
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

LONGEST_WAIT_S = 30.0
LOOK_AGAIN_S = 0.25
MOST_TOLD = 10_000
LONGEST_END_S = 15.0
"""So long a process that ends waits for its bills; what is not booked then is, by another's sweep, at its bound."""
LONGEST_STREAM_S = 3600.0
"""A stream may go on beyond the deadline of its first piece; its hold must not count as abandoned meanwhile."""


class NotNeeded(Exception):
    """What a hold was waited for is there without it."""


class Aside(Protocol):
    """What becomes of a call while it waits for money."""

    def begins(self) -> None:
        """It has to wait. Said before each wait."""
        ...

    async def is_over(self) -> bool:
        """Whether it needs the money no more. Asked after each wait."""
        ...


@dataclass(slots=True, kw_only=True)
class Budgets:
    """Holds and settlements of this process, and the budgets themselves.

    `resolve` gives the route of a cheaper model, `takes` says whether a candidate can answer a request, `has_place`
    whether a call to it goes out at once.
    """

    store: BudgetStore
    prices: Prices
    resolve: Resolve
    takes: Callable[[Candidate, ChatRequest], bool]
    has_place: Callable[[Candidate], bool]
    observe: Observe
    refused: Refused
    encode: Encode
    monotonic: Monotonic
    now: Clock
    lines: KeyLines = field(default_factory=lambda: KeyLines(none_earlier))
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _background: set[asyncio.Task[object]] = field(default_factory=set)
    _told: set[tuple[UUID, str, datetime | None]] = field(default_factory=set)

    async def hold(self, call: Started, request: ChatRequest, aside: Aside | None = None) -> Granted:
        """Hold the route's dearest bound on every budget of the caller, before anything is sent.

        Where it does not fit: waits for other holds to shrink, then lowers the completion limit, then raises
        `BudgetExhausted`. Raises `BudgetHalted` for a run that is not critical near a budget's end, and under a budget
        `PriceUnknown` for an unpriced model, `CallUnbounded` for a call whose cost has no bound; `NotNeeded` once
        the waiting is over for `aside`.
        """
        call = replace(call, caller=await self.lines.of(call.caller))
        wish = await self._wish(call, request)
        held = await self._try(wish)
        if held.downgrade_to is not None:
            for other in await self._cheaper(wish, held.downgrade_to):
                wish, held = other, await self._try(other)
                if held.granted:
                    break
        return await self._granted(wish, held, aside)

    async def sends(self, granted: Granted) -> None:
        """Say that the call goes to its provider now, where it had to queue; raises `HoldLost` if it may not."""
        if granted.queues and not await self.store.send(granted.call.call_id):
            raise HoldLost("The hold of this call was closed while it queued; try again.", retry_after_s=1)

    async def hold_amount(
        self, call: Started, amount_nanousd: int | None, *, price: Price | None, deadline_s: float
    ) -> Granted:
        """Hold exactly `amount_nanousd` (None: price unknown), once other holds leave room for it, or raise.

        `price` is that of the route's first candidate, which alone is asked.
        """
        call = replace(call, caller=await self.lines.of(call.caller))
        prices = (price, *[None] * (len(call.route.candidates) - 1))
        wish = _Wish(
            call=call, bound=None, amount_nanousd=amount_nanousd, deadline_s=deadline_s, stays=True, prices=prices
        )
        return await self._granted(wish, await self._try(wish))

    async def give_back(self, granted: Granted) -> None:
        """Release a hold whose call will not start. Goes on to its end although whoever waits for it is cancelled."""
        await asyncio.shield(self._spawn(self._release(granted.call.call_id)))

    async def settle(self, call: Call) -> None:
        """Book the call: ledger row, cost and release are one commit. Returns when they are durable.

        Goes on to its end although whoever waits for it is cancelled.
        """
        await self.store.settle(call)
        self.observe(call)
        self._freed.set()

    def turned_away(self, call: Started, error: DomainError) -> DomainError:
        """`error`, of a call that ends before anything is held or sent, with its name; its row is written later."""
        row = call.row(outcome="error", usage=Usage())
        call.failed(error, row)
        self.settle_later(row)
        return error

    def settle_later(self, call: Call) -> None:
        """Book a call whose caller is gone: runs to its end in the background."""
        self._spawn(self.settle(call))

    async def settled(self) -> None:
        """Wait for everything that goes on in the background, for `LONGEST_END_S` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_END_S):
                while self._background:
                    await asyncio.wait(self._background)

    async def open(
        self,
        tenant_id: UUID,
        subject: str,
        *,
        limit_nanousd: int,
        period: Period,
        terms: Terms | None = None,
        given: Collection[str] = (),
    ) -> UUID:
        """Make the budget of `subject`, or change its limit and the `given` terms; one of each period."""
        return await self.store.open(
            tenant_id, subject, limit_nanousd=limit_nanousd, period=period, terms=terms, given=given
        )

    async def spent(self, tenant_id: UUID, subject: str) -> Spend:
        """What `subject` has spent and still holds."""
        return await self.store.spend(tenant_id, subject)

    async def price(self, tenant_id: UUID, candidate: Candidate) -> Price | None:
        """The price that a call to `candidate` is billed at."""
        return await self.prices.price(tenant_id, candidate)

    async def check_cheaper(self, tenant_id: UUID, model: str) -> None:
        """Raise for a model that no route leads to, and `PriceUnknown` for one that nobody knows the price of."""
        candidates = (await self.resolve(tenant_id, model)).candidates
        if None in await self._prices(tenant_id, candidates):
            raise PriceUnknown(
                f"Nobody knows what {model} costs, so it cannot be the cheaper one. {set_price(model)}",
                fields={"downgrade_to": "a model with a known price"},
            )

    async def _prices(self, tenant_id: UUID, candidates: Sequence[Candidate]) -> list[Price | None]:
        return [await self.prices.price(tenant_id, candidate) for candidate in candidates]

    async def _wish(self, call: Started, request: ChatRequest, *, stays: bool = False) -> "_Wish":
        """What the call wants to hold: its dearest bound; None where a price is missing or there is no bound."""
        prices = await self._prices(call.caller.tenant_id, call.route.candidates)
        known = [price for price in prices if price is not None]
        bound, failure = None, None
        if len(known) == len(prices):
            try:
                bound = exposure(request, known, encode=self.encode)
            except CallUnbounded as error:
                failure = error
        return _Wish(
            call=call,
            bound=bound,
            amount_nanousd=None if bound is None else bound.amount_nanousd,
            deadline_s=request.deadline_s,
            stays=stays,
            prices=prices,
            request=request,
            limit=request.max_tokens if bound is None else bound.limit,
            unbounded=failure,
        )

    async def _cheaper(self, wish: "_Wish", model: str) -> "Sequence[_Wish]":
        """What to try to hold, in order: the same call with `model` and, where that does not answer, its own; with
        `model` alone, or with its own alone where `model` cannot take it. Only that where it is not to be had or not
        cheaper."""
        same = replace(wish, stays=True)
        if wish.request is None:
            return (same,)
        try:
            route = await self.resolve(wish.call.caller.tenant_id, model)
        except DomainError as error:
            log.warning("downgrade_failed", model=model, reason=str(error))
            return (same,)
        first = replace(wish.call, cache_key=None)  # its answer is not the one that was asked for
        route = route.instead_of(wish.call.route, falls_back=False)
        other = await self._wish(replace(first, route=route), wish.request, stays=True)
        if other.amount_nanousd is None:
            log.warning("downgrade_failed", model=model, reason="nobody knows what it costs")
            return (same,)
        last = other if any(self.takes(each, wish.request) for each in route.candidates) else same
        if wish.amount_nanousd is None:
            return (last,)
        if other.amount_nanousd >= wish.amount_nanousd:
            return (same,)
        route = route.instead_of(wish.call.route, falls_back=True)
        return await self._wish(replace(first, route=route), wish.request, stays=True), last

    async def _granted(self, wish: "_Wish", held: Held, aside: Aside | None = None) -> Granted:
        if wish.amount_nanousd is not None and not (held.granted or held.halted):
            wish, held = await self._wait_for_room(wish, held, aside)
        if held.granted:
            return wish.granted
        raise await self._refusal(wish, held)

    async def _wait_for_room(self, wish: "_Wish", held: Held, aside: Aside | None) -> "tuple[_Wish, Held]":
        """Ask again as other holds shrink: for all of it, or for as much as there will be. At the end, for what is."""
        give_up = self.monotonic() + min(wish.deadline_s, LONGEST_WAIT_S)
        while (fits := wish.lowered_to(held.room_nanousd)) is not None and self.monotonic() < give_up:
            self._freed.clear()
            held = await self._try(fits)
            if held.granted:
                return fits, held
            if held.halted:
                return wish, held
            if held.room_nanousd < (fits.amount_nanousd or 0):
                continue
            if aside is not None:
                aside.begins()
            with contextlib.suppress(TimeoutError):  # another process may have settled: look again
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._freed.wait()
            if aside is not None and await aside.is_over():
                raise NotNeeded
        fits = wish.lowered_to(held.left_nanousd)
        if fits is None:
            return wish, held
        return fits, await self._try(fits)

    async def _try(self, wish: "_Wish") -> Held:
        call, amount = wish.call, wish.amount_nanousd
        row = call.row(outcome="lost", usage=Usage(estimated=True), priced=amount is not None)
        wish.queues = not self.has_place(call.route.candidates[0])
        hold = wish.hold = Hold(
            row=row,
            amount_nanousd=amount,
            deadline_s=max(wish.deadline_s, LONGEST_STREAM_S) if call.streamed else wish.deadline_s,
            halts=call.caller.run_id is not None and not call.caller.critical,
            downgraded=wish.stays,
            sent=not wish.queues,
        )
        holding = asyncio.ensure_future(self.store.hold(hold))
        try:
            held = await asyncio.shield(holding)
        except BaseException:  # left, or nobody knows whether it is held
            self._spawn(self._give_back(holding, call.call_id))
            raise
        wish.budgeted = held.subject is not None and wish.has_own_limits
        return held

    async def _give_back(self, holding: "asyncio.Future[Held]", call_id: UUID) -> None:
        (held,) = await asyncio.gather(holding, return_exceptions=True)
        if isinstance(held, BaseException) or held.granted:
            await self._release(call_id)

    async def _release(self, call_id: UUID) -> None:
        await self.store.release(call_id)
        self._freed.set()

    def _spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("not_booked_yet", reason=str(error))

    async def _refusal(self, wish: "_Wish", held: Held) -> DomainError:
        if held.price_missing:
            return wish.unbounded or await self._unpriced(wish.call, held)
        self.refused((held.subject or "").partition(":")[0])
        after_s = (held.resets_at - self.now()).total_seconds() if held.resets_at else None
        if held.halted:
            return halted(held, after_s)
        await self._tell(wish.call.caller.tenant_id, held)
        return exhausted(held, wish.amount_nanousd, after_s)

    async def _tell(self, tenant_id: UUID, held: Held) -> None:
        """Have the alert written, by the first refusal of this process in the period."""
        place = (tenant_id, f"{held.period} {held.subject}", held.resets_at)
        if held.subject is None or place in self._told:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        if held.room_nanousd <= 0:  # nothing is left to come back: later refusals say nothing new
            self._told.add(place)
        await self.store.exhausted(tenant_id, held.subject, held.period)

    async def _unpriced(self, call: Started, held: Held) -> PriceUnknown:
        candidates = call.route.candidates
        prices = await self._prices(call.caller.tenant_id, candidates)
        model = next((each.name for each, price in zip(candidates, prices, strict=True) if not price), "")
        return PriceUnknown(f"Nobody knows what {model} costs, and {held.subject} has a budget. {set_price(model)}")


@dataclass(slots=True, kw_only=True)
class _Wish:
    """What one call asks to hold. `stays`: with this model, whatever it costs. `bound` None: nothing can be lowered."""

    call: Started
    bound: Exposure | None
    amount_nanousd: int | None
    deadline_s: float
    stays: bool = False
    prices: Sequence[Price | None] = ()
    request: ChatRequest | None = None
    limit: int | None = None
    lowered: bool = False
    queues: bool = False
    unbounded: CallUnbounded | None = None
    hold: Hold | None = None
    budgeted: bool = False

    @property
    def granted(self) -> Granted:
        bounds = () if self.bound is None else self.bound.bounds
        assumed = self.budgeted and any(bound.is_short for bound in bounds)
        return Granted(
            call=self.call,
            limit=self.limit,
            lowered=self.lowered or assumed,
            assumed=assumed,
            amount_nanousd=self.amount_nanousd,
            prices=self.prices,
            bounds=bounds,
            budgeted=self.budgeted,
            queues=self.queues,
            hold=self.hold,
        )

    @property
    def has_own_limits(self) -> bool:
        """Whether the limits of models are held that nobody has said."""
        bounds = () if self.bound is None or self.limit is not None else self.bound.bounds
        return any(not bound.price.is_free for bound in bounds)

    def lowered_to(self, amount_nanousd: int) -> "_Wish | None":
        """The same for at most `amount_nanousd`; None where too little would be left."""
        if self.amount_nanousd is not None and self.amount_nanousd <= amount_nanousd:
            return self
        bound = None if self.bound is None else self.bound.lowered_to(amount_nanousd)
        if bound is None:
            return None
        return replace(self, bound=bound, amount_nanousd=bound.amount_nanousd, limit=bound.limit, lowered=True)
