"""When a task is tried again, and what a retry of the run finds of a commit in which one task failed."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.waiting import eventually

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.step import Ended, Entry
from cognitionos.planning.domain.task import ClaimedTask, Expansion, Failed, Problem, Succeeded, TaskSpec

WRONG = Problem(type="/problems/wrong", title="Wrong", detail="it went wrong")


@pytest.fixture(autouse=True)
def nothing_left(bench: Bench, run: Any) -> None:
    async def hand_back() -> None:
        async with bench.base.database.connection() as connection:
            await connection.execute("SELECT hand_back_tasks('w')")

    run(hand_back())


def a_step(key: str, *after: str) -> TaskSpec:
    return TaskSpec(key=key, kind="step", depends_on=after)


def ended(task: ClaimedTask, *, plan: Expansion) -> Entry:
    """How a task ends that goes well: `c` chooses `yes`, `plan` brings its tasks about."""
    cut = frozenset({"no"}) if task.key == "c" else frozenset()
    expansion = plan if task.key == "plan" else None
    return Ended(task=task, outcome=Succeeded(output=task.key, skips=cut, expansion=expansion))


async def test_what_was_decided_beside_a_failure_is_decided_again(bench: Bench) -> None:
    who = a_principal()
    choice = TaskSpec(key="c", kind="condition", spec={"left": True, "then": ["yes"], "else": ["no"]})
    graph = [choice, a_step("fails"), a_step("plan"), a_step("yes", "c"), a_step("no", "c"), a_step("join", "no")]
    planned = Expansion(tasks=(a_step("t1"),), result_key="t1")
    run_id = await bench.runs.start(who, graph)
    first = {task.key: task for task in (await bench.store.claim(worker="w", slots=10, lease_s=60)).tasks}
    failure = Ended(task=first["fails"], outcome=Failed(problem=WRONG))

    decided = [ended(first[key], plan=planned) for key in ("c", "plan")]
    await bench.store.record(who.tenant_id, "w", [*decided, failure])
    before = await bench.status(who, run_id)
    async with bench.runs.begin(who.tenant_id) as work:
        await work.runs.retry(await work.runs.locked(run_id), bench.base.now())
    ran: list[str] = []
    while claimed := (await bench.store.claim(worker="w", slots=10, lease_s=60)).tasks:
        ran += [task.key for task in claimed]
        await bench.store.record(who.tenant_id, "w", [ended(task, plan=planned) for task in claimed])
    skipped = await bench.rows(
        who.tenant_id, "SELECT key FROM tasks WHERE run_id = %s AND status = 'skipped' ORDER BY key", run_id
    )

    assert before == "failed"
    assert sorted(ran) == ["c", "fails", "plan", "t1", "yes"]
    assert skipped == [("join",), ("no",)]
    assert await bench.status(who, run_id) == "succeeded"


@pytest.mark.parametrize(("only", "tries", "status"), [((), 1, "failed"), (("invalid",), 3, "succeeded")])
async def test_a_policy_says_which_problems_are_tried_again(
    bench: Bench, only: tuple[str, ...], tries: int, status: str
) -> None:
    seen: list[int] = []

    async def refused_twice(task: ClaimedTask, report: Report) -> Succeeded:
        seen.append(task.attempt)
        if len(seen) < 3:
            raise Invalid("not this time")
        return Succeeded(output=None)

    who, policy = a_principal(), RetryPolicy(max_attempts=5, backoff_s=0.01, only=only)
    async with running_loops(bench.engine({"step": refused_twice})):
        run_id = await bench.runs.start(who, [replace(a_step("t"), retry=policy)])
        assert await eventually(lambda: _ended(bench, who, run_id)) == status

    assert len(seen) == tries


async def test_a_task_without_a_sign_of_life_is_begun_anew_and_one_that_gives_them_goes_on(bench: Bench) -> None:
    beats: list[int] = []

    async def slow(task: ClaimedTask, report: Report) -> Succeeded:
        for number in range(6):
            await asyncio.sleep(0.25)
            beats.append(number)
            await report("step", {"number": number})
        return Succeeded(output="slow")

    async def silent(task: ClaimedTask, report: Report) -> Succeeded:
        if task.attempt == 1:
            await asyncio.Event().wait()
        return Succeeded(output="anew")

    who, policy = a_principal(), RetryPolicy(max_attempts=2, backoff_s=0.01)
    graph = [
        TaskSpec(key=kind, kind=kind, spec={"heartbeat_s": 1.0}, retry=policy, timeout_s=60)
        for kind in ("slow", "silent")
    ]
    async with running_loops(bench.engine({"slow": slow, "silent": silent})):
        run_id = await bench.runs.start(who, graph)
        assert await eventually(lambda: _ended(bench, who, run_id)) == "succeeded"

    assert len(beats) == 6
    query = "SELECT data FROM run_events WHERE run_id = %s AND kind = 'task.retrying'"
    [(retried,)] = await bench.rows(who.tenant_id, query, run_id)
    assert retried["error"]["type"] == "/problems/task-stalled"


async def _ended(bench: Bench, who: Principal, run_id: UUID) -> str | None:
    status = await bench.status(who, run_id)
    return status if status in {"succeeded", "failed"} else None
