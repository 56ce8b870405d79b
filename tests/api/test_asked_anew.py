"""What is done again asks its model again, over HTTP: after a time-out, a stall, a retry, a verdict, in a fork."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import Stage, a_stage_for, run_of
from tests.conftest import Run
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.platform.config import Settings

ENDS = {"succeeded", "failed"}
PLAN = {
    "t1": {
        "title": "one",
        "instructions": "Say it.",
        "expected_output": "text",
        "capability": "general",
        "budget_share": 50,
        "review": False,
    }
}
JUNK = Say(text="This is no JSON.")


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[Stage]:
    stack = AsyncExitStack()
    yield run(a_stage_for(stack, settings, lambda _: Say(text="Done.")))
    run(stack.aclose())


def an_agent(words: str, *, review: bool = False, **terms: Any) -> dict[str, Any]:
    return {"kind": "agent", "input": {"instructions": words, "review": review}, **terms}


def asked(stage: Stage, words: str) -> int:
    """How often the provider was asked with these words."""
    return sum(words in json.dumps(call["messages"]) for call in stage.upstream.calls)


async def until_ended(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = (await client.get(f"/v1/runs/{run_id}")).json()
        return found if found["status"] in ENDS else None

    return await eventually(look, timeout_s=30) or {}


async def retried(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    answer = await client.post(f"/v1/runs/{run_id}/retry")
    assert answer.is_success, answer.text
    return await until_ended(client, run_id)


async def events_of(client: httpx.AsyncClient, run_id: str) -> list[str]:
    page = (await client.get(f"/v1/runs/{run_id}/events", params={"limit": 200})).json()
    return [event["kind"] for event in page["items"]]


async def caches_of(client: httpx.AsyncClient, run_id: str) -> set[str]:
    """Which caches answered the run's questions."""
    return {each["call"]["cache"] for each in (await client.get(f"/v1/runs/{run_id}/explain")).json()["decisions"]}


@pytest.mark.parametrize("limit", ["timeout_s", "heartbeat_s"])
async def test_an_attempt_after_one_that_hung_asks_on_its_own(stage: Stage, limit: str) -> None:
    words, never = f"Hang for {limit}.", asyncio.Event()
    stage.upstream.then(Say(text="Late.", gates={0: never}))
    retry = {"max_attempts": 20, "backoff_s": 0.05}

    run, [task] = await run_of(stage.client, f"hangs-{limit[0]}", an_agent(words, retry=retry, **{limit: 2}))

    assert (run["status"], task["output"]["text"]) == ("succeeded", "Done."), run["error"]
    attempts = (await events_of(stage.client, run["id"])).count("task.started")
    assert 2 <= asked(stage, words) <= attempts  # one may have timed out before it asked
    never.set()


async def test_a_retry_by_hand_after_a_call_that_hung_asks_on_its_own(stage: Stage) -> None:
    words, never = "Hang once, then say it.", asyncio.Event()
    stage.upstream.then(Say(text="Late.", gates={0: never}))
    task = an_agent(words, timeout_s=1, retry={"max_attempts": 1})
    run, _ = await run_of(stage.client, "hangs-once", task)
    assert run["error"]["type"] == "/problems/task-timed-out"

    again = await retried(stage.client, run["id"])

    assert (again["status"], asked(stage, words)) == ("succeeded", 2)
    never.set()


async def test_a_retry_of_a_task_whose_critic_said_junk_asks_again(stage: Stage) -> None:
    words = "Say what a critic will read."
    stage.upstream.then(Say(text="A draft."), JUNK, JUNK)
    run, _ = await run_of(stage.client, "junk-critic", an_agent(words, review=True))
    assert (run["error"]["type"], asked(stage, words)) == ("/problems/agent-failed", 3)

    stage.upstream.then(Say(text="A draft."), Say(text=json.dumps({"accepted": True, "reasons": []})))
    again = await retried(stage.client, run["id"])

    assert (again["status"], asked(stage, words)) == ("succeeded", 5)
    assert await caches_of(stage.client, run["id"]) == {"none"}


