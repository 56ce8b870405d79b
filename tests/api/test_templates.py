"""Workflow templates over HTTP: what a run may be given is declared, checked, and filled with defaults."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.waiting import eventually

from cognitionos.platform.config import Settings

SCHEMA = {
    "type": "object",
    "required": ["topic"],
    "additionalProperties": False,
    "properties": {
        "topic": {"type": "string", "minLength": 1, "description": "what to report on"},
        "days": {"type": "integer", "minimum": 1, "maximum": 31, "default": 7},
        "style": {"type": "object", "default": {}, "properties": {"tone": {"enum": ["dry", "warm"], "default": "dry"}}},
    },
}
TASKS = {
    "ask": {"kind": "agent", "input": {"instructions": {"$ref": "run.input.topic"}}},
    "report": {
        "kind": "value",
        "depends_on": ["ask"],
        "input": {"days": {"$ref": "run.input.days"}, "tone": {"$ref": "run.input.style.tone"}},
    },
}


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def declared(app: PlanningApp, name: str, **more: Any) -> dict[str, Any]:
    response = await app.client.post("/v1/workflows", json={"name": name, "tasks": TASKS, **more})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


async def output(app: PlanningApp, run: dict[str, Any], key: str) -> Any:
    async def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await app.client.get(f"/v1/runs/{run['id']}")).json()
        return shown if shown["finished_at"] else None

    found = await eventually(ended)
    assert found["status"] == "succeeded", found
    tasks = (await app.client.get(f"/v1/runs/{run['id']}/tasks")).json()["items"]
    return next(task["output"] for task in tasks if task["key"] == key)


async def test_a_template_runs_with_what_it_is_given_and_its_defaults_for_the_rest(app: PlanningApp) -> None:
    app.script([])
    made = await declared(app, "weekly", input_schema=SCHEMA)
    shown = (await app.client.get("/v1/workflows/weekly")).json()

    plain = (await app.client.post("/v1/runs", json={"workflow": "weekly", "input": {"topic": "rain"}})).json()
    other = {"topic": "snow", "days": 3, "style": {"tone": "warm"}}
    chosen = (await app.client.post("/v1/runs", json={"workflow": "weekly", "input": other})).json()

    assert (made["version"], shown["input_schema"]) == (1, SCHEMA)
    assert await output(app, plain, "report") == {"days": 7, "tone": "dry"}
    assert await output(app, chosen, "report") == {"days": 3, "tone": "warm"}


async def test_what_does_not_fit_a_template_starts_nothing_and_every_fault_is_named(app: PlanningApp) -> None:
    await declared(app, "strict", input_schema=SCHEMA)

    wrong = {"days": 90, "style": {"tone": "loud"}, "colour": "red"}
    refused = await app.client.post("/v1/runs", json={"workflow": "strict", "input": wrong})
    empty = await app.client.post("/v1/runs", json={"workflow": "strict"})

    assert refused.status_code == 422
    assert {each["field"]: each["message"] for each in refused.json()["errors"]} == {
        "input.topic": "is missing",
        "input.days": "must be at most 31",
        "input.style.tone": "must be one of 'dry', 'warm'",
        "input.colour": "is not known; known are days, style, topic",
    }
    assert [each["field"] for each in empty.json()["errors"]] == ["input.topic"]


async def test_a_template_within_another_and_on_schedule_gets_its_defaults_too(app: PlanningApp) -> None:
    app.script([])
    await declared(app, "inner", input_schema=SCHEMA)
    outer = {"t": {"kind": "workflow", "input": {"workflow": "inner", "input": {"topic": "hail"}}}}
    await app.client.post("/v1/workflows", json={"name": "outer", "tasks": outer})
    timing = {"name": "hourly", "every_s": 3600, "workflow": {"name": "inner", "input": {"topic": "fog"}}}
    schedule = (await app.client.post("/v1/schedules", json=timing)).json()
    unfit = {**timing, "name": "unfit", "workflow": {"name": "inner", "input": {}}}
    refused = await app.client.post("/v1/schedules", json=unfit)

    nesting = (await app.client.post("/v1/runs", json={"workflow": "outer"})).json()
    triggered = (await app.client.post(f"{schedule['href']}/trigger")).json()

    assert await output(app, nesting, "t") == {"days": 7, "tone": "dry"}
    assert await output(app, {"id": triggered["run_id"]}, "report") == {"days": 7, "tone": "dry"}
    assert refused.status_code == 422


async def test_another_schema_is_another_version_and_none_is_the_version_before(app: PlanningApp) -> None:
    first = await declared(app, "changing")
    second = await declared(app, "changing", input_schema=SCHEMA)
    again = await declared(app, "changing", input_schema=SCHEMA)

    assert (first["version"], second["version"], again) == (1, 2, second)


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ({"type": "thing"}, "input_schema.type"),
        ({"properties": {"a": {"pattern": "x"}}}, "input_schema.properties.a.pattern"),
        ({"properties": {"a": {"type": "integer", "default": "many"}}}, "input_schema.properties.a.default"),
        ({"properties": {"a": 1}}, "input_schema.properties.a"),
        ({"required": "a"}, "input_schema.required"),
        ({"items": {"maxLength": "9"}}, "input_schema.items.maxLength"),
        ({"anyOf": [{"patternProperties": {}}]}, "input_schema.anyOf.0.patternProperties"),
        ({"default": "\x00"}, "input_schema"),
    ],
)
async def test_a_schema_of_which_a_word_would_not_count_is_refused(
    app: PlanningApp, schema: dict[str, Any], field: str
) -> None:
    refused = await app.client.post("/v1/workflows", json={"name": "no", "tasks": TASKS, "input_schema": schema})

    assert refused.status_code == 422, refused.text
    assert [each["field"] for each in refused.json()["errors"]] == [field]
