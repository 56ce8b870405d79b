"""Workflows that grow as they go: they fail by their own limit, and hold up nobody else."""

from typing import Any

import pytest
from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.integration.planning.test_references import FINAL, a_step, a_value, echo, ended, outputs, ref
from tests.waiting import eventually

from cognitionos.planning.domain.intake import MOST_IN
from cognitionos.planning.domain.task import TaskSpec

QUARTER = "x" * (MOST_IN // 4)


def doubling(times: int) -> list[TaskSpec]:
    """A few bytes each: every task says the one before it twice."""
    return [a_value("t0", of="0123456789")] + [
        a_value(f"t{n}", f"t{n - 1}", of={"a": ref(f"tasks.t{n - 1}.output"), "b": ref(f"tasks.t{n - 1}.output")})
        for n in range(1, times + 1)
    ]


async def error_of(bench: Bench, who: Any, run_id: Any) -> dict[str, str]:
    [[error]] = await bench.rows(who.tenant_id, "SELECT error FROM runs WHERE id = %s", run_id)
    return dict(error)


async def test_a_value_that_doubles_with_each_task_fails_its_run_and_holds_up_nobody(bench: Bench) -> None:
    who, other = a_principal(), a_principal()
    async with running_loops(bench.engine()):
        theirs = await bench.runs.start(who, doubling(40))
        mine = await bench.runs.start(other, [a_value("a", of=1)])

        for tenant, run_id in ((who, theirs), (other, mine)):

            async def final(tenant: Any = tenant, run_id: Any = run_id) -> bool:
                return await bench.status(tenant, run_id) in FINAL

            await eventually(final, timeout_s=30)

    error = await error_of(bench, who, theirs)
    assert (await bench.status(other, mine), await bench.status(who, theirs)) == ("succeeded", "failed")
    assert error["type"] == "/problems/input-too-large"
    assert "tasks.t" in error["detail"]
    assert "field 'input'" in error["detail"]


@pytest.mark.parametrize(
    "last",
    [
        a_step("b", "a", x=[ref("tasks.a.output")] * 5),
        TaskSpec(key="b", kind="condition", depends_on=("a",), spec={"left": [ref("tasks.a.output")] * 5}),
        TaskSpec(key="b", kind="map", depends_on=("a",), spec={"over": [ref("tasks.a.output")] * 5, "task": {}}),
        TaskSpec(
            key="b",
            kind="map",
            depends_on=("a",),
            spec={"over": [1] * 5, "task": {"kind": "value", "input": ref("tasks.a.output")}},
        ),
    ],
    ids=["step", "condition", "map-over", "map-items"],
)
async def test_no_kind_takes_in_more_than_is_allowed(bench: Bench, last: TaskSpec) -> None:
    who = a_principal()

    run_id, status = await ended(bench, who, [a_value("a", of=QUARTER), last])

    error = await error_of(bench, who, run_id)
    assert (status, error["type"]) == ("failed", "/problems/input-too-large")


async def test_a_run_computes_more_than_one_commit_may_hold_in_several(bench: Bench) -> None:
    """Below a value within the commits of its parents, and below a step as claimed together."""
    who, wide = a_principal(), 12
    graph = [a_value("a", of=QUARTER), a_step("s", "a")]
    graph += [a_value(f"v{n}", "a", of=ref("tasks.a.output")) for n in range(wide)]
    graph += [a_value("end", "s", *(f"v{n}" for n in range(wide)), of=[ref(f"tasks.v{n}.output") for n in range(3)])]

    run_id, status = await ended(bench, who, graph)

    found = await outputs(bench, who, run_id)
    sizes = dict(
        await bench.rows(who.tenant_id, "SELECT key, output_bytes FROM tasks WHERE run_id = %s ORDER BY 1", run_id)
    )
    attempts = await bench.rows(who.tenant_id, "SELECT DISTINCT attempt FROM tasks WHERE run_id = %s", run_id)
    assert status == "succeeded"
    assert (found["end"], found["v7"] == QUARTER) == ([QUARTER] * 3, True)
    assert sizes["v7"] == len(QUARTER) + 2
    assert {each for [each] in attempts} <= {0, 1}


async def test_what_all_refer_to_together_is_read_in_parts(bench: Bench) -> None:
    """Twelve large outputs, and a task for each that asks for little of it, started together by a wait."""
    who, wide = a_principal(), 12
    large = {"much": QUARTER, "little": 1}
    graph = [a_value(f"v{n}", of=large) for n in range(wide)]
    graph += [TaskSpec(key="w", kind="wait", depends_on=tuple(f"v{n}" for n in range(wide)), spec={"duration_s": 0.1})]
    graph += [a_value(f"r{n}", "w", f"v{n}", of=ref(f"tasks.v{n}.output.little")) for n in range(wide)]
    graph += [a_step("s", "w", few=ref("tasks.v3.output.little"))]

    run_id, status = await ended(bench, who, graph)

    found = await outputs(bench, who, run_id)
    assert status == "succeeded"
    assert [found[f"r{n}"] for n in range(wide)] == [1] * wide
    assert found["s"] == {"few": 1}


async def test_a_task_that_refers_to_too_much_at_once_is_told_so(bench: Bench) -> None:
    who, keys = a_principal(), [f"v{n}" for n in range(12)]
    graph = [a_value(key, of={"much": QUARTER, "little": 1}) for key in keys]

    run_id, status = await ended(
        bench, who, [*graph, a_step("end", *keys, x=[ref(f"tasks.{key}.output.little") for key in keys])]
    )

    error = await error_of(bench, who, run_id)
    assert (status, error["type"]) == ("failed", "/problems/input-too-large")


async def test_a_run_that_grows_can_be_cancelled(bench: Bench) -> None:
    who = a_principal()
    graph = [a_value("t0", of=QUARTER)] + [
        a_value(f"t{n}", f"t{n - 1}", of=ref(f"tasks.t{n - 1}.output")) for n in range(1, 200)
    ]
    async with running_loops(bench.engine({"step": echo})):
        run_id = await bench.runs.start(who, graph)

        async def under_way() -> bool:
            query = "SELECT EXISTS (SELECT FROM tasks WHERE run_id = %s AND status = 'succeeded')"
            [[found]] = await bench.rows(who.tenant_id, query, run_id)
            return bool(found)

        await eventually(under_way, timeout_s=20)
        await bench.runs.cancel(who, run_id)

    assert await bench.status(who, run_id) == "cancelled"
