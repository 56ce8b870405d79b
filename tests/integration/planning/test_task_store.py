"""What every `TaskStore` promises: the suite runs over PostgreSQL's and over the twin in memory."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.fakes.planning_engine import Bench, a_principal
from tests.fakes.planning_store import InMemoryTaskStore
from tests.unit.planning.builders import a_run
from tests.waiting import eventually

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.fanning import compute_map
from cognitionos.planning.application.ports import TaskStore
from cognitionos.planning.domain.reference import STATE, Wanted
from cognitionos.planning.domain.step import Ended, Reported, Started
from cognitionos.planning.domain.task import (
    ClaimedTask,
    Expansion,
    Failed,
    Postponed,
    Problem,
    Retrying,
    Succeeded,
    TaskSpec,
    in_order,
)

WRONG = Problem(type="/problems/wrong", title="Wrong", detail="it went wrong")


@dataclass(kw_only=True)
class Stores:
    """A store, a way to start runs in it, and one to let leases run out."""

    store: TaskStore
    start: Callable[[Principal, Sequence[TaskSpec]], Awaitable[UUID]]
    status: Callable[[Principal, UUID], Awaitable[str]]
    later: Callable[[float], None]

    async def claimed(self, worker: str = "w", *, slots: int = 10, lease_s: float = 60) -> list[ClaimedTask]:
        return (await self.store.claim(worker=worker, slots=slots, lease_s=lease_s)).tasks


@pytest.fixture(params=["postgresql", "memory"])
def stores(request: pytest.FixtureRequest, bench: Bench, run: Any) -> Stores:
    if request.param == "memory":
        return in_memory()

    async def nothing_left() -> None:
        async with bench.base.database.connection() as connection:
            await connection.execute("SELECT hand_back_tasks('w')")

    run(nothing_left())
    return Stores(store=bench.store, start=bench.runs.start, status=bench.status, later=lambda _: None)


def in_memory() -> Stores:
    store = InMemoryTaskStore()

    async def start(who: Principal, specs: Sequence[TaskSpec]) -> UUID:
        run = a_run(tenant_id=who.tenant_id)
        graph = in_order(tuple(specs), first_position=0, new_id=new_id)
        run.grow(len(graph))
        store.add(run, graph)
        return run.id

    async def status(who: Principal, run_id: UUID) -> str:
        return store.runs[run_id].status

    def later(seconds: float) -> None:
        store.clock_s += seconds

    return Stores(store=store, start=start, status=status, later=later)


def a_step(key: str, *after: str) -> TaskSpec:
    return TaskSpec(key=key, kind="step", depends_on=after)


def a_value(key: str, *after: str) -> TaskSpec:
    return TaskSpec(key=key, kind="value", depends_on=after, spec={"input": key})


def well(task: ClaimedTask, output: Any = None) -> Ended:
    return Ended(task=task, outcome=Succeeded(output=output))


async def test_a_claim_says_whether_more_is_due_of_any_tenant(stores: Stores) -> None:
    for who in (a_principal(), a_principal()):
        await stores.start(who, [TaskSpec(key="a", kind="step")])

    looks = [await stores.store.claim(worker="w", slots=10, lease_s=60) for _ in range(3)]
    for task in (each for look in looks for each in look.tasks):
        await stores.store.record(task.tenant_id, "w", [Ended(task=task, outcome=Succeeded(output=None))])

    assert [(len(look.tasks), look.more) for look in looks] == [(1, True), (1, False), (0, False)]


async def test_what_is_put_back_is_ready_for_anybody_and_its_start_never_was(stores: Stores) -> None:
    who = a_principal()
    await stores.start(who, [a_value("a"), a_value("b")])
    mine = await stores.claimed("w")

    await stores.store.put_back(mine, worker="other")
    kept = await stores.claimed("other")
    await stores.store.put_back(mine, worker="w")
    again = await stores.claimed("w")

    assert kept == []
    assert [(task.key, task.attempt, task.fence) for task in again] == [("a", 1, 2), ("b", 1, 2)]
    assert (await stores.store.record(who.tenant_id, "w", [well(task) for task in mine])).refused
    await stores.store.record(who.tenant_id, "w", [well(task) for task in again])


async def test_only_what_waits_for_nothing_can_be_claimed_and_only_once(stores: Stores) -> None:
    who = a_principal()
    await stores.start(who, [a_step("a"), a_step("b"), a_step("c", "a")])

    first, second = await stores.claimed("w"), await stores.claimed("other")

    assert sorted(task.key for task in first) == ["a", "b"]
    assert {(task.attempt, task.fence) for task in first} == {(1, 1)}
    assert second == []
    await stores.store.record(who.tenant_id, "w", [Ended(task=first[0], outcome=Failed(problem=WRONG))])


async def test_slots_bound_what_is_claimed_but_pure_tasks_need_none(stores: Stores) -> None:
    who = a_principal()
    run_id = await stores.start(who, [a_step("a"), a_step("b"), a_value("c")])

    none, one = await stores.claimed(slots=0), await stores.claimed(slots=1)
    two = await stores.claimed(slots=5)

    assert ([task.key for task in none], len(one), len(two)) == (["c"], 1, 1)
    await stores.store.record(who.tenant_id, "w", [well(task) for task in (*none, *one, *two)])
    assert await stores.status(who, run_id) == "succeeded"


async def test_the_end_of_a_task_sets_its_dependents_free_and_pure_ones_run_at_once(stores: Stores) -> None:
    who = a_principal()
    run_id = await stores.start(who, [a_step("a"), a_value("b", "a"), a_value("c", "b"), a_step("d", "c")])

    recorded = await stores.store.record(who.tenant_id, "w", [well(task) for task in await stores.claimed()])
    [last] = await stores.claimed()
    ended = await stores.store.record(who.tenant_id, "w", [Started(task=last), well(last)])

    assert (recorded.ready, last.key, ended.ready) == (True, "d", False)
    assert await stores.status(who, run_id) == "succeeded"


async def test_a_lease_that_ran_out_is_another_s_and_its_writer_comes_too_late(stores: Stores) -> None:
    who = a_principal()
    await stores.start(who, [a_step("a")])
    [late] = await stores.claimed("late", lease_s=0.01)
    stores.later(1)
    [current] = await eventually(lambda: stores.claimed("w"))

    refused = await stores.store.record(who.tenant_id, "late", [Reported(task=late, kind="x", data={}), well(late)])

    assert (current.attempt, current.fence) == (2, 2)
    assert refused.refused == {late.id}
    assert await stores.store.renew([late.id], worker="late", lease_s=1) == {}
    assert await stores.store.renew([current.id], worker="w", lease_s=60) == {current.id: 2}
    assert (await stores.store.record(who.tenant_id, "w", [well(current)])).refused == frozenset()


async def test_what_a_worker_holds_without_knowing_is_not_renewed(stores: Stores) -> None:
    who = a_principal()
    await stores.start(who, [a_step("a"), a_step("b")])
    tasks = {task.key: task for task in await stores.claimed("busy", lease_s=0.01)}

    renewed = await stores.store.renew([tasks["a"].id], worker="busy", lease_s=60)
    stores.later(1)
    [unknown] = await eventually(lambda: stores.claimed("w"))

    assert (renewed, unknown.key) == ({tasks["a"].id: 1}, "b")
    await stores.store.record(who.tenant_id, "busy", [well(tasks["a"])])
    await stores.store.record(who.tenant_id, "w", [well(unknown)])


async def test_what_belongs_to_a_report_is_written_with_it_or_refused_without_the_others(stores: Stores) -> None:
    who = a_principal()
    run_id = await stores.start(who, [a_step("a"), a_step("b")])
    late = {task.key: task for task in await stores.claimed("late", lease_s=0.01)}
    stores.later(1)
    tasks = {task.key: task for task in await eventually(lambda: stores.claimed("w"))}
    written: list[str] = []

    async def write(_: Any) -> None:
        written.append("it")

    async def refuse(_: Any) -> None:
        raise Invalid("too large")

    def reported(task: ClaimedTask, also: Any) -> Reported:
        return Reported(task=task, kind="x", data={}, also=also)

    too_late = await stores.store.record(who.tenant_id, "late", [reported(late["a"], write)])
    entries = [reported(tasks["a"], refuse), reported(tasks["b"], write), well(tasks["a"]), well(tasks["b"])]
    recorded = await stores.store.record(who.tenant_id, "w", entries)

    assert (too_late.refused, too_late.broken) == ({late["a"].id}, {})
    assert (list(recorded.broken), written) == ([0], ["it"])
    assert (recorded.refused, await stores.status(who, run_id)) == (frozenset(), "succeeded")


async def test_what_is_handed_back_can_be_claimed_and_the_start_does_not_count(stores: Stores) -> None:
    who = a_principal()
    await stores.start(who, [a_step("a")])
    await stores.claimed("leaving")

    assert await stores.store.hand_back(worker="leaving") == 1
    [again] = await stores.claimed("w")

    assert (again.attempt, again.fence) == (1, 2)
    await stores.store.record(who.tenant_id, "w", [well(again)])


async def test_a_retry_is_not_claimed_before_its_time(stores: Stores) -> None:
    who = a_principal()
    await stores.start(who, [a_step("a")])
    [task] = await stores.claimed()

    await stores.store.record(who.tenant_id, "w", [Ended(task=task, outcome=Retrying(problem=WRONG, after_s=0.7))])
    too_early = await stores.claimed()
    stores.later(1)
    [again] = await eventually(stores.claimed)

    assert too_early == []
    assert (again.attempt, again.failures) == (2, 1)
    await stores.store.record(who.tenant_id, "w", [well(again)])


async def test_what_is_postponed_is_held_by_nobody_until_its_time_and_the_start_does_not_count(stores: Stores) -> None:
    who = a_principal()
    await stores.start(who, [a_step("a")])
    [task] = await stores.claimed()

    postponed = Postponed(state={"until": "then"}, after_s=0.7)
    await stores.store.record(who.tenant_id, "w", [Ended(task=task, outcome=postponed)])
    too_early, held = await stores.claimed(), await stores.store.renew([task.id], worker="w", lease_s=60)
    stores.later(1)
    [again] = await eventually(stores.claimed)

    assert (too_early, held) == ([], {})
    assert (again.attempt, again.failures, again.spec) == (1, 0, {STATE: {"until": "then"}})
    await stores.store.record(who.tenant_id, "w", [well(again)])


async def test_a_failure_ends_the_run_and_revokes_what_runs_of_it(stores: Stores) -> None:
    who = a_principal()
    run_id = await stores.start(who, [a_step("a"), a_step("b"), a_step("c", "a")])
    bad, other = await stores.claimed()

    recorded = await stores.store.record(who.tenant_id, "w", [Ended(task=bad, outcome=Failed(problem=WRONG))])

    assert recorded.revoked
    assert await stores.status(who, run_id) == "failed"
    assert await stores.store.renew([bad.id, other.id], worker="w", lease_s=1) == {}
    assert (await stores.store.record(who.tenant_id, "w", [well(other)])).refused == {other.id}


async def test_a_run_grows_by_what_a_task_brings_about(stores: Stores) -> None:
    who = a_principal()
    run_id = await stores.start(who, [a_step("plan")])
    [plan] = await stores.claimed()
    expansion = Expansion(tasks=(a_step("t1"), a_step("t2", "t1")), result_key="t2")

    grown = await stores.store.record(
        who.tenant_id, "w", [Ended(task=plan, outcome=Succeeded(output=None, expansion=expansion))]
    )
    for key in ("t1", "t2"):
        [task] = await stores.claimed()
        assert task.key == key
        await stores.store.record(who.tenant_id, "w", [well(task)])

    assert grown.ready
    assert await stores.status(who, run_id) == "succeeded"


def a_condition(key: str, *, then: str, otherwise: str, holds: bool) -> TaskSpec:
    return TaskSpec(key=key, kind="condition", spec={"left": holds, "then": [then], "else": [otherwise]})


async def test_what_a_condition_did_not_choose_is_skipped_through_tasks_of_every_kind(stores: Stores) -> None:
    who = a_principal()
    graph = [
        a_condition("c", then="yes", otherwise="no", holds=True),
        a_step("yes", "c"),
        a_step("no", "c"),
        a_step("after_no", "no"),
        a_value("last_of_no", "after_no"),
        a_step("join", "yes", "last_of_no"),
    ]
    run_id = await stores.start(who, graph)

    ran = []
    while claimed := await stores.claimed():
        ran += [task.key for task in claimed]
        ends = [
            Ended(task=task, outcome=Succeeded(output=True, skips=frozenset({"no"}))) if task.key == "c" else well(task)
            for task in claimed
        ]
        await stores.store.record(who.tenant_id, "w", ends)

    assert ran == ["c", "yes", "join"]
    assert await stores.status(who, run_id) == "succeeded"


async def test_a_task_that_was_not_chosen_is_skipped_when_the_last_of_its_others_has_ended(stores: Stores) -> None:
    who = a_principal()
    graph = [a_condition("c", then="x", otherwise="no", holds=True), a_step("slow"), a_step("no", "c", "slow")]
    graph += [a_step("after_no", "no"), a_step("x", "c")]
    run_id = await stores.start(who, graph)
    claimed = {task.key: task for task in await stores.claimed()}

    chosen = Ended(task=claimed["c"], outcome=Succeeded(output=True, skips=frozenset({"no"})))
    await stores.store.record(who.tenant_id, "w", [chosen])
    [x] = await stores.claimed()
    await stores.store.record(who.tenant_id, "w", [well(x)])
    before = await stores.status(who, run_id)
    await stores.store.record(who.tenant_id, "w", [well(claimed["slow"])])

    assert (x.key, before) == ("x", "running")
    assert await stores.claimed() == []
    assert await stores.status(who, run_id) == "succeeded"


async def test_a_map_s_items_are_let_go_as_others_end_and_then_the_map_is_over(stores: Stores) -> None:
    who = a_principal()
    spec = {"over": ["a", "b", "c"], "concurrency": 2, "task": {"kind": "http", "input": {"url": "http://x"}}}
    run_id = await stores.start(who, [TaskSpec(key="m", kind="map", spec=spec), a_step("end", "m")])
    [m] = await stores.claimed()
    await stores.store.record(who.tenant_id, "w", [Ended(task=m, outcome=compute_map(m.spec, datetime.now(UTC)))])

    first = await stores.claimed()
    await stores.store.record(who.tenant_id, "w", [well(first[0], "A")])
    [third] = await stores.claimed()
    await stores.store.record(who.tenant_id, "w", [well(first[1], "B"), well(third, "C")])
    [end] = await stores.claimed()
    known = await stores.store.known(who.tenant_id, {run_id: Wanted(outputs=frozenset({"m"}), run_input=False)})

    assert ([task.key for task in first], third.key, end.key) == (["m[0]", "m[1]"], "m[2]", "end")
    assert known[run_id].outputs["m"] == ["A", "B", "C"]
