"""What a workflow says of a task beside its input, with a real gateway: its budget, its signs of life, its retries."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import a_stage, run_of
from tests.conftest import Run

from cognitionos.platform.config import Settings

RULES: list[dict[str, Any]] = [{"system_contains": ["executor"], "say": "Done."}]


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


def an_agent_s(instructions: Any = "Do it.", **terms: Any) -> dict[str, Any]:
    return {"kind": "agent", "input": {"instructions": instructions}, **terms}


async def test_a_task_costs_no_more_than_its_budget_and_says_so(client: httpx.AsyncClient) -> None:
    poor, [task] = await run_of(client, "poor", an_agent_s(budget_usd="0.000001"))
    rich, _ = await run_of(client, "rich", an_agent_s(budget_usd="1.00"))
    shown = (await client.get("/v1/workflows/poor")).json()["tasks"]["t"]

    assert (poor["status"], task["error"]["type"], poor["cost_usd"]) == ("failed", "/problems/task-too-large", "0")
    assert "$0.000001" in task["error"]["detail"]
    assert rich["status"] == "succeeded"
    assert shown["budget_usd"] == "0.000001"


async def test_each_item_of_a_map_has_its_own_terms(client: httpx.AsyncClient) -> None:
    def a_map(**terms: Any) -> dict[str, Any]:
        task = an_agent_s({"$ref": "item"}, **terms)
        return {"kind": "map", "input": {"over": ["Do one.", "Do two."], "on_error": "collect", "task": task}}

    poor, tasks = await run_of(client, "poor-items", a_map(budget_usd="0.000001", retry={"max_attempts": 2}))
    rich, rich_tasks = await run_of(client, "rich-items", a_map(budget_usd=1, heartbeat_s=30))

    errors = [task["error"]["type"] for task in tasks if task["key"] != "t"]
    assert (poor["status"], errors, poor["cost_usd"]) == ("succeeded", ["/problems/task-too-large"] * 2, "0")
    assert (rich["status"], [task["status"] for task in rich_tasks]) == ("succeeded", ["succeeded"] * 3)


async def test_terms_of_items_that_cannot_be_are_refused_by_their_field(client: httpx.AsyncClient) -> None:
    wrong = {"budget_usd": 0, "heartbeat_s": "often", "depends_on": []}
    for kind in ("agent", "value"):
        task = {"kind": kind, "input": {"instructions": "Do it."}, **wrong}
        tasks = {"each": {"kind": "map", "input": {"over": [1], "task": task}}}

        answer = await client.post("/v1/workflows", json={"name": "no", "tasks": tasks})

        at = "tasks.each.input.task."
        assert answer.status_code == 422
        assert {error["field"] for error in answer.json()["errors"]} == {f"{at}{name}" for name in wrong}, kind


async def test_retries_only_for_problems_that_there_are_not_are_refused(client: httpx.AsyncClient) -> None:
    typo, good = {"only": ["http-task-posponed"]}, {"only": ["http-task-postponed", "task-timed-out", "internal-error"]}
    inner = {"kind": "value", "retry": typo}
    tasks = {"t": an_agent_s(retry=typo), "m": {"kind": "map", "input": {"over": [1], "task": inner}}}

    refused = await client.post("/v1/workflows", json={"name": "typo", "tasks": tasks})
    taken = await client.post("/v1/workflows", json={"name": "good", "tasks": {"t": an_agent_s(retry=good)}})

    assert (refused.status_code, taken.status_code) == (422, 201), taken.text
    fields = {each["field"]: each for each in refused.json()["errors"]}
    assert fields.keys() == {"tasks.t.retry.only", "tasks.m.input.task.retry.only"}
    assert "near it: http-task-postponed" in str(fields["tasks.t.retry.only"])


async def test_terms_that_cannot_be_are_refused_by_their_field(client: httpx.AsyncClient) -> None:
    tasks = {
        "free": an_agent_s(budget_usd=0),
        "value": {"kind": "value", "budget_usd": "1", "heartbeat_s": 5},
    }
    answers = [
        await client.post("/v1/workflows", json={"name": "no", "tasks": {key: task}}) for key, task in tasks.items()
    ]
    typo = {"t": an_agent_s(retry={"only": ["Task timed out"]})}
    answers.append(await client.post("/v1/workflows", json={"name": "no", "tasks": typo}))

    assert [answer.status_code for answer in answers] == [422, 422, 400]
    fields = [sorted(each["field"] for each in answer.json()["errors"]) for answer in answers]
    assert fields[0] == ["tasks.free.budget_usd"]
    assert fields[1] == ["tasks.value.budget_usd", "tasks.value.heartbeat_s"]
    assert fields[2][0].startswith("tasks")
