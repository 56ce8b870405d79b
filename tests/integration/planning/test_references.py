"""References on the real engine: within one commit, across commits, for tasks of every kind, and when they fail."""

from typing import Any
from uuid import UUID

from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.waiting import eventually

from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.ports import Report
from cognitionos.planning.application.runs import StartedFrom
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec

FINAL = {"succeeded", "failed", "cancelled"}


def ref(text: str) -> dict[str, str]:
    return {"$ref": text}


def a_value(key: str, *after: str, of: Any = None) -> TaskSpec:
    return TaskSpec(key=key, kind="value", depends_on=after, spec={"input": of})


def a_step(key: str, *after: str, **spec: Any) -> TaskSpec:
    return TaskSpec(key=key, kind="step", depends_on=after, spec=spec)


async def echo(task: ClaimedTask, report: Report) -> Succeeded:
    return Succeeded(output=dict(task.spec))


async def ended(bench: Bench, who: Principal, graph: list[TaskSpec], *, of: Any = None) -> tuple[UUID, str]:
    origin = StartedFrom(workflow="w", version=1, input=of, result_key=graph[-1].key)
    async with running_loops(bench.engine({"step": echo, "http": echo})):
        run_id = await bench.runs.start(who, graph, origin=origin)

        async def final() -> str | None:
            status = await bench.status(who, run_id)
            return status if status in FINAL else None

        return run_id, await eventually(final) or ""


async def outputs(bench: Bench, who: Principal, run_id: UUID) -> dict[str, Any]:
    query = (
        "SELECT t.key, coalesce(p.body, t.output) FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload"
        " WHERE t.run_id = %s"
    )
    return dict(await bench.rows(who.tenant_id, query, run_id))


async def test_values_and_steps_see_what_came_before_and_the_run_s_input(bench: Bench) -> None:
    who = a_principal()
    graph = [
        a_value("a", of=ref("run.input.n")),
        a_value("b", "a", of={"was": ref("tasks.a.output")}),
        a_step("c", "b", got=ref("tasks.b.output.was"), also=ref("run.input")),
        a_value("d", "c", of=[ref("tasks.c.output.got"), ref("tasks.a.output")]),
        a_value("e", "d", of=ref("tasks.d.output.0")),
    ]

    run_id, status = await ended(bench, who, graph, of={"n": 7})

    assert status == "succeeded"
    assert await outputs(bench, who, run_id) == {
        "a": 7,
        "b": {"was": 7},
        "c": {"got": 7, "also": {"n": 7}},
        "d": [7, 7],
        "e": 7,
    }


async def test_a_large_output_is_found_where_it_lives(bench: Bench) -> None:
    who = a_principal()
    large = "x" * 100_000
    graph = [a_value("a", of=large), a_step("s", "a"), a_value("b", "s", of=ref("tasks.a.output"))]

    run_id, _ = await ended(bench, who, graph)

    assert (await outputs(bench, who, run_id))["b"] == large


async def test_a_reference_that_leads_to_nothing_fails_the_run_and_is_named(bench: Bench) -> None:
    who = a_principal()

    for last in (
        a_value("b", "a", of=ref("tasks.a.output.missing")),
        a_step("b", "a", x=ref("tasks.a.output.missing")),
    ):
        run_id, status = await ended(bench, who, [a_value("a", of={"there": 1}), last])

        [[error]] = await bench.rows(who.tenant_id, "SELECT error FROM runs WHERE id = %s", run_id)
        assert status == "failed"
        assert error["type"] == "/problems/unresolved-reference"
        assert "tasks.a.output.missing" in error["detail"]


async def test_what_a_reference_brings_in_must_suit_the_kind(bench: Bench) -> None:
    who = a_principal()
    graph = [TaskSpec(key="a", kind="http", spec={"url": ref("run.input.url")})]

    run_id, status = await ended(bench, who, graph, of={"url": 5})

    [[error]] = await bench.rows(who.tenant_id, "SELECT error FROM runs WHERE id = %s", run_id)
    assert (status, error["type"]) == ("failed", "/problems/invalid-task-input")


