"""The steps around a hold: cheaper, halted, waiting, lowered, queued, refused."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from tests.builders_llm_gateway import a_caller, a_request
from tests.fakes.llm_gateway_stores import MemoryBudgetStore, MemoryPrices

from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.domain.budget import Held, Hold, Period, Terms
from cognitionos.llm_gateway.domain.chat import Caller, Usage
from cognitionos.llm_gateway.domain.errors import (
    BudgetExhausted,
    BudgetHalted,
    HoldLost,
    ModelNotFound,
    PriceUnknown,
)
from cognitionos.llm_gateway.domain.price import Price, price_per_million
from cognitionos.llm_gateway.domain.route import Candidate, Route
from cognitionos.llm_gateway.infrastructure.openai_schema import encode

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CALLER = a_caller(user="anna", run_id=new_id())
DEAR, CHEAP = (Candidate(provider="p", model=name) for name in ("dear", "cheap"))
REQUEST = a_request(max_tokens=100)


def _price(output_usd: int) -> Price:
    return price_per_million(input_usd=Decimal(0), output_usd=Decimal(output_usd))


@dataclass
class Desk:
    """Budgets over the twin of their store."""

    store: MemoryBudgetStore = field(default_factory=MemoryBudgetStore)
    prices: dict[str, Price] = field(default_factory=lambda: {"p/dear": _price(2), "p/cheap": _price(1)})
    refused: list[str] = field(default_factory=list)
    places: bool = True
    unfit: tuple[str, ...] = ()
    clock: float = 0.0

    def __post_init__(self) -> None:
        self.budgets = Budgets(
            store=self.store,
            prices=MemoryPrices(self.prices),
            resolve=self._resolve,
            takes=lambda candidate, _: candidate.model not in self.unfit,
            has_place=lambda _: self.places,
            observe=lambda _: None,
            refused=self.refused.append,
            encode=encode,
            monotonic=lambda: self.clock,
            now=lambda: NOON,
        )

    async def _resolve(self, _tenant_id: UUID, asked: str | None) -> Route:
        if asked == "gone":
            raise ModelNotFound("gone")
        return Route(asked=asked or "", candidates=(Candidate(provider="p", model=asked or ""),), reason="named")

    def call(self, caller: Caller = CALLER, *, candidate: Candidate = DEAR) -> Started:
        route = Route(asked="what I asked", candidates=(candidate,), reason="named")
        return Started(
            call_id=new_id(), caller=caller, route=route, started=0.0, cache_key="key", monotonic=lambda: self.clock
        )

    async def open(self, limit_nanousd: int, terms: Terms | None = None, *, spent: int = 0) -> None:
        await self.store.open(
            CALLER.tenant_id, "user:anna", limit_nanousd=limit_nanousd, period=Period.TOTAL, terms=terms
        )
        self.store.budgets[CALLER.tenant_id]["user:anna", Period.TOTAL].spent = spent

    async def settle(self, call: Started, cost_nanousd: int) -> None:
        await self.budgets.settle(call.row(outcome="ok", usage=Usage(), cost_nanousd=cost_nanousd))


async def test_past_the_soft_share_a_call_goes_on_by_the_cheaper_models_route() -> None:
    desk = Desk()
    await desk.open(10**6, Terms(downgrade_to="cheap", halt=None), spent=8 * 10**5)

    granted = await desk.budgets.hold(desk.call(), REQUEST)

    assert (granted.call.downgraded_by(CHEAP), granted.call.downgraded_by(DEAR)) == (True, False)
    assert granted.call.route == Route(asked="what I asked", candidates=(CHEAP, DEAR), reason="budget", stand_ins=1)
    assert (granted.call.cache_key, granted.amount_nanousd) == (None, 200_000)  # the one that was asked may answer yet


async def test_where_only_the_cheaper_model_fits_it_alone_is_asked() -> None:
    desk = Desk()
    await desk.open(10**6, Terms(downgrade_to="cheap", halt=None), spent=85 * 10**4)

    granted = await desk.budgets.hold(desk.call(), REQUEST)

    assert (granted.call.route.candidates, granted.amount_nanousd) == ((CHEAP,), 100_000)


@pytest.mark.parametrize(("spent", "limit"), [(85 * 10**4, 75), (96 * 10**4, 20), (99 * 10**4, None)])
async def test_a_cheaper_model_that_cannot_take_the_call_leaves_it_a_shorter_answer_of_its_own(
    spent: int, limit: int | None
) -> None:
    desk = Desk(unfit=("cheap",))
    await desk.open(10**6, Terms(downgrade_to="cheap", halt=None), spent=spent)

    if limit is None:
        with pytest.raises(BudgetExhausted, match="user:anna"):
            await desk.budgets.hold(desk.call(), REQUEST)
    else:
        granted = await desk.budgets.hold(desk.call(), REQUEST)

        assert (granted.call.route.candidates, granted.limit, granted.lowered) == ((DEAR,), limit, True)


@pytest.mark.parametrize("model", ["dear", "gone", "unpriced"])
async def test_a_call_stays_with_its_model_where_the_other_is_not_cheaper_gone_or_unpriced(model: str) -> None:
    desk = Desk()
    await desk.open(10**6, Terms(downgrade_to=model, halt=None), spent=8 * 10**5)

    granted = await desk.budgets.hold(desk.call(), REQUEST)

    assert (granted.call.downgraded_by(DEAR), granted.amount_nanousd) == (False, 200_000)


async def test_a_run_that_is_not_critical_halts_and_a_critical_one_and_a_plain_call_go_on() -> None:
    desk = Desk()
    await desk.open(10**7, spent=95 * 10**5)

    with pytest.raises(BudgetHalted, match='"critical": true') as halted:
        await desk.budgets.hold(desk.call(), REQUEST)
    for other in (replace(CALLER, critical=True), replace(CALLER, run_id=None)):
        assert (await desk.budgets.hold(desk.call(other), REQUEST)).amount_nanousd == 200_000

    assert (halted.value.subject, halted.value.type_slug()) == ("user:anna", "budget-halted")
    assert desk.refused == ["user"]


async def test_a_call_that_will_never_fit_whole_waits_for_what_will_be_there_and_is_lowered_to_it() -> None:
    desk = Desk()
    await desk.open(300_000, Terms(halt=None), spent=150_000)
    first = desk.call(candidate=CHEAP)
    await desk.budgets.hold(first, REQUEST)

    second = asyncio.create_task(desk.budgets.hold(desk.call(), REQUEST))
    await _turns(10)
    await desk.settle(first, 0)

    granted = await second
    assert (granted.lowered, granted.limit, granted.amount_nanousd) == (True, 75, 150_000)


async def test_at_the_end_of_its_patience_a_call_takes_what_is_left_now() -> None:
    desk = Desk()
    await desk.open(250_000, Terms(halt=None))
    await desk.budgets.hold(desk.call(), REQUEST)

    waiting = asyncio.create_task(desk.budgets.hold(desk.call(), replace(REQUEST, deadline_s=5.0)))
    await _turns(10)
    desk.clock = 6.0

    granted = await waiting
    assert (granted.lowered, granted.limit) == (True, 25)


async def test_what_queues_is_said_to_be_sent_before_it_is_and_not_at_all_once_its_hold_is_gone() -> None:
    desk = Desk(places=False)
    granted = await desk.budgets.hold(desk.call(), REQUEST)
    queued = set(desk.store.sent)

    await desk.budgets.sends(granted)
    sent = set(desk.store.sent)
    await desk.store.release(granted.call.call_id)

    assert (queued, sent) == (set(), {granted.call.call_id})
    with pytest.raises(HoldLost):
        await desk.budgets.sends(granted)


async def test_a_call_that_goes_at_once_needs_no_word_more() -> None:
    desk = Desk()
    granted = await desk.budgets.hold(desk.call(), REQUEST)

    assert desk.store.sent == {granted.call.call_id}
    await desk.store.release(granted.call.call_id)
    await desk.budgets.sends(granted)


async def test_a_refusal_near_the_end_leaves_an_alert_and_says_when_to_come_back() -> None:
    desk = Desk(store=_Resetting())
    await desk.open(10**6, Terms(halt=None), spent=990_000)

    with pytest.raises(BudgetExhausted) as refused:
        await desk.budgets.hold(desk.call(), REQUEST)

    assert (refused.value.retry_after_s, refused.value.resets_at) == (3600.0, NOON.replace(hour=13))
    assert len(desk.store.alerts) == 1


async def test_a_cheaper_model_must_have_a_price() -> None:
    with pytest.raises(PriceUnknown) as refused:
        await Desk().budgets.check_cheaper(CALLER.tenant_id, "unpriced")

    assert list(refused.value.fields) == ["downgrade_to"]


async def _turns(number: int) -> None:
    """Let the others go on until they wait."""
    for _ in range(number):
        await asyncio.sleep(0)


class _Resetting(MemoryBudgetStore):
    """Whose budgets start anew at one o'clock."""

    async def hold(self, hold: Hold) -> Held:
        return replace(await super().hold(hold), resets_at=NOON.replace(hour=13))
