"""The engine on a real PostgreSQL and a real Redis."""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.kernel.errors import Invalid, Unavailable
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.run import RunAlreadyFinished
from cognitionos.planning.domain.task import ClaimedTask, Expansion, Succeeded, TaskSpec
from cognitionos.platform.config import Settings

QUICK = RetryPolicy(max_attempts=3, backoff_s=0.01)


def a_step(key: str, *after: str, **changes: Any) -> TaskSpec:
    return TaskSpec(**{"key": key, "kind": "step", "depends_on": after, "retry": QUICK, **changes})


def a_value(key: str, *after: str, value: Any = None) -> TaskSpec:
    return TaskSpec(key=key, kind="value", depends_on=after, spec={"input": value})


def a_chain(length: int) -> list[TaskSpec]:
    return [a_value(f"t{n}", *([f"t{n - 1}"] if n else []), value=n) for n in range(length)]


async def claimed(bench: Bench, worker: str, *, lease_s: float) -> list[ClaimedTask]:
    return (await bench.store.claim(worker=worker, slots=1, lease_s=lease_s)).tasks


async def its_end(bench: Bench, who: Principal, run_id: UUID, *, timeout_s: float = 30) -> str:
    async def final() -> str | None:
        status = await bench.status(who, run_id)
        return status if status in {"succeeded", "failed", "cancelled"} else None

    return await eventually(final, timeout_s=timeout_s) or ""


async def kinds(bench: Bench, who: Principal, run_id: UUID) -> list[str]:
    rows = await bench.rows(who.tenant_id, "SELECT kind, seq FROM run_events WHERE run_id = %s ORDER BY seq", run_id)
    assert [row[1] for row in rows] == list(range(1, len(rows) + 1))
    return [row[0] for row in rows]


async def statuses(bench: Bench, who: Principal, run_id: UUID) -> dict[str, str]:
    return dict(await bench.rows(who.tenant_id, "SELECT key, status FROM tasks WHERE run_id = %s", run_id))


async def succeed(task: ClaimedTask, report: Report) -> Succeeded:
    return Succeeded(output=task.key)


async def test_a_graph_of_steps_runs_each_after_what_it_depends_on(bench: Bench) -> None:
    order: list[str] = []

    async def note(task: ClaimedTask, report: Report) -> Succeeded:
        order.append(task.key)
        return Succeeded(output=task.key)

    who = a_principal()
    async with running_loops(bench.engine({"step": note})):
        run_id = await bench.runs.start(who, [a_step("end", "left", "right"), a_step("left"), a_step("right")])
        assert await its_end(bench, who, run_id) == "succeeded"

    assert set(order[:2]) == {"left", "right"}
    assert order[2:] == ["end"]


async def test_a_chain_of_ten_thousand_values_ends_in_time_and_in_few_commits(
    bench: Bench, database: TestDatabase
) -> None:
    who = a_principal()
    run_id = await bench.runs.start(who, a_chain(10_000))
    before = _commits(database)

    async with running_loops(bench.engine()):
        assert await its_end(bench, who, run_id, timeout_s=20) == "succeeded"

    assert (_commits(database) - before) / 10_000 <= 0.1
    outputs = await bench.rows(who.tenant_id, "SELECT output FROM tasks WHERE run_id = %s ORDER BY position", run_id)
    assert [row[0] for row in outputs] == list(range(10_000))


async def test_values_and_steps_mix_in_one_graph(bench: Bench) -> None:
    who = a_principal()
    graph = [
        a_value("a"),
        a_step("b", "a"),
        a_value("c", "b"),
        a_value("d", "a"),
        a_value("e", "c", "d"),
        a_step("f", "e"),
    ]

    async with running_loops(bench.engine({"step": succeed})):
        run_id = await bench.runs.start(who, graph)
        assert await its_end(bench, who, run_id) == "succeeded"

    assert set((await statuses(bench, who, run_id)).values()) == {"succeeded"}
    assert (await kinds(bench, who, run_id))[-1] == "run.succeeded"


async def test_two_engines_share_the_work_and_do_each_task_once(bench: Bench) -> None:
    done: list[tuple[str, str]] = []

    def by(name: str) -> Any:
        async def handle(task: ClaimedTask, report: Report) -> Succeeded:
            done.append((name, task.key))
            await asyncio.sleep(0)
            return Succeeded(output=None)

        return handle

    who = a_principal()
    engines = [bench.engine({"step": by(name)}, slots=4) for name in ("one", "two")]
    async with running_loops(*engines):
        run_id = await bench.runs.start(who, [a_step(f"t{n}") for n in range(200)])
        assert await its_end(bench, who, run_id) == "succeeded"

    assert sorted(key for _, key in done) == sorted(f"t{n}" for n in range(200))
    assert {name for name, _ in done} == {"one", "two"}


