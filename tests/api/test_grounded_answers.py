"""Answers whose claims are looked up, over HTTP: recorded, explained, sent back, put before a person, replayed."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import Rules, a_stage, run_of, steps_of
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.platform.config import Settings

WRONG = "Line A made 1,840 units in Oslo."
RULES: Rules = [
    {"contains": ["found by rules", "1,840"], "json": {"accepted": False, "reasons": ["1,840 is wrong"]}},
    {"system_contains": ["critic"], "json": {"accepted": True, "reasons": []}},
    {"contains": ["in nothing that you were given", "stubborn"], "say": WRONG},
    {"contains": ["in nothing that you were given"], "say": "Line A made 1,480 units."},
    {"contains": ["1,840 is wrong"], "say": "Line A made 1,480 units."},
    {"contains": ["Line A: 1480"], "say": WRONG},
]


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


async def an_agent(client: httpx.AsyncClient, name: str, grounding: str) -> dict[str, Any]:
    """An agent that reports shifts; the task that it is given."""
    assert (await client.put(f"/v1/prompts/{name}", json={"text": "You report shifts."})).is_success
    made = await client.put(f"/v1/agents/{name}", json={"description": "Reports.", "grounding": grounding})
    assert made.json()["agent"]["grounding"] == grounding, made.text
    return {"kind": "agent", "input": {"agent": name, "instructions": "Report the shift. Line A: 1480 units."}}


async def replayed(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    answer = await client.post(f"/v1/runs/{run_id}/replay")
    assert answer.is_success, answer.text
    return {name: answer.json()[name] for name in ("model_calls", "divergence")}


async def asked(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = (await client.get("/v1/approvals")).json()["items"]
        return next((each for each in found if each["run_id"] == run_id), None)

    answer: dict[str, Any] = await eventually(look, timeout_s=30)
    return answer


async def ended(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = (await client.get(f"/v1/runs/{run_id}")).json()
        return found if found["status"] in {"succeeded", "failed"} else None

    answer: dict[str, Any] = await eventually(look, timeout_s=30)
    return answer


async def started(client: httpx.AsyncClient, name: str) -> str:
    """The id of a run whose agent insists on what nothing supports."""
    task = await an_agent(client, name, "approve")
    task["input"]["instructions"] += " You are stubborn."
    assert (await client.post("/v1/workflows", json={"name": name, "tasks": {"report": task}})).status_code == 201
    run_id: str = (await client.post("/v1/runs", json={"workflow": name})).json()["id"]
    return run_id


async def test_a_report_is_in_the_tasks_details_the_events_and_the_explanation(client: httpx.AsyncClient) -> None:
    run, tasks = await run_of(client, "reported", await an_agent(client, "reporter", "report"))

    assert tasks[0]["output"]["text"] == WRONG, str(tasks)
    found = tasks[0]["details"]["grounding"]
    assert [(each["kind"], each["text"], each["start"]) for each in found["unsupported"]] == [
        ("number", "1,840", 12),
        ("name", "Oslo", 27),
    ]
    explained = (await client.get(f"/v1/runs/{run['id']}/explain")).json()["decisions"]
    assert [each["grounding"] for each in explained] == [None, {"draft": 1, **found}]
    events = (await client.get(f"/v1/runs/{run['id']}/events?limit=200")).json()["items"]
    assert [each["data"]["checked"] for each in events if each["kind"] == "agent.checked"] == [found["checked"]]
    assert await replayed(client, run["id"]) == {"model_calls": 0, "divergence": None}


async def test_an_agent_is_asked_once_more_about_what_nothing_supports(client: httpx.AsyncClient) -> None:
    run, tasks = await run_of(client, "reviewed", await an_agent(client, "reviewer", "review"))

    assert tasks[0]["output"]["text"] == "Line A made 1,480 units.", str(tasks)
    assert tasks[0]["details"]["grounding"]["unsupported"] == []
    kinds = [(step["role"], step["kind"]) for step in await steps_of(client, run)]
    assert kinds == [("reviewer", "model"), ("grounding", "decision")] * 2
    assert await replayed(client, run["id"]) == {"model_calls": 0, "divergence": None}


async def test_a_critic_is_told_what_nothing_supports(client: httpx.AsyncClient) -> None:
    task = await an_agent(client, "judged", "review")
    task["input"]["review"] = True

    run, tasks = await run_of(client, "judged", task)

    assert (tasks[0]["output"]["text"], tasks[0]["details"]["rounds"]) == ("Line A made 1,480 units.", 2), str(tasks)
    assert await replayed(client, run["id"]) == {"model_calls": 0, "divergence": None}


async def test_an_answer_with_claims_that_nothing_supports_waits_for_a_person(client: httpx.AsyncClient) -> None:
    run_id = await started(client, "insisting")
    question = await asked(client, run_id)

    assert (await client.post(f"/v1/approvals/{question['id']}/approve", json={})).is_success
    run = await ended(client, run_id)

    assert question["prompt"].endswith("Nothing that its agent was given supports: 1,840; Oslo")
    assert question["details"]["arguments"]["answer"] == WRONG
    [task] = (await client.get(f"/v1/runs/{run_id}/tasks")).json()["items"]
    assert (run["status"], task["output"]["text"]) == ("succeeded", WRONG)
    assert await replayed(client, run_id) == {"model_calls": 0, "divergence": None}


async def test_an_answer_that_a_person_rejects_fails_the_run(client: httpx.AsyncClient) -> None:
    run_id = await started(client, "rejected")
    question = await asked(client, run_id)

    assert (await client.post(f"/v1/approvals/{question['id']}/reject", json={"comment": "wrong"})).is_success
    run = await ended(client, run_id)

    assert run["status"] == "failed"
    [task] = (await client.get(f"/v1/runs/{run_id}/tasks")).json()["items"]
    assert "(wrong): 1,840; Oslo" in str(task["error"])


async def test_a_conversation_is_checked_by_what_was_said_in_it(client: httpx.AsyncClient) -> None:
    await an_agent(client, "talker", "report")
    made = await client.post("/v1/conversations", json={"agent": "talker"})
    href = f"/v1/conversations/{made.json()['id']}"

    turn = await client.post(f"{href}/messages", json={"content": "Report the shift. Line A: 1480 units."})

    assert turn.json()["answer"] == WRONG, turn.text
    steps = (await client.get(f"{href}/steps")).json()["items"]
    assert steps[-1]["text"] == "2 of 2 claims are in nothing that the agent was given: 1,840; Oslo"


async def test_a_setting_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.put("/v1/agents/odd", json={"description": "Odd.", "grounding": "often"})

    assert answer.status_code in {400, 422}
    assert "grounding" in answer.text


async def test_an_agent_that_ships_with_the_product_is_grounded_for_its_tenant_alone(client: httpx.AsyncClient) -> None:
    task = {"kind": "agent", "input": {"instructions": "Report the shift. Line A: 1480 units."}}
    before, _ = await run_of(client, "ungrounded", task)

    made = await client.put("/v1/agents/executor/grounding", json={"grounding": "review"})
    listed = (await client.get("/v1/agents")).json()["items"]
    run, tasks = await run_of(client, "grounded", task)
    off = await client.put("/v1/agents/executor/grounding", json={"grounding": "off"})
    after, plain = await run_of(client, "ungrounded", task)

    shown = made.json()["agent"]
    assert (shown["grounding"], shown["built_in"], shown["version"]) == ("review", True, 1), made.text
    assert [each["role"] for each in listed].count("executor") == 1
    assert tasks[0]["output"]["text"] == "Line A made 1,480 units.", str(tasks)
    assert (off.json()["agent"]["grounding"], off.json()["agent"]["version"]) == ("off", None)
    assert (plain[0]["output"]["text"], "grounding" in plain[0]["details"]) == (WRONG, False)
    await client.put("/v1/agents/executor/grounding", json={"grounding": "report"})
    for each in (before, run, after):
        assert await replayed(client, each["id"]) == {"model_calls": 0, "divergence": None}
    await client.put("/v1/agents/executor/grounding", json={"grounding": "off"})


async def test_grounding_is_set_of_agents_whose_answers_have_claims(client: httpx.AsyncClient) -> None:
    await an_agent(client, "mine", "off")
    answers = {
        name: (await client.put(f"/v1/agents/{name}/grounding", json={"grounding": "report"})).status_code
        for name in ("planner", "critic", "mine", "nobody", "summarizer")
    }

    assert answers == {"planner": 422, "critic": 422, "mine": 409, "nobody": 404, "summarizer": 200}
