"""Holds of a process that lives: each ends with its call, whatever is lost on the way."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.builders_llm_gateway import a_call, a_caller
from tests.conftest import TestDatabase
from tests.lost_database import lost
from tests.waiting import eventually

from cognitionos.kernel.errors import Unavailable
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.domain.budget import Hold, Period
from cognitionos.llm_gateway.domain.chat import Caller
from cognitionos.llm_gateway.infrastructure import budget_store
from cognitionos.llm_gateway.infrastructure.budget_store import PostgresBudgetStore
from cognitionos.platform.database import Database

DEAD_S = 30.0


async def a_budgeted_caller(store: PostgresBudgetStore) -> Caller:
    caller = a_caller(goal_id=new_id())
    await store.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=10**6, period=Period.TOTAL)
    return caller


def a_hold(caller: Caller, *, call_id: UUID | None = None, sent: bool = True) -> Hold:
    return Hold(row=a_call(caller, call_id=call_id), amount_nanousd=100, deadline_s=3600, sent=sent)


async def test_the_hold_of_a_call_that_nobody_has_any_more_is_closed_by_its_own_process(
    store: PostgresBudgetStore, database: TestDatabase
) -> None:
    caller = await a_budgeted_caller(store)
    kept, forgotten, queued = a_hold(caller), a_hold(caller), a_hold(caller, sent=False)
    for each in (kept, forgotten, queued):
        assert (await store.hold(each)).granted
    del each, forgotten, queued
    young = await store.sweep(dead_after_s=DEAD_S)
    _age_holds(database, seconds=DEAD_S + 10)

    assert (young, await store.sweep(dead_after_s=DEAD_S)) == (0, 2)

    assert _holds(database, caller) == [kept.row.call_id]
    assert _rows(database, caller) == [("lost", 100, True)]
    spend = await store.spend(caller.tenant_id, f"goal:{caller.goal_id}")
    assert (spend.held_nanousd, spend.spent_nanousd) == (100, 100)


async def test_a_process_of_an_older_version_that_does_not_say_which_calls_it_has_loses_none(
    store: PostgresBudgetStore, open_database: Database, database: TestDatabase
) -> None:
    caller = await a_budgeted_caller(store)
    owner = uuid4()
    await PostgresBudgetStore(open_database, owner=owner).hold(a_hold(caller))
    _age_holds(database, seconds=DEAD_S + 10)

    async with open_database.connection() as connection:
        await connection.execute("SELECT * FROM llm_sweep_holds(%s, %s)", (owner, DEAD_S))

    assert len(_holds(database, caller)) == 1


async def test_what_could_not_be_settled_in_time_is_settled_once_the_database_is_back(
    store: PostgresBudgetStore, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_store, "SETTLE_AGAIN_S", (0.1,))
    monkeypatch.setattr(budget_store, "LATE_S", 0.1)
    caller = await a_budgeted_caller(store)
    call, left = a_call(caller, cost_nanousd=70), a_hold(caller)
    await store.hold(a_hold(caller, call_id=call.call_id))
    await store.hold(left)
    _age_holds(database, seconds=DEAD_S + 10)

    with lost(database):
        with pytest.raises(Unavailable):
            await store.settle(call)
        giving_back = asyncio.create_task(store.release(left.row.call_id))
        await asyncio.sleep(0.3)
    await giving_back
    await eventually(lambda: _sum_of_sweep(store))  # would book whatever it does not know of

    await eventually(lambda: _rows(database, caller) == [("ok", 70, False)])
    assert _holds(database, caller) == []


async def test_a_row_that_cannot_be_written_costs_others_nothing_and_is_booked_at_its_bound(
    store: PostgresBudgetStore, database: TestDatabase
) -> None:
    caller, other = await a_budgeted_caller(store), await a_budgeted_caller(store)
    bad, good = a_call(caller, cost_nanousd=10**30), a_call(other, cost_nanousd=70)
    held = await asyncio.gather(
        store.hold(a_hold(caller, call_id=bad.call_id)),
        store.hold(a_hold(other, call_id=good.call_id)),
        store.hold(Hold(row=a_call(other), amount_nanousd=10**30, deadline_s=60)),
        return_exceptions=True,
    )
    assert [isinstance(each, psycopg.DataError) for each in held] == [False, False, True]

    ended = await asyncio.gather(store.settle(bad), store.settle(good), return_exceptions=True)
    assert isinstance(ended[0], psycopg.DataError)
    assert ended[1] is None
    _age_holds(database, seconds=DEAD_S + 10)
    await store.sweep(dead_after_s=DEAD_S)

    assert _rows(database, other) == [("ok", 70, False)]
    assert _rows(database, caller) == [("lost", 100, True)]


async def _sum_of_sweep(store: PostgresBudgetStore) -> bool:
    try:
        await store.sweep(dead_after_s=DEAD_S)
    except Unavailable:
        return False
    return True


def _holds(database: TestDatabase, caller: Caller) -> list[UUID]:
    with psycopg.connect(database.admin_url) as admin:
        query = "SELECT call_id FROM budget_holds WHERE tenant_id = %s"
        return [row[0] for row in admin.execute(query, [caller.tenant_id])]


def _rows(database: TestDatabase, caller: Caller) -> list[tuple[str, int, bool]]:
    query = "SELECT outcome, cost_nanousd, estimated FROM calls WHERE tenant_id = %s ORDER BY call_id"
    with psycopg.connect(database.admin_url) as admin:
        return admin.execute(query, [caller.tenant_id]).fetchall()


def _age_holds(database: TestDatabase, *, seconds: float) -> None:
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE budget_holds SET created_at = created_at - make_interval(secs => %s)", [seconds])
        admin.execute("UPDATE budgets SET window_start = window_start - make_interval(secs => %s)", [seconds])
