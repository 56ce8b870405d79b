"""Money around a call: held before it starts, settled after it, in PostgreSQL, exact under concurrency."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.kernel.money import usd_text
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.application.ports import BudgetStore, Encode, Monotonic, Observe, Prices, Refused
from cognitionos.llm_gateway.domain.budget import Exposure, Held, Hold, Period, Spend, exposure
from cognitionos.llm_gateway.domain.chat import ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import BudgetExhausted, PriceUnknown
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.route import Candidate

LONGEST_WAIT_S = 30.0
LOOK_AGAIN_S = 0.25
LONGEST_STREAM_S = 3600.0
"""A stream may go on beyond the deadline of its first piece; its hold must not count as abandoned meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A hold in place. `limit` is the completion limit to send upstream (None: the model's own)."""

    limit: int | None
    lowered: bool
    amount_nanousd: int | None


@dataclass(slots=True, kw_only=True)
class Budgets:
    """Holds and settlements of this process, and the budgets themselves."""

    store: BudgetStore
    prices: Prices
    observe: Observe
    refused: Refused
    encode: Encode
    monotonic: Monotonic
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    async def hold(self, call: Started, request: ChatRequest) -> Granted:
        """Hold the route's dearest bound on every budget of the caller, before anything is sent.

        Where it does not fit: waits for other holds to shrink, then lowers the completion limit, then raises
        `BudgetExhausted`. Raises `PriceUnknown` for an unpriced model under a budget.
        """
        prices = await self._prices(call.caller.tenant_id, call.route.candidates)
        if None in prices:
            return await self._hold_unpriced(call, request)
        wanted = exposure(request, [price for price in prices if price is not None], encode=self.encode)
        held = await self._wait_for_room(call, wanted, deadline_s=request.deadline_s)
        if held.granted:
            return Granted(limit=wanted.limit, lowered=False, amount_nanousd=wanted.amount_nanousd)
        lowered = wanted.lowered_to(held.left_nanousd)
        if lowered is not None and (held := await self._try(call, lowered.amount_nanousd, request.deadline_s)).granted:
            return Granted(limit=lowered.limit, lowered=True, amount_nanousd=lowered.amount_nanousd)
        raise self._exhausted(held, wanted)

    async def hold_amount(self, call: Started, amount_nanousd: int | None, *, deadline_s: float) -> None:
        """Hold exactly `amount_nanousd` (None: price unknown) or raise; no waiting, nothing to lower."""
        held = await self._try(call, amount_nanousd, deadline_s)
        if held.price_missing:
            raise _unpriced(call.route.candidates[0].name, held)
        if not held.granted:
            raise self._exhausted(held, None)

    async def settle(self, call: Call) -> None:
        """Book the call: ledger row, cost and release are one commit. Returns when they are durable.

        Goes on to its end although whoever waits for it is cancelled.
        """
        await asyncio.shield(asyncio.ensure_future(self.store.settle(call)))
        self.observe(call)
        self._freed.set()

    def bill_later(self, call: Call, candidate: Candidate) -> None:
        """Price and book a call whose caller is gone: runs to its end in the background."""
        self._spawn(self.bill(call, candidate))

    async def settled(self) -> None:
        """Wait for everything that goes on in the background."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    async def open(
        self, tenant_id: UUID, subject: str, *, limit_nanousd: int, period: Period, soft: float | None = None
    ) -> UUID:
        """Make the budget of `subject`, or change its limit; a budget of the same period is one and the same."""
        return await self.store.open(tenant_id, subject, limit_nanousd=limit_nanousd, period=period, soft=soft)

    async def spent(self, tenant_id: UUID, subject: str) -> Spend:
        """What `subject` has spent and still holds."""
        return await self.store.spend(tenant_id, subject)

    async def price(self, tenant_id: UUID, candidate: Candidate) -> Price | None:
        """The price that a call to `candidate` is billed at."""
        return await self.prices.price(tenant_id, candidate)

    async def bill(self, call: Call, candidate: Candidate) -> None:
        """Price the call at `candidate` and settle it."""
        price = await self.prices.price(call.caller.tenant_id, candidate)
        cost = price.cost(call.usage) if price else 0
        await self.settle(replace(call, cost_nanousd=cost, priced=price is not None))

    async def _prices(self, tenant_id: UUID, candidates: Sequence[Candidate]) -> list[Price | None]:
        return [await self.prices.price(tenant_id, candidate) for candidate in candidates]

    async def _hold_unpriced(self, call: Started, request: ChatRequest) -> Granted:
        held = await self._try(call, None, request.deadline_s)
        if held.price_missing:
            candidates = call.route.candidates
            prices = await self._prices(call.caller.tenant_id, candidates)
            raise _unpriced(next(each.name for each, price in zip(candidates, prices, strict=True) if not price), held)
        return Granted(limit=request.max_tokens, lowered=False, amount_nanousd=None)

    async def _wait_for_room(self, call: Started, wanted: Exposure, *, deadline_s: float) -> Held:
        amount, give_up = wanted.amount_nanousd, self.monotonic() + min(deadline_s, LONGEST_WAIT_S)
        while True:
            self._freed.clear()
            held = await self._try(call, amount, deadline_s)
            if held.granted or amount > held.room_nanousd or self.monotonic() >= give_up:
                return held
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._freed.wait()
            except TimeoutError:
                continue  # another process may have settled: look again

    async def _try(self, call: Started, amount_nanousd: int | None, deadline_s: float) -> Held:
        row = call.row(outcome="lost", usage=Usage(estimated=True), priced=amount_nanousd is not None)
        lasts_s = max(deadline_s, LONGEST_STREAM_S) if call.streamed else deadline_s
        hold = Hold(row=row, amount_nanousd=amount_nanousd, deadline_s=lasts_s)
        holding = asyncio.ensure_future(self.store.hold(hold))
        try:
            return await asyncio.shield(holding)
        except asyncio.CancelledError:
            self._spawn(self._give_back(holding, call.call_id))
            raise

    async def _give_back(self, holding: "asyncio.Future[Held]", call_id: UUID) -> None:
        if (await holding).granted:
            await self.store.release(call_id)
            self._freed.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _exhausted(self, held: Held, wanted: Exposure | None) -> BudgetExhausted:
        self.refused((held.subject or "").partition(":")[0])
        return _exhausted(held, wanted)


def _exhausted(held: Held, wanted: Exposure | None) -> BudgetExhausted:
    need = f"; the call may cost up to {usd_text(wanted.amount_nanousd)}" if wanted else ""
    return BudgetExhausted(
        f"The budget of {held.subject} has {usd_text(max(held.left_nanousd, 0))} USD left{need}. "
        + _when(held.resets_at),
        subject=held.subject or "",
        resets_at=held.resets_at,
    )


def _when(resets_at: datetime | None) -> str:
    return f"It starts anew at {resets_at.isoformat()}." if resets_at else "It does not start anew: raise its limit."


def _unpriced(model: str, held: Held) -> PriceUnknown:
    return PriceUnknown(
        f"Nobody knows what {model} costs, and {held.subject} has a budget. Set it: PUT /v1/prices/{model}."
    )