async def test_a_hundred_waits_hold_no_slot_and_end_together(bench: Bench) -> None:
    who = a_principal()
    graph = [TaskSpec(key=f"w{n}", kind="wait", spec={"duration_s": ref("run.input")}) for n in range(100)]
    graph += [a_step("s"), a_value("end", "s", *(task.key for task in graph), of=ref("tasks.w7.output.until"))]

    run_id, status = await ended(bench, who, graph, of=0.3)

    rows = await bench.rows(who.tenant_id, "SELECT kind, count(*) FROM run_events WHERE run_id = %s GROUP BY 1", run_id)
    query = "SELECT DISTINCT attempt FROM tasks WHERE run_id = %s AND kind = 'wait'"
    attempts = await bench.rows(who.tenant_id, query, run_id)
    assert status == "succeeded"
    assert dict(rows)["task.waiting"] == 100
    assert attempts == [(1,)]


async def test_a_chain_of_ten_thousand_references_ends_in_time(bench: Bench) -> None:
    who = a_principal()
    graph = [a_value("t0", of=ref("run.input"))]
    graph += [a_value(f"t{n}", f"t{n - 1}", of=ref(f"tasks.t{n - 1}.output")) for n in range(1, 10_000)]

    run_id, status = await ended(bench, who, graph, of="on and on")

    [[last, text]] = await bench.rows(
        who.tenant_id,
        "SELECT t.output, r.result_text FROM tasks t JOIN runs r ON r.id = t.run_id"
        " WHERE r.id = %s AND t.key = 't9999'",
        run_id,
    )
    assert (status, last, text) == ("succeeded", "on and on", "on and on")


async def error_of(bench: Bench, who: Principal, run_id: UUID) -> dict[str, Any]:
    [(error,)] = await bench.rows(who.tenant_id, "SELECT error FROM runs WHERE id = %s", run_id)
    found: dict[str, Any] = error
    return found


async def test_tasks_that_double_what_they_get_end_with_the_task_named_before_it_fills_the_memory(
    bench: Bench,
) -> None:
    who = a_principal()
    graph = [a_value("t0", of="x" * 1000)]
    graph += [a_value(f"t{n}", f"t{n - 1}", of=[ref(f"tasks.t{n - 1}.output")] * 2) for n in range(1, 60)]

    run_id, status = await ended(bench, who, graph)

    error = await error_of(bench, who, run_id)
    assert (status, error["type"]) == ("failed", "/problems/input-too-large")
    assert "What 'tasks.t12.output' leads to is too much: a task takes in 8 MiB" in error["detail"]


async def test_a_chain_that_nests_what_it_gets_ends_at_a_depth_and_says_so(bench: Bench) -> None:
    who = a_principal()
    graph = [a_value("t0", of=1)]
    graph += [a_value(f"t{n}", f"t{n - 1}", of={"more": ref(f"tasks.t{n - 1}.output")}) for n in range(1, 2_000)]

    run_id, status = await ended(bench, who, graph)

    error = await error_of(bench, who, run_id)
    done = await outputs(bench, who, run_id)
    assert (status, error["type"]) == ("failed", "/problems/input-too-large")
    assert "What 'tasks.t257.output' leads to has more than 256 lists and objects within each other" in error["detail"]
    assert done["t257"] is not None


async def test_a_map_that_gives_more_than_fits_fails_instead_of_its_worker(bench: Bench) -> None:
    who = a_principal()
    item = {"kind": "value", "input": ref("run.input")}
    graph = [TaskSpec(key="m", kind="map", spec={"over": list(range(40)), "task": item})]

    run_id, status = await ended(bench, who, graph, of="x" * (1024 * 1024))

    assert (status, (await error_of(bench, who, run_id))["type"]) == ("failed", "/problems/input-too-large")
