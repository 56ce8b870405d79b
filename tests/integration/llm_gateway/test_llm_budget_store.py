"""Holds and settlements in a real PostgreSQL: exact under concurrency, once per call, nothing lost."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.builders_llm_gateway import a_call, a_caller
from tests.conftest import TestDatabase

from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.domain.budget import Hold, Period
from cognitionos.llm_gateway.domain.chat import Caller
from cognitionos.llm_gateway.infrastructure.budget_store import PostgresBudgetStore
from cognitionos.platform.database import Database


def a_hold(caller: Caller, amount_nanousd: int | None, *, call_id: UUID | None = None) -> Hold:
    return Hold(row=a_call(caller, call_id=call_id), amount_nanousd=amount_nanousd, deadline_s=60)


async def test_a_budget_worth_ten_grants_exactly_ten_of_two_hundred_holds_at_once(store: PostgresBudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    await store.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=1000, period=Period.TOTAL)

    answers = await asyncio.gather(*(store.hold(a_hold(caller, 100)) for _ in range(200)))

    assert sum(answer.granted for answer in answers) == 10
    refused = next(answer for answer in answers if not answer.granted)
    assert refused.subject == f"goal:{caller.goal_id}"
    assert (refused.left_nanousd, refused.room_nanousd) == (0, 1000)
    spend = await store.spend(caller.tenant_id, f"goal:{caller.goal_id}")
    assert (spend.held_nanousd, spend.spent_nanousd, spend.left_nanousd) == (1000, 0, 0)


async def test_two_processes_hold_against_the_same_budget_without_overshoot(open_database: Database) -> None:
    caller = a_caller(run_id=new_id())
    stores = [PostgresBudgetStore(open_database, owner=uuid4()) for _ in range(2)]
    await stores[0].open(caller.tenant_id, f"run:{caller.run_id}", limit_nanousd=1000, period=Period.TOTAL)
    await stores[0].open(caller.tenant_id, f"tenant:{caller.tenant_id}", limit_nanousd=5000, period=Period.MONTH)

    answers = await asyncio.gather(*(stores[n % 2].hold(a_hold(caller, 100)) for n in range(200)))

    assert sum(answer.granted for answer in answers) == 10
    tenant = await stores[0].spend(caller.tenant_id, f"tenant:{caller.tenant_id}")
    assert tenant.held_nanousd == 1000


async def test_a_hold_refused_by_one_budget_is_held_on_none(store: PostgresBudgetStore) -> None:
    caller = a_caller(goal_id=new_id(), run_id=new_id())
    await store.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=1000, period=Period.TOTAL)
    await store.open(caller.tenant_id, f"run:{caller.run_id}", limit_nanousd=50, period=Period.TOTAL)

    answer = await store.hold(a_hold(caller, 100))

    assert (answer.granted, answer.subject, answer.left_nanousd) == (False, f"run:{caller.run_id}", 50)
    assert (await store.spend(caller.tenant_id, f"goal:{caller.goal_id}")).held_nanousd == 0


async def test_a_budget_refuses_an_unpriced_call_and_no_budget_lets_it_pass(store: PostgresBudgetStore) -> None:
    free, bound = a_caller(), a_caller(goal_id=new_id())
    await store.open(bound.tenant_id, f"goal:{bound.goal_id}", limit_nanousd=10**12, period=Period.TOTAL)

    assert (await store.hold(a_hold(free, None))).granted
    assert (await store.hold(a_hold(bound, None))).price_missing


async def test_settling_books_the_cost_releases_the_hold_and_writes_one_row(
    store: PostgresBudgetStore, database: TestDatabase
) -> None:
    caller = a_caller(goal_id=new_id())
    subject = f"goal:{caller.goal_id}"
    await store.open(caller.tenant_id, subject, limit_nanousd=1000, period=Period.TOTAL)
    calls = [a_call(caller, cost_nanousd=70) for _ in range(5)]
    await asyncio.gather(*(store.hold(a_hold(caller, 100, call_id=call.call_id)) for call in calls))

    await asyncio.gather(*(store.settle(call) for call in calls for _ in range(2)))

    spend = await store.spend(caller.tenant_id, subject)
    assert (spend.held_nanousd, spend.spent_nanousd, spend.calls) == (0, 350, 5)
    assert _rows(database, caller) == [("ok", 70, False)] * 5


async def test_repeating_a_hold_holds_once(store: PostgresBudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    await store.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=1000, period=Period.TOTAL)
    hold = a_hold(caller, 100)

    assert (await store.hold(hold)).granted
    assert (await store.hold(hold)).granted

    assert (await store.spend(caller.tenant_id, f"goal:{caller.goal_id}")).held_nanousd == 100


async def test_a_released_hold_leaves_nothing_behind(store: PostgresBudgetStore, database: TestDatabase) -> None:
    caller = a_caller(goal_id=new_id())
    await store.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=1000, period=Period.TOTAL)
    hold = a_hold(caller, 100)
    await store.hold(hold)

    await store.release(hold.row.call_id)

    assert (await store.spend(caller.tenant_id, f"goal:{caller.goal_id}")).held_nanousd == 0
    assert _rows(database, caller) == []


async def test_the_sweep_books_the_holds_of_dead_processes_and_leaves_those_of_the_living(
    open_database: Database, database: TestDatabase
) -> None:
    caller, other = a_caller(goal_id=new_id()), a_caller(goal_id=new_id())
    dead, alive = (PostgresBudgetStore(open_database, owner=uuid4()) for _ in range(2))
    _forget_holds(database)
    for each, owner in ((caller, dead), (other, alive)):
        await owner.open(each.tenant_id, f"goal:{each.goal_id}", limit_nanousd=1000, period=Period.TOTAL)
    holds = [a_hold(caller, 100), a_hold(other, 100)]
    for hold, owner in zip(holds, (dead, alive), strict=True):
        await owner.hold(hold)
    _age_holds(database, seconds=40)

    assert await alive.sweep() == 1
    assert await alive.sweep() == 0

    spend = await alive.spend(caller.tenant_id, f"goal:{caller.goal_id}")
    assert (spend.held_nanousd, spend.spent_nanousd) == (0, 100)
    assert _rows(database, caller) == [("lost", 100, True)]
    assert (await alive.spend(other.tenant_id, f"goal:{other.goal_id}")).held_nanousd == 100


async def test_a_settlement_after_the_sweep_changes_nothing(open_database: Database, database: TestDatabase) -> None:
    caller = a_caller(goal_id=new_id())
    dead, alive = (PostgresBudgetStore(open_database, owner=uuid4()) for _ in range(2))
    await dead.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=1000, period=Period.TOTAL)
    call = a_call(caller, cost_nanousd=5)
    await dead.hold(a_hold(caller, 100, call_id=call.call_id))
    _age_holds(database, seconds=40)
    await alive.sweep()

    await dead.settle(call)

    assert (await alive.spend(caller.tenant_id, f"goal:{caller.goal_id}")).spent_nanousd == 100


async def test_a_daily_budget_starts_anew_when_its_day_is_over(
    store: PostgresBudgetStore, database: TestDatabase
) -> None:
    caller = a_caller(goal_id=new_id())
    subject = f"goal:{caller.goal_id}"
    await store.open(caller.tenant_id, subject, limit_nanousd=100, period=Period.DAY)
    call = a_call(caller, cost_nanousd=100)
    await store.hold(a_hold(caller, 100, call_id=call.call_id))
    await store.settle(call)
    refused = await store.hold(a_hold(caller, 100))
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE budgets SET resets_at = now() - interval '1 second' WHERE subject = %s", [subject])

    granted = await store.hold(a_hold(caller, 100))

    assert not refused.granted
    assert refused.resets_at is not None
    assert granted.granted
    assert (await store.spend(caller.tenant_id, subject)).spent_nanousd == 0


async def test_without_a_budget_spending_is_the_sum_of_the_ledger(store: PostgresBudgetStore) -> None:
    caller = a_caller(run_id=new_id())
    await asyncio.gather(*(store.settle(a_call(caller, cost_nanousd=7)) for _ in range(3)))

    spend = await store.spend(caller.tenant_id, f"run:{caller.run_id}")

    assert (spend.limit_nanousd, spend.spent_nanousd, spend.calls) == (None, 21, 3)


async def test_the_ledger_cannot_be_changed_or_read_by_another_tenant(
    store: PostgresBudgetStore, open_database: Database
) -> None:
    caller = a_caller()
    await store.settle(a_call(caller, cost_nanousd=7))

    async with open_database.transaction(uuid4()) as connection:
        others = await (await connection.execute("SELECT count(*) FROM calls")).fetchone()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with open_database.transaction(caller.tenant_id) as connection:
            await connection.execute("UPDATE calls SET cost_nanousd = 0")

    assert others == (0,)


async def test_texts_that_postgresql_cannot_store_do_not_fail_the_batch(store: PostgresBudgetStore) -> None:
    caller, other = a_caller(user="a\0b"), a_caller()

    held = await asyncio.gather(store.hold(a_hold(caller, 100)), store.hold(a_hold(other, 100)))
    assert [each.granted for each in held] == [True, True]

    await store.settle(a_call(caller, model_asked="gpt\0"))

    assert (await store.spend(caller.tenant_id, "user:ab")).calls == 1


def _rows(database: TestDatabase, caller: Caller) -> list[tuple[str, int, bool]]:
    query = "SELECT outcome, cost_nanousd, estimated FROM calls WHERE tenant_id = %s ORDER BY call_id"
    with psycopg.connect(database.admin_url) as admin:
        return admin.execute(query, [caller.tenant_id]).fetchall()


def _age_holds(database: TestDatabase, *, seconds: int) -> None:
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE budget_holds SET created_at = created_at - make_interval(secs => %s)", [seconds])
        admin.execute("UPDATE budgets SET window_start = window_start - make_interval(secs => %s)", [seconds])


def _forget_holds(database: TestDatabase) -> None:
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("DELETE FROM budget_holds")