async def test_a_task_of_a_dead_worker_is_taken_over_when_its_lease_runs_out(bench: Bench) -> None:
    who = a_principal()
    run_id = await bench.runs.start(who, [a_step("t1")])
    await eventually(lambda: claimed(bench, "dead", lease_s=0.2))

    async with running_loops(bench.engine({"step": succeed}, sweep_s=0.1)):
        assert await its_end(bench, who, run_id) == "succeeded"

    assert await bench.rows(who.tenant_id, "SELECT attempt, fence FROM tasks WHERE run_id = %s", run_id) == [(2, 2)]
    assert (await kinds(bench, who, run_id)).count("task.taken_over") == 1


def test_by_default_a_missed_sign_of_life_is_noticed_and_taken_over_within_30_s() -> None:
    by_default = {name: field.default for name, field in Settings.model_fields.items()}

    assert by_default["lease_s"] + 2 * by_default["sweep_s"] < 30


async def test_a_late_writer_is_refused_by_its_fencing_number(bench: Bench) -> None:
    from cognitionos.planning.domain.step import Ended

    who = a_principal()
    run_id = await bench.runs.start(who, [a_step("t1")])
    [late] = await claimed(bench, "late", lease_s=0.01)
    [current] = await eventually(lambda: claimed(bench, "current", lease_s=10))

    refused = await bench.store.record(
        who.tenant_id, "late", [Ended(task=late, outcome=Succeeded(output="from the late one"))]
    )
    taken = await bench.store.record(who.tenant_id, "current", [Ended(task=current, outcome=Succeeded(output="right"))])

    assert (refused.refused, taken.refused) == ({late.id}, set())
    assert await bench.rows(who.tenant_id, "SELECT output FROM tasks WHERE run_id = %s", run_id) == [("right",)]


async def test_a_passing_error_is_tried_again_and_a_refusal_is_not(bench: Bench) -> None:
    tries: list[int] = []

    async def flaky(task: ClaimedTask, report: Report) -> Succeeded:
        tries.append(task.attempt)
        if len(tries) < 3:
            raise Unavailable("not now")
        return Succeeded(output=None)

    async def refused(task: ClaimedTask, report: Report) -> Succeeded:
        raise Invalid("never")

    who = a_principal()
    async with running_loops(bench.engine({"step": flaky, "bad": refused})):
        good = await bench.runs.start(who, [a_step("t1")])
        bad = await bench.runs.start(who, [a_step("t1", kind="bad"), a_step("t2", "t1"), a_value("t3", "t2")])
        assert (await its_end(bench, who, good), await its_end(bench, who, bad)) == ("succeeded", "failed")

    assert tries == [1, 2, 3]
    assert (await kinds(bench, who, good)).count("task.retrying") == 2
    assert await statuses(bench, who, bad) == {"t1": "failed", "t2": "cancelled", "t3": "cancelled"}
    rows = await bench.rows(who.tenant_id, "SELECT error FROM runs WHERE id = %s", bad)
    assert rows[0][0] == {"type": "/problems/invalid", "title": "Invalid", "detail": "never"}


async def test_attempts_are_used_up_in_the_end(bench: Bench) -> None:
    async def never(task: ClaimedTask, report: Report) -> Succeeded:
        raise Unavailable("not now")

    who = a_principal()
    async with running_loops(bench.engine({"step": never})):
        run_id = await bench.runs.start(who, [a_step("t1")])
        assert await its_end(bench, who, run_id) == "failed"

    assert await bench.rows(who.tenant_id, "SELECT attempt, failures FROM tasks WHERE run_id = %s", run_id) == [(3, 3)]


async def test_a_task_that_takes_too_long_is_stopped_and_named(bench: Bench) -> None:
    async def forever(task: ClaimedTask, report: Report) -> Succeeded:
        await asyncio.Event().wait()
        raise AssertionError

    who = a_principal()
    async with running_loops(bench.engine({"step": forever})):
        once = RetryPolicy(max_attempts=1)
        run_id = await bench.runs.start(who, [a_step("slow", timeout_s=0.05, retry=once)])
        assert await its_end(bench, who, run_id) == "failed"

    [(error,)] = await bench.rows(who.tenant_id, "SELECT error FROM runs WHERE id = %s", run_id)
    assert error["type"] == "/problems/task-timed-out"
    assert "slow" in error["detail"]


async def test_cancelling_stops_what_runs_within_a_second_and_starts_nothing_more(bench: Bench) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def until_stopped(task: ClaimedTask, report: Report) -> Succeeded:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise
        raise AssertionError

    who = a_principal()
    async with running_loops(bench.engine({"step": until_stopped})):
        run_id = await bench.runs.start(who, [a_step("t1"), a_step("t2", "t1")])
        await started.wait()
        await bench.runs.cancel(who, run_id)
        async with asyncio.timeout(1):
            await stopped.wait()

    assert await statuses(bench, who, run_id) == {"t1": "cancelled", "t2": "cancelled"}
    assert (await kinds(bench, who, run_id))[-1] == "run.cancelled"
    with pytest.raises(RunAlreadyFinished):
        await bench.runs.cancel(who, run_id)