async def test_an_attempt_after_a_verdict_has_a_new_journal_and_asks_again(stage: Stage) -> None:
    words = "Say what a critic reads at the second attempt."
    accepted = Say(text=json.dumps({"accepted": True, "reasons": []}))
    stage.upstream.then(Say(text="A draft."), JUNK, JUNK, Say(text="Another draft."), accepted)
    policy = {"max_attempts": 3, "backoff_s": 0.05, "only": ["agent-failed"]}

    run, [task] = await run_of(stage.client, "by-policy", an_agent(words, review=True, retry=policy))

    assert (run["status"], task["output"]["text"], asked(stage, words)) == ("succeeded", "Another draft.", 5)
    assert (await events_of(stage.client, run["id"])).count("task.retrying") == 1
    replayed = (await stage.client.post(f"/v1/runs/{run['id']}/replay")).json()
    assert (replayed["model_calls"], replayed["divergence"]) == (0, None)


async def test_an_attempt_after_a_provider_was_away_goes_on_from_the_journal(stage: Stage) -> None:
    words = "Look at the files, then say it."
    looks = [{"id": "c1", "type": "function", "function": {"name": "list_files", "arguments": "{}"}}]
    away = [Say(status=503)] * 3
    stage.upstream.then(Say(tool_calls=looks), *away)

    run, [task] = await run_of(stage.client, "away", an_agent(words, retry={"max_attempts": 9, "backoff_s": 0.05}))

    assert (run["status"], task["output"]["text"]) == ("succeeded", "Done."), run["error"]
    told = await events_of(stage.client, run["id"])
    assert ("task.retrying" in told, told.count("agent.tool_called")) == (True, 1)


async def test_code_that_failed_runs_again_where_the_policy_names_it(stage: Stage) -> None:
    code = "import os\nassert 'seen.txt' in os.listdir()"
    policy = {"max_attempts": 3, "backoff_s": 0.05, "only": ["agent-failed"]}

    run, _ = await run_of(stage.client, "code-again", {"kind": "python", "input": {"code": code}, "retry": policy})

    told = await events_of(stage.client, run["id"])
    assert (run["status"], told.count("agent.tool_called"), told.count("task.retrying")) == ("failed", 3, 2)


async def test_a_retry_of_a_goal_whose_planner_said_junk_asks_again(stage: Stage) -> None:
    words = "Plan what nobody can read."
    stage.upstream.then(JUNK, JUNK)
    goal = (await stage.client.post("/v1/goals", json={"statement": words, "budget_usd": "1.00"})).json()
    assert (await until_ended(stage.client, goal["run_id"]))["status"] == "failed"

    stage.upstream.then(Say(text=json.dumps(PLAN)))
    again = await retried(stage.client, goal["run_id"])

    assert again["status"] == "succeeded", again["error"]
    assert await caches_of(stage.client, goal["run_id"]) == {"none"}


async def test_a_fork_of_a_goal_from_its_plan_asks_the_planner_again(stage: Stage) -> None:
    stage.upstream.then(Say(text=json.dumps(PLAN)))
    goal = (await stage.client.post("/v1/goals", json={"statement": "Plan it, and again.", "budget_usd": "1"})).json()
    assert (await until_ended(stage.client, goal["run_id"]))["status"] == "succeeded"

    stage.upstream.then(Say(text=json.dumps(PLAN)))
    fork = (await stage.client.post(f"/v1/runs/{goal['run_id']}/fork", json={"from": "plan"})).json()

    assert (await until_ended(stage.client, fork["id"]))["status"] == "succeeded"
    assert await caches_of(stage.client, fork["id"]) == {"none"}


async def test_a_fork_asks_again_what_it_does_again_down_to_nested_runs(stage: Stage) -> None:
    words = "Say the same, or another thing."
    tasks = {"name": "below", "tasks": {"a": an_agent(words)}}
    assert (await stage.client.post("/v1/workflows", json=tasks)).status_code == 201
    run, _ = await run_of(stage.client, "forked", {"kind": "workflow", "input": {"workflow": "below"}})
    kept, _ = await run_of(stage.client, "kept", an_agent(words))
    assert (run["status"], kept["status"], asked(stage, words)) == ("succeeded", "succeeded", 1)

    stage.upstream.then(Say(text="Another thing."))
    fork = (await stage.client.post(f"/v1/runs/{run['id']}/fork", json={"from": "t"})).json()
    done = await until_ended(stage.client, fork["id"])
    [task] = (await stage.client.get(fork["tasks_href"])).json()["items"]

    assert (done["status"], task["output"]["text"], asked(stage, words)) == ("succeeded", "Another thing.", 2)
