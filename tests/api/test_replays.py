"""Replays over HTTP of runs that real agents, tools and a worker did: planned anew, with calls to the outside."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.api.agent_stage import Stage, a_stage_for, fields_wanted, goal_of
from tests.conftest import Run
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.platform.config import Settings


def speak(body: dict[str, Any]) -> Say:
    """Plans a task that no critic accepts after one that is fine; planned anew, it is done in two."""
    wanted = fields_wanted(body)
    if "t1" in wanted:
        tasks = {"t1": a_task("Look it up."), "t2": a_task("Guess it.", "t1", review=True)}
        return Say(text=json.dumps({**dict.fromkeys(wanted), **tasks}))
    if "n1" in wanted:
        return Say(text=json.dumps({**dict.fromkeys(wanted), "n1": a_task("Count.", "t1"), "n2": a_task("Add.", "n1")}))
    if "accepted" in wanted:
        return Say(text=json.dumps({"accepted": False, "reasons": ["a guess is no result"]}))
    return Say(text="It is 7.")


def a_task(instructions: str, *depends_on: str, review: bool = False) -> dict[str, Any]:
    return {"title": instructions, "instructions": instructions, "review": review, "depends_on": list(depends_on)}


WORKFLOW: dict[str, Any] = {
    "write": {"kind": "tool", "input": {"tool": "write_file", "arguments": {"name": "a.txt", "text": "seven"}}},
    "read": {
        "kind": "tool",
        "depends_on": ["write"],
        "input": {"tool": "read_file", "arguments": {"name": "a.txt"}},
    },
    "fetch": {"kind": "http", "input": {"url": "http://example.invalid/"}},
    "both": {
        "kind": "value",
        "depends_on": ["read", "fetch"],
        "input": {"file": {"$ref": "tasks.read.output"}, "status": {"$ref": "tasks.fetch.output.status"}},
    },
    "say": {"kind": "agent", "depends_on": ["both"], "input": {"instructions": "Say how many."}},
}


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[Stage]:
    stack = AsyncExitStack()
    yield run(a_stage_for(stack, settings, speak, http_allow=True))
    run(stack.aclose())


async def replayed(stage: Stage, run_id: str) -> dict[str, Any]:
    asked = len(stage.upstream.calls)
    answer = await stage.client.post(f"/v1/runs/{run_id}/replay")
    assert answer.status_code == 200, answer.text
    assert len(stage.upstream.calls) == asked
    report: dict[str, Any] = answer.json()
    return report


@pytest.mark.parametrize("terms", [{}, {"approve_plan": True}], ids=["as it comes", "approved by a person"])
async def test_a_run_that_was_planned_anew_is_planned_anew_by_its_replay(stage: Stage, terms: dict[str, Any]) -> None:
    taken = (await stage.client.post("/v1/goals", json={"statement": "How many are there?", **terms})).json()
    goal = await approved(stage, taken["href"]) if terms else await goal_of(stage.client, "How many are there?")

    report = await replayed(stage, goal["run_id"])

    assert goal["status"] == "succeeded", goal
    counts = {name: report[name] for name in ("tasks", "replayed", "recomputed", "recorded", "taken", "model_calls")}
    assert counts == {"tasks": 8, "replayed": 7, "recomputed": 1, "recorded": 0, "taken": 0, "model_calls": 0}
    assert report["divergence"] is None


async def test_calls_to_the_outside_are_composed_again_and_answered_from_the_record(stage: Stage) -> None:
    tasks = json.loads(json.dumps(WORKFLOW))
    key = f"Bearer {stage.upstream.api_key}"
    tasks["fetch"]["input"] = {"url": f"{stage.upstream.base_url}/models", "headers": {"authorization": key}}
    made = await stage.client.post("/v1/workflows", json={"name": "outside", "tasks": tasks})
    assert made.status_code == 201, made.text
    started = (await stage.client.post("/v1/runs", json={"workflow": "outside"})).json()

    run = await ended(stage, f"/v1/runs/{started['id']}")
    report = await replayed(stage, run["id"])

    assert run["status"] == "succeeded", run["error"]
    counts = {name: report[name] for name in ("replayed", "recomputed", "recorded", "taken", "tool_calls")}
    assert counts == {"replayed": 1, "recomputed": 1, "recorded": 3, "taken": 0, "tool_calls": 0}
    assert report["divergence"] is None


async def approved(stage: Stage, href: str) -> dict[str, Any]:
    """The goal at its end, both of its plans approved."""
    for _ in range(2):
        asked = await eventually(lambda: pending(stage), timeout_s=30)
        await stage.client.post(f"/v1/approvals/{asked['id']}/approve", json={})
    return await ended(stage, href)


async def pending(stage: Stage) -> dict[str, Any]:
    items = (await stage.client.get("/v1/approvals?status=pending")).json()["items"]
    return items[0] if items else {}


async def ended(stage: Stage, href: str) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        found: dict[str, Any] = (await stage.client.get(href)).json()
        return found if found["status"] in {"succeeded", "failed"} else {}

    reached: dict[str, Any] = await eventually(look, timeout_s=30)
    return reached
