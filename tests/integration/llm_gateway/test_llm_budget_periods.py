"""Periods, shares and counters of budgets in a real PostgreSQL: by the calendar of a zone, once, to the nano-dollar."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from tests.builders_llm_gateway import a_call, a_caller
from tests.conftest import Run, TestDatabase

from cognitionos.events.llm_gateway import BudgetThresholdReached
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.domain.budget import BudgetSettings, Hold, Period, Terms
from cognitionos.llm_gateway.domain.chat import Caller
from cognitionos.llm_gateway.domain.errors import AlertNotFound, BudgetNotFound, TimeZoneUnknown
from cognitionos.llm_gateway.infrastructure.alerts import BudgetAlerts
from cognitionos.llm_gateway.infrastructure.budget_book import BudgetBook
from cognitionos.llm_gateway.infrastructure.budget_queries import BudgetQueries
from cognitionos.llm_gateway.infrastructure.budget_store import PostgresBudgetStore
from cognitionos.platform.bus import Bus
from cognitionos.platform.database import Database
from cognitionos.platform.outbox import Outbox
from cognitionos.platform.unit_of_work import UnitOfWork, units_of_work

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Pacific/Apia",
)


async def owns_all(_tenant_id: UUID, _kind: str, _identifier: UUID) -> bool:
    return True


@pytest.fixture
def book(open_database: Database) -> BudgetBook:
    return BudgetBook(open_database, owns=owns_all)


@pytest.fixture
def queries(open_database: Database) -> BudgetQueries:
    return BudgetQueries(open_database)


def a_hold(caller: Caller, amount_nanousd: int, **changes: Any) -> Hold:
    call_id = changes.pop("call_id", None)
    return Hold(row=a_call(caller, call_id=call_id), amount_nanousd=amount_nanousd, deadline_s=60, **changes)


async def spend(store: PostgresBudgetStore, caller: Caller, cost_nanousd: int, *, held: int | None = None) -> None:
    """One call, held and settled."""
    call = a_call(caller, cost_nanousd=cost_nanousd)
    assert (await store.hold(a_hold(caller, held or cost_nanousd, call_id=call.call_id))).granted
    await store.settle(call)


async def test_the_next_reset_is_the_next_local_midnight_monday_or_first_also_where_clocks_change(
    database: TestDatabase,
) -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=7 * n) for n in range(1300)]
    with psycopg.connect(database.admin_url) as admin:
        for zone in ZONES:
            for period in (Period.DAY, Period.WEEK, Period.MONTH):
                rows = admin.execute(
                    "SELECT at, llm_next_reset(%s, %s, at) FROM unnest(%s::timestamptz[]) AS at",
                    [period, zone, moments],
                )
                for at, resets_at in rows:
                    assert resets_at == _next_reset(period, ZoneInfo(zone), at), (zone, period, at)


async def test_a_budget_starts_anew_in_its_own_time_zone_else_in_the_tenants(
    store: PostgresBudgetStore, book: BudgetBook, queries: BudgetQueries
) -> None:
    tenant = new_id()
    await book.put_settings(tenant, BudgetSettings(time_zone="Asia/Kathmandu"))
    follows = await store.open(tenant, "user:a", limit_nanousd=1, period=Period.DAY)
    own = await store.open(
        tenant, "user:b", limit_nanousd=1, period=Period.DAY, terms=Terms(time_zone="America/New_York")
    )

    await book.put_settings(tenant, BudgetSettings(time_zone="Europe/Berlin"))

    views = {view.id: view for view in (await queries.budgets(tenant)).items}
    now = datetime.now(UTC)
    assert (views[follows].time_zone, views[own].time_zone) == ("Europe/Berlin", "America/New_York")
    assert views[follows].resets_at == _next_reset(Period.DAY, ZoneInfo("Europe/Berlin"), now)
    assert views[own].resets_at == _next_reset(Period.DAY, ZoneInfo("America/New_York"), now)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "FOO+3", ""])
async def test_a_time_zone_that_nobody_knows_is_refused(book: BudgetBook, zone: str) -> None:
    with pytest.raises(TimeZoneUnknown):
        await book.put_settings(new_id(), BudgetSettings(time_zone=zone))


async def test_what_was_held_before_midnight_counts_in_the_day_that_is_over(
    store: PostgresBudgetStore, book: BudgetBook, queries: BudgetQueries, database: TestDatabase
) -> None:
    caller = a_caller(user="night")
    budget = await store.open(caller.tenant_id, "user:night", limit_nanousd=100, period=Period.DAY)
    late, released = a_call(caller, cost_nanousd=60), a_call(caller)
    await store.hold(a_hold(caller, 70, call_id=late.call_id))
    await store.hold(a_hold(caller, 30, call_id=released.call_id))
    _a_month_passes(database, caller.tenant_id)

    stale = await queries.budget(caller.tenant_id, budget)
    fresh = await store.hold(a_hold(caller, 100))
    await store.settle(late)
    await store.release(released.call_id)

    assert (stale.spent_usd, stale.held_usd, stale.left_usd) == ("0", "0", "0.0000001")
    assert fresh.granted
    view = await queries.budget(caller.tenant_id, budget)
    assert (view.spent_usd, view.held_usd, view.calls) == ("0", "0.0000001", 0)
    assert await book.recount(caller.tenant_id, correct=False) == []


async def test_each_share_is_told_of_once_though_two_processes_settle_two_hundred_calls_at_once(
    open_database: Database, queries: BudgetQueries
) -> None:
    caller = a_caller(user="busy")
    told: list[str] = []
    stores = [PostgresBudgetStore(open_database, owner=uuid4(), raised=lambda: told.append("x")) for _ in range(2)]
    await stores[0].open(caller.tenant_id, "user:busy", limit_nanousd=200, period=Period.DAY)
    calls = [a_call(caller, cost_nanousd=1) for _ in range(200)]
    await asyncio.gather(*(stores[n % 2].hold(a_hold(caller, 1, call_id=c.call_id)) for n, c in enumerate(calls)))

    await asyncio.gather(*(stores[n % 2].settle(call) for n, call in enumerate(calls)))

    alerts = (await queries.alerts(caller.tenant_id, limit=50)).items
    assert sorted(alert.threshold for alert in alerts) == ["exhausted", "halt", "soft"]
    assert told


async def test_a_share_is_told_of_again_in_the_next_period_and_for_another_limit(
    store: PostgresBudgetStore, book: BudgetBook, queries: BudgetQueries, database: TestDatabase
) -> None:
    caller = a_caller(user="again")
    budget = await store.open(caller.tenant_id, "user:again", limit_nanousd=100, period=Period.DAY)
    await spend(store, caller, 85)
    await book.change(caller.tenant_id, budget, {"limit": 200})
    await spend(store, caller, 80)
    _a_month_passes(database, caller.tenant_id)
    await spend(store, caller, 170)

    alerts = (await queries.alerts(caller.tenant_id, limit=50)).items

    assert [(alert.threshold, alert.limit_usd) for alert in alerts] == [
        ("soft", "0.0000002"),
        ("soft", "0.0000002"),
        ("soft", "0.0000001"),
    ]


async def test_lowering_a_limit_below_what_was_spent_tells_at_once(
    store: PostgresBudgetStore, book: BudgetBook, queries: BudgetQueries
) -> None:
    caller = a_caller(user="lower")
    budget = await store.open(caller.tenant_id, "user:lower", limit_nanousd=1000, period=Period.TOTAL)
    await spend(store, caller, 85)

    await book.change(caller.tenant_id, budget, {"limit": 100, "halt": None})

    assert [each.threshold for each in (await queries.alerts(caller.tenant_id, limit=9)).items] == ["soft"]
    assert (await queries.budget(caller.tenant_id, budget)).halt is None


async def test_an_alert_becomes_one_fact_however_many_processes_tell(
    open_database: Database, store: PostgresBudgetStore, database: TestDatabase
) -> None:
    bus = Bus()
    bus.subscribe(BudgetThresholdReached, "somebody", _nothing)
    outbox = Outbox(database=open_database, bus=bus, send=lambda *_: None)
    begin = units_of_work(UnitOfWork, database=open_database, bus=bus, relay=outbox)
    tellers = [BudgetAlerts(open_database, begin=begin) for _ in range(3)]
    await tellers[0].tell()
    caller = a_caller(user="told")
    await store.open(caller.tenant_id, "user:told", limit_nanousd=100, period=Period.TOTAL)
    await spend(store, caller, 96)

    told = await asyncio.gather(*(teller.tell() for teller in tellers))

    with psycopg.connect(database.admin_url, row_factory=dict_row) as admin:
        rows = admin.execute("SELECT payload FROM outbox WHERE tenant_id = %s", [caller.tenant_id]).fetchall()
    assert sum(told) == 2
    assert sorted(row["payload"]["threshold"] for row in rows) == ["halt", "soft"]
    assert {row["payload"]["spent_nanousd"] for row in rows} == {96}


async def test_an_alert_is_acknowledged_by_who_was_first(
    open_database: Database, store: PostgresBudgetStore, queries: BudgetQueries
) -> None:
    bus = Bus()
    outbox = Outbox(database=open_database, bus=bus, send=lambda *_: None)
    begin = units_of_work(UnitOfWork, database=open_database, bus=bus, relay=outbox)
    alerts = BudgetAlerts(open_database, begin=begin)
    caller = a_caller(user="ack")
    await store.open(caller.tenant_id, "user:ack", limit_nanousd=100, period=Period.TOTAL)
    await spend(store, caller, 81)
    (alert,) = (await queries.alerts(caller.tenant_id, limit=9)).items

    await alerts.acknowledge(caller.tenant_id, alert.id, who="user:anna", note="seen")
    await alerts.acknowledge(caller.tenant_id, alert.id, who="user:bert", note="me too")

    (seen,) = (await queries.alerts(caller.tenant_id, acknowledged=True, limit=9)).items
    assert (seen.acknowledged_by, seen.note) == ("user:anna", "seen")
    assert (await queries.alerts(caller.tenant_id, acknowledged=False, limit=9)).items == []
    with pytest.raises(AlertNotFound):
        await alerts.acknowledge(new_id(), alert.id, who="user:eve", note=None)


async def test_past_its_soft_share_a_budget_names_the_cheaper_model_its_own_before_the_tenants(
    store: PostgresBudgetStore, book: BudgetBook
) -> None:
    caller = a_caller(user="cheap")
    budget = await store.open(caller.tenant_id, "user:cheap", limit_nanousd=100, period=Period.TOTAL)
    await book.put_settings(caller.tenant_id, BudgetSettings(downgrade_to="tenants/small"))
    before = await store.hold(a_hold(caller, 10, downgraded=False))
    await spend(store, caller, 80)

    tenants = await store.hold(a_hold(caller, 1, downgraded=False))
    await book.change(caller.tenant_id, budget, {"downgrade_to": "own/small"})
    own = await store.hold(a_hold(caller, 1, downgraded=False))
    with_it = await store.hold(a_hold(caller, 1, downgraded=True))

    assert (before.granted, tenants.granted, own.granted, with_it.granted) == (True, False, False, True)
    assert (tenants.downgrade_to, own.downgrade_to) == ("tenants/small", "own/small")


async def test_past_its_halt_share_a_budget_halts_runs_that_are_not_critical_and_nothing_else(
    store: PostgresBudgetStore,
) -> None:
    caller = a_caller(user="halt")
    await store.open(caller.tenant_id, "user:halt", limit_nanousd=100, period=Period.WEEK)
    await spend(store, caller, 95)

    halted = await store.hold(a_hold(caller, 1, halts=True))
    plain = await store.hold(a_hold(caller, 1))

    assert (halted.granted, halted.halted, halted.subject) == (False, True, "user:halt")
    assert halted.resets_at is not None
    assert plain.granted


async def test_a_refusal_near_the_end_is_told_of_and_one_of_a_call_that_was_too_large_is_not(
    store: PostgresBudgetStore, queries: BudgetQueries
) -> None:
    caller = a_caller(user="end")
    await store.open(caller.tenant_id, "user:end", limit_nanousd=100, period=Period.DAY)

    await store.exhausted(caller.tenant_id, "user:end", Period.DAY)
    early = (await queries.alerts(caller.tenant_id, threshold="exhausted", limit=9)).items
    await spend(store, caller, 99)
    for _ in range(2):
        await store.exhausted(caller.tenant_id, "user:end", Period.DAY)
    late = (await queries.alerts(caller.tenant_id, threshold="exhausted", limit=9)).items

    assert (len(early), len(late)) == (0, 1)


async def test_a_budget_that_was_removed_limits_nothing_and_its_holds_settle_all_the_same(
    store: PostgresBudgetStore, book: BudgetBook
) -> None:
    caller = a_caller(user="gone")
    budget = await store.open(caller.tenant_id, "user:gone", limit_nanousd=100, period=Period.TOTAL)
    call = a_call(caller, cost_nanousd=50)
    await store.hold(a_hold(caller, 100, call_id=call.call_id))

    await book.remove(caller.tenant_id, budget)
    await store.settle(call)

    assert (await store.hold(a_hold(caller, 10**9))).granted
    assert (await store.spend(caller.tenant_id, "user:gone")).spent_nanousd == 50
    with pytest.raises(BudgetNotFound):
        await book.remove(caller.tenant_id, budget)


async def test_a_dead_processs_queued_calls_are_released_and_those_it_sent_are_booked(
    open_database: Database, database: TestDatabase, queries: BudgetQueries
) -> None:
    caller = a_caller(user="dead")
    dead, alive = (PostgresBudgetStore(open_database, owner=uuid4()) for _ in range(2))
    budget = await dead.open(caller.tenant_id, "user:dead", limit_nanousd=1000, period=Period.TOTAL)
    sent, queued, went = (a_call(caller) for _ in range(3))
    await dead.hold(a_hold(caller, 100, call_id=sent.call_id))
    await dead.hold(a_hold(caller, 200, call_id=queued.call_id, sent=False))
    await dead.hold(a_hold(caller, 400, call_id=went.call_id, sent=False))
    assert await dead.send(went.call_id)
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE budget_holds SET created_at = created_at - interval '40 s'")
        admin.execute("UPDATE budgets SET window_start = window_start - interval '40 s'")

    assert await alive.sweep() >= 3  # other tests left some too

    view = await queries.budget(caller.tenant_id, budget)
    assert (view.spent_usd, view.held_usd, view.calls) == ("0.0000005", "0", 2)
    assert not await dead.send(queued.call_id)


async def test_a_recount_finds_and_corrects_what_somebody_changed_by_hand(
    store: PostgresBudgetStore, book: BudgetBook, database: TestDatabase
) -> None:
    caller = a_caller(user="hand")
    budget = await store.open(caller.tenant_id, "user:hand", limit_nanousd=100, period=Period.MONTH)
    await spend(store, caller, 20)
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE budgets SET spent_nanousd = 3, held_nanousd = 7 WHERE id = %s", [budget])

    (found,) = await book.recount(caller.tenant_id, correct=True)

    assert (found.budget_id, found.spent_nanousd, found.held_nanousd) == (budget, (3, 20), (7, 0))
    assert await book.recount(caller.tenant_id, correct=False) == []
    assert (await store.spend(caller.tenant_id, "user:hand")).spent_nanousd == 20


steps = st.lists(
    st.tuples(
        st.sampled_from(["hold", "settle", "release", "month", "open", "repeat", "limit"]),
        st.integers(0, 2),
        st.integers(0, 10**6),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=steps)
def test_counters_rebuilt_from_the_ledger_are_equal_whatever_happened(
    steps: list[tuple[str, int, int]], run: Run, open_database: Database, database: TestDatabase
) -> None:
    run(_live(steps, open_database, database))


async def _live(steps: list[tuple[str, int, int]], open_database: Database, database: TestDatabase) -> None:
    store, book = PostgresBudgetStore(open_database, owner=uuid4()), BudgetBook(open_database, owns=owns_all)
    tenant = new_id()
    callers = [a_caller(tenant_id=tenant, user=name, workflow="w") for name in "abc"]
    budgets = [await store.open(tenant, f"tenant:{tenant}", limit_nanousd=10**7, period=Period.DAY)]
    under_way: list[tuple[Caller, UUID, int]] = []
    for what, place, amount in steps:
        caller = callers[place]
        if what == "open":
            subject = ("workflow:w", f"user:{caller.user}")[amount % 2]
            budgets.append(await store.open(tenant, subject, limit_nanousd=10**7 + amount, period=Period.MONTH))
        elif what == "month":
            _a_month_passes(database, tenant)
        elif what == "limit":
            await book.change(tenant, budgets[amount % len(budgets)], {"limit": 10**6 + amount})
        elif what in {"hold", "repeat"}:
            hold = a_hold(caller, amount)
            answers = await asyncio.gather(*(store.hold(hold) for _ in range(1 + (what == "repeat"))))
            if answers[0].granted:
                under_way.append((caller, hold.row.call_id, amount))
        elif under_way:
            caller, call_id, held = under_way.pop(amount % len(under_way))
            if what == "release":
                await store.release(call_id)
            else:
                await store.settle(a_call(caller, call_id=call_id, cost_nanousd=held * 2 // 3))

    assert await book.recount(tenant, correct=False) == []


def _a_month_passes(database: TestDatabase, tenant: UUID) -> None:
    """Move all that the tenant did by 31 days into the past: whatever period it was done in is over."""
    ago = "- interval '31 days'"
    with psycopg.connect(database.admin_url) as admin:
        for change in (
            f"UPDATE budgets SET window_start = window_start {ago}, resets_at = resets_at {ago}",
            f"UPDATE budget_holds SET created_at = created_at {ago}",
            f"UPDATE calls SET held_at = held_at {ago}, settled_at = settled_at {ago}",
        ):
            admin.execute(f"{change} WHERE tenant_id = %s".encode(), [tenant])


def _next_reset(period: Period, zone: ZoneInfo, at: datetime) -> datetime:
    """The same by the standard library: the first local midnight after `at` that begins a day, a week or a month."""
    day = at.astimezone(zone).date() + timedelta(days=1)
    while (period is Period.WEEK and day.weekday()) or (period is Period.MONTH and day.day != 1):
        day += timedelta(days=1)
    midnights = [datetime(day.year, day.month, day.day, tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    exists = midnights[0] <= midnights[1]
    return midnights[1] if exists else midnights[0]


async def _nothing(_event: object, _delivery: object) -> None:
    """Hear it."""
