"""Schedules over HTTP, fired by a real scheduler beside a real engine."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from tests.edge import a_caller
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.fakes.planning_engine import a_principal
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    opened = run(stack.enter_async_context(planning_app(settings)))
    tasks = {"a": {"kind": "value", "input": {"$ref": "run.input.greeting"}}}
    run(opened.client.post("/v1/workflows", json={"name": "greet", "tasks": tasks}))
    slow = {"a": {"kind": "wait", "input": {"duration_s": 3600}}}
    run(opened.client.post("/v1/workflows", json={"name": "slow", "tasks": slow}))
    yield opened
    run(stack.aclose())


GREET = {"name": "greet", "input": {"greeting": "hello"}}


async def created(app: PlanningApp, **body: Any) -> dict[str, Any]:
    response = await app.client.post("/v1/schedules", json=body)
    assert response.status_code == 201, response.text
    shown: dict[str, Any] = response.json()
    assert response.headers["location"] == shown["href"]
    return shown


async def came(app: PlanningApp, schedule: dict[str, Any], *outcomes: str) -> list[dict[str, Any]]:
    """The times, oldest first, once each of `outcomes` is among them; paused then."""

    async def there() -> list[dict[str, Any]] | None:
        items = (await app.client.get(f"{schedule['href']}/times")).json()["items"]
        return items[::-1] if set(outcomes) <= {each["outcome"] for each in items} else None

    found = await eventually(there, timeout_s=30) or []
    await app.client.patch(schedule["href"], json={"paused": True})
    return found


async def finished(app: PlanningApp, run_id: str) -> dict[str, Any]:
    async def final() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await app.client.get(f"/v1/runs/{run_id}")).json()
        return shown if shown["finished_at"] else None

    return await eventually(final) or {}


async def test_an_interval_starts_runs_of_a_workflow(app: PlanningApp) -> None:
    schedule = await created(app, name="often", every_s=1, workflow=GREET)

    first = (await came(app, schedule, "started"))[0]

    run = await finished(app, first["run_id"])
    assert (run["status"], run["result_text"]) == ("succeeded", "hello")
    events = (await app.client.get(f"/v1/runs/{run['id']}/events")).text
    assert schedule["id"] in events


async def test_a_cron_schedule_shows_its_next_times_in_its_zone(app: PlanningApp) -> None:
    schedule = await created(
        app, name="mornings", cron="0 9 * * MON-FRI", time_zone="Europe/Berlin", workflow={"name": "greet"} | GREET
    )

    shown = (await app.client.get(schedule["href"])).json()

    assert len(shown["upcoming"]) == 5
    assert shown["next_at"] == shown["upcoming"][0]
    assert {time[11:16] for time in shown["upcoming"]} <= {"07:00", "08:00"}
    listed = (await app.client.get("/v1/schedules", params={"limit": 200})).json()["items"]
    assert shown["name"] in [each["name"] for each in listed]


async def test_a_paused_schedule_fires_only_by_hand(app: PlanningApp) -> None:
    schedule = await created(app, name="by-hand", every_s=1, workflow=GREET, paused=True)
    assert schedule["next_at"] is None

    response = await app.client.post(f"{schedule['href']}/trigger")

    assert response.status_code == 202, response.text
    assert (await finished(app, response.json()["run_id"]))["status"] == "succeeded"
    (time,) = (await app.client.get(f"{schedule['href']}/times")).json()["items"]
    assert (time["by_hand"], time["outcome"]) == (True, "started")


async def test_a_time_is_left_out_while_the_run_before_goes_on(app: PlanningApp) -> None:
    schedule = await created(app, name="skips", every_s=1, workflow={"name": "slow"}, overlap="skip")

    times = await came(app, schedule, "started", "skipped")

    assert [each["outcome"] for each in times].count("started") == 1


async def test_a_queued_time_starts_when_the_run_before_ends(app: PlanningApp) -> None:
    schedule = await created(app, name="queues", every_s=1, workflow={"name": "slow"}, overlap="queue")

    async def waits() -> str | None:
        items = (await app.client.get(f"{schedule['href']}/times")).json()["items"]
        by_outcome = {each["outcome"]: each for each in items}
        return by_outcome["started"]["run_id"] if "queued" in by_outcome else None

    first = await eventually(waits) or ""
    await app.client.post(f"/v1/runs/{first}/cancel")

    async def next_run() -> bool:
        items = (await app.client.get(f"{schedule['href']}/times")).json()["items"]
        return len([each for each in items if each["outcome"] == "started"]) == 2

    assert await eventually(next_run)
    await app.client.patch(schedule["href"], json={"paused": True})


async def test_after_the_end_of_the_key_that_made_it_a_schedule_starts_nothing(
    app: PlanningApp, settings: Settings, database: TestDatabase
) -> None:
    caller = await a_caller(settings, "revoked")
    of_key = {"tenant_id": caller.tenant_id, "project_id": caller.project_id, "api_key_id": caller.api_key_id}
    async with app.as_somebody(a_principal(**of_key)) as client:
        await client.post("/v1/workflows", json={"name": "greet", "tasks": {"a": {"kind": "value", "input": 1}}})
        schedule = (await client.post("/v1/schedules", json={"name": "x", "every_s": 1, "workflow": GREET})).json()

        async def last(outcome: str) -> dict[str, Any] | None:
            items = (await client.get(f"{schedule['href']}/times")).json()["items"]
            return items[0] if items and items[0]["outcome"] == outcome else None

        assert await eventually(lambda: last("started"))
        with psycopg.connect(database.admin_url) as connection:
            connection.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", (caller.api_key_id,))
        failed = await eventually(lambda: last("failed")) or {}
        await client.patch(schedule["href"], json={"paused": True})

    assert "was revoked or has expired" in failed["detail"]
    assert failed["run_id"] is None


async def test_the_run_before_is_cancelled_if_that_is_wished(app: PlanningApp) -> None:
    schedule = await created(app, name="cancels", every_s=1, workflow={"name": "slow"}, overlap="cancel")

    async def two() -> list[str] | None:
        items = (await app.client.get(f"{schedule['href']}/times")).json()["items"]
        return [each["run_id"] for each in items[::-1]] if len(items) > 1 else None

    first, second = (await eventually(two) or ["", ""])[:2]
    await app.client.patch(schedule["href"], json={"paused": True})

    assert (await finished(app, first))["status"] == "cancelled"
    assert first != second


async def test_a_goal_is_submitted_on_schedule(app: PlanningApp) -> None:
    app.script([{"tasks": [{"key": "t1", "title": "Say", "instructions": "Say hello."}]}])
    schedule = await created(app, name="goals", every_s=1, goal={"statement": "Say hello", "budget_usd": "0.5"})

    first = (await came(app, schedule, "started"))[0]

    run = (await app.client.get(f"/v1/runs/{first['run_id']}")).json()
    goal = (await app.client.get(f"/v1/goals/{run['goal_id']}")).json()
    assert (goal["statement"], goal["budget_usd"]) == ("Say hello", "0.5")


async def test_a_goal_on_schedule_has_the_terms_of_a_goal(app: PlanningApp) -> None:
    app.script([{"tasks": [{"key": "t1", "title": "Say", "instructions": "Say hello."}]}])
    terms = {"statement": "Say hello", "title": "Hello", "approve_plan": True, "plan_deadline_s": 900, "replans": 0}
    schedule = await created(app, name="careful", every_s=3600, goal=terms)
    triggered = (await app.client.post(f"{schedule['href']}/trigger")).json()

    async def asked() -> list[dict[str, Any]]:
        open_ones = (await app.client.get("/v1/approvals?status=pending")).json()["items"]
        return [each for each in open_ones if each["run_id"] == triggered["run_id"]]

    (question,) = await eventually(asked)
    run = (await app.client.get(f"/v1/runs/{triggered['run_id']}")).json()
    plan = (await app.client.get(f"/v1/goals/{run['goal_id']}/plan")).json()
    assert question["prompt"] == "May this plan of 1 task run?"
    assert (plan["approve_plan"], plan["most_replans"]) == (True, 0)
    assert schedule["goal"] == terms | {"budget_usd": None, "critical": False, "plan_tasks": None}


async def test_a_schedule_that_an_earlier_version_stored_is_read(app: PlanningApp) -> None:
    schedule = await created(app, name="older", every_s=3600, goal={"statement": "Say hello", "budget_usd": "0.5"})
    stored = '{"workflow": null, "version": null, "input": null, "statement": "Say hello", "budget_usd": "0.5"}'
    async with app.base.database.transaction(app.who.tenant_id) as connection:
        await connection.execute("UPDATE schedules SET target = %s::jsonb WHERE id = %s", (stored, schedule["id"]))

    assert (await app.client.get(schedule["href"])).json() == schedule


async def test_a_change_is_effective_and_what_is_left_out_stays(app: PlanningApp) -> None:
    schedule = await created(app, name="changes", cron="0 9 * * *", workflow=GREET)

    changed = (await app.client.patch(schedule["href"], json={"every_s": 3600, "overlap": "queue"})).json()

    assert (changed["cron"], changed["every_s"], changed["overlap"]) == (None, 3600, "queue")
    assert changed["workflow"] == schedule["workflow"]


async def test_a_deleted_schedule_is_gone(app: PlanningApp) -> None:
    schedule = await created(app, name="deleted", cron="0 9 * * *", workflow=GREET)

    assert (await app.client.delete(schedule["href"])).status_code == 204
    assert (await app.client.get(schedule["href"])).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"cron": "61 * * * *", "workflow": GREET}, 422, "cron"),
        ({"every_s": 0, "workflow": GREET}, 422, "every_s"),
        ({"every_s": 60, "time_zone": "Nowhere", "workflow": GREET}, 422, "time_zone"),
        ({"every_s": 60}, 422, "workflow"),
        ({"every_s": 60, "workflow": GREET, "goal": {"statement": "Say hello"}}, 422, "workflow"),
        ({"every_s": 60, "workflow": {"name": "greet"}}, 422, "input.greeting"),
        ({"every_s": 60, "workflow": {"name": "absent"}}, 404, None),
        ({"every_s": 60, "goal": {"statement": " "}}, 422, "statement"),
        ({"every_s": 60, "goal": {"statement": "Say hello", "inputs": []}}, 400, "goal.inputs"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused_by_its_field(
    app: PlanningApp, body: dict[str, Any], status: int, field: str | None
) -> None:
    response = await app.client.post("/v1/schedules", json={"name": "refused"} | body)

    assert response.status_code == status, response.text
    if field is not None:
        assert field in [each["field"] for each in response.json()["errors"]]


async def test_a_name_is_taken_once(app: PlanningApp) -> None:
    await created(app, name="taken", cron="0 9 * * *", workflow=GREET)

    response = await app.client.post("/v1/schedules", json={"name": "taken", "every_s": 60, "workflow": GREET})

    assert response.status_code == 409


async def test_another_tenant_sees_nothing_of_it(app: PlanningApp) -> None:
    schedule = await created(app, name="ours", cron="0 9 * * *", workflow=GREET)

    async with app.other_tenant() as stranger:
        assert (await stranger.get("/v1/schedules")).json()["items"] == []
        for response in (
            await stranger.get(schedule["href"]),
            await stranger.patch(schedule["href"], json={"paused": True}),
            await stranger.delete(schedule["href"]),
            await stranger.post(f"{schedule['href']}/trigger"),
            await stranger.get(f"{schedule['href']}/times"),
        ):
            assert response.status_code == 404
