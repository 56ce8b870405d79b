"""Runs that tasks start: held with the run that started them, and paid with it."""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any, cast

from tests.api.agent_stage import a_stage
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.planning.application.ports import Handler, Report
from cognitionos.planning.domain.task import ClaimedTask, Outcome
from cognitionos.platform.config import Settings

INNER = {"say": {"kind": "value", "input": "said"}}
OUTER = {"inside": {"kind": "workflow", "input": {"workflow": "inner"}}}
WRITE = {"kind": "agent", "input": {"instructions": "Write."}}


def held_at_its_start(app: PlanningApp) -> tuple[asyncio.Event, asyncio.Event]:
    """From now on tasks that start runs say so (first event) and go on when they are let (second event)."""
    handlers = cast("dict[str, Handler]", app.services.engine.handlers)
    start, entered, let_go = handlers["workflow"], asyncio.Event(), asyncio.Event()

    async def hold(task: ClaimedTask, report: Report) -> Outcome:
        entered.set()
        await let_go.wait()
        return await start(task, report)

    handlers["workflow"] = hold
    return entered, let_go


async def test_a_run_started_by_a_task_that_was_at_work_when_its_run_was_paused_is_paused_too(
    settings: Settings,
) -> None:
    async with planning_app(settings) as app:
        app.script([])
        for name, tasks in (("inner", INNER), ("outer", OUTER)):
            await app.client.post("/v1/workflows", json={"name": name, "tasks": tasks})
        entered, let_go = held_at_its_start(app)
        href = (await app.client.post("/v1/runs", json={"workflow": "outer"})).headers["location"]

        await entered.wait()
        await app.client.post(f"{href}/pause")
        let_go.set()
        child: dict[str, Any] = await eventually(lambda: the_child(app, href))
        await app.client.post(f"{href}/resume")

        async def both_ended() -> bool:
            runs = [(await app.client.get(each)).json()["status"] for each in (href, child["href"])]
            return runs == ["succeeded", "succeeded"]

        assert (child["status"], child["tasks"]["paused"], child["tasks"]["ready"]) == ("paused", 1, 0)
        await eventually(both_ended)


async def the_child(app: PlanningApp, href: str) -> dict[str, Any] | None:
    """The run that the only task of this one has started."""
    [task] = (await app.client.get(f"{href}/tasks")).json()["items"]
    rows = await app.services.queries.runs(app.who.tenant_id, limit=1, after=None, status=None)
    newest = (await app.client.get(rows[0].href)).json()
    found = newest if rows[0].href != href else None
    return found | {"href": rows[0].href} if found and task["status"] != "running" else None


async def test_the_cost_of_a_run_is_its_own_and_that_of_the_runs_it_started(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        client = await a_stage(stack, settings, [{"say": "Written."}])
        outer = {"own": WRITE, "inside": {"kind": "workflow", "input": {"workflow": "writing"}}}
        for name, tasks in (("writing", {"write": WRITE, "again": WRITE}), ("both", outer)):
            made = await client.post("/v1/workflows", json={"name": name, "tasks": tasks})
            assert made.status_code == 201, made.text
        href = (await client.post("/v1/runs", json={"workflow": "both"})).headers["location"]

        async def ended() -> dict[str, Any] | None:
            run: dict[str, Any] = (await client.get(href)).json()
            return run if run["status"] in {"succeeded", "failed"} else None

        run: dict[str, Any] = await eventually(ended, timeout_s=30)
        paid = (await client.get("/v1/usage", params={"group_by": "run", "kind": "chat"})).json()

        assert run["status"] == "succeeded", run
        assert (len(paid["groups"]), paid["total_calls"]) == (2, 3)
        assert Decimal(run["cost_usd"]) == Decimal(paid["total_usd"]) > 0


async def test_a_nested_run_that_waits_is_seen_from_above_and_in_the_list(settings: Settings) -> None:
    async with planning_app(settings) as app:
        app.script([])
        inner = {"wait": {"kind": "wait", "input": {"signal": "go"}}}
        for name, tasks in (("inner", inner), ("outer", OUTER)):
            await app.client.post("/v1/workflows", json={"name": name, "tasks": tasks})
        href = (await app.client.post("/v1/runs", json={"workflow": "outer"})).headers["location"]

        async def begun() -> dict[str, Any] | None:
            [task] = (await app.client.get(f"{href}/tasks")).json()["items"]
            waits = (await app.client.get(href)).json()["status"] == "waiting"
            return task if task["details"] and waits else None

        task: dict[str, Any] = await eventually(begun)
        counts = (await app.client.get(href)).json()["tasks"]
        listed = {run["href"]: run for run in (await app.client.get("/v1/runs")).json()["items"]}
        child = listed[f"/v1/runs/{task['details']['run_id']}"]

        assert (task["status"], task["attempt"], counts["running"], counts["ready"]) == ("running", 1, 1, 0)
        assert f"/v1/runs/{child['parent_run_id']}" == href
        assert listed[href]["parent_run_id"] is None
        assert (listed[href]["status"], child["status"]) == ("waiting", "waiting")

        await app.client.post(f"{child['href']}/signals/go", json={})

        async def ended() -> bool:
            return bool((await app.client.get(href)).json()["status"] == "succeeded")

        await eventually(ended)