async def test_a_stopping_worker_hands_back_and_the_interrupted_start_does_not_count(bench: Bench) -> None:
    started = asyncio.Event()

    async def forever(task: ClaimedTask, report: Report) -> Succeeded:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    who = a_principal()
    async with running_loops(bench.engine({"step": forever}, lease_s=0.4)):
        run_id = await bench.runs.start(who, [a_step("t1")])
        await started.wait()

    assert await bench.rows(who.tenant_id, "SELECT status, attempt FROM tasks WHERE run_id = %s", run_id) == [
        ("ready", 0)
    ]
    async with running_loops(bench.engine({"step": succeed})):
        assert await its_end(bench, who, run_id) == "succeeded"


async def test_a_task_that_ends_while_the_worker_stops_is_written(bench: Bench) -> None:
    started, finish = asyncio.Event(), asyncio.Event()

    async def soon(task: ClaimedTask, report: Report) -> Succeeded:
        started.set()
        await finish.wait()
        return Succeeded(output="in time")

    who = a_principal()
    async with running_loops(bench.engine({"step": soon})):
        run_id = await bench.runs.start(who, [a_step("t1")])
        await started.wait()
        asyncio.get_running_loop().call_later(0.05, finish.set)

    assert await bench.status(who, run_id) == "succeeded"


async def test_a_tenant_with_many_tasks_does_not_starve_one_with_a_single_task(bench: Bench) -> None:
    order: list[UUID] = []

    async def note(task: ClaimedTask, report: Report) -> Succeeded:
        order.append(task.tenant_id)
        await asyncio.sleep(0.002)
        return Succeeded(output=None)

    many, single = a_principal(), a_principal()
    first = await bench.runs.start(many, [a_step(f"t{n}") for n in range(100)])
    second = await bench.runs.start(single, [a_step("t1")])
    async with running_loops(bench.engine({"step": note}, slots=4)):
        await its_end(bench, many, first)
        assert await its_end(bench, single, second) == "succeeded"

    assert order.index(single.tenant_id) < 12


async def test_an_outcome_can_grow_the_run_and_the_named_output_is_its_result(bench: Bench) -> None:
    async def plan(task: ClaimedTask, report: Report) -> Succeeded:
        await report("plan.thought", {"of": "everything"})
        tasks = (a_step("t1"), a_step("t2"), a_step("summary", "t1", "t2"))
        return Succeeded(output={"tasks": []}, expansion=Expansion(tasks=tasks, result_key="summary"))

    async def answer(task: ClaimedTask, report: Report) -> Succeeded:
        return Succeeded(output={"text": f"said by {task.key}"}, details={"model": "a/b"})

    who = a_principal()
    async with running_loops(bench.engine({"plan": plan, "step": answer})):
        run_id = await bench.runs.start(who, [TaskSpec(key="plan", kind="plan")])
        assert await its_end(bench, who, run_id) == "succeeded"

    [(text, total)] = await bench.rows(who.tenant_id, "SELECT result_text, total_tasks FROM runs WHERE id = %s", run_id)
    assert (text, total) == ("said by summary", 4)
    seen = await kinds(bench, who, run_id)
    assert seen[:6] == ["run.queued", "run.started", "task.started", "plan.thought", "task.succeeded", "run.planned"]


async def test_a_large_output_has_a_row_of_its_own_and_reaches_its_dependents(bench: Bench) -> None:
    seen: dict[str, Any] = {}

    async def give(task: ClaimedTask, report: Report) -> Succeeded:
        seen.update((await bench.store.upstream(task)).outputs)
        return Succeeded(output="x" * 100_000 if task.key == "big" else "nul \x00 and \\u0000")

    who = a_principal()
    async with running_loops(bench.engine({"step": give})):
        run_id = await bench.runs.start(who, [a_step("big"), a_step("after", "big")])
        assert await its_end(bench, who, run_id) == "succeeded"

    assert seen == {"big": "x" * 100_000}
    rows = await bench.rows(who.tenant_id, "SELECT output, output_payload IS NULL FROM tasks WHERE run_id = %s", run_id)
    assert sorted(rows, key=str) == [("nul  and \\u0000", True), (None, False)]


async def test_other_tenants_see_nothing_of_a_run(bench: Bench) -> None:
    who, other = a_principal(), a_principal()
    async with running_loops(bench.engine({"step": succeed})):
        run_id = await bench.runs.start(who, [a_step("t1")])
        await its_end(bench, who, run_id)

    for table in ("runs", "tasks", "run_events"):
        assert await bench.rows(other.tenant_id, f"SELECT 1 FROM {table}") == []
        assert await bench.rows(who.tenant_id, f"SELECT 1 FROM {table}") != []


def _commits(database: TestDatabase) -> int:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        return int(row[0]) if row else 0
