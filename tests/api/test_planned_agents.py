"""A tenant's own agents in its plans, over HTTP with a worker and a scripted model; nobody else's are offered them."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import Stage, a_stage_for, fields_wanted, goal_of, steps_of
from tests.conftest import Run
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.platform.config import Settings


def speak(body: dict[str, Any]) -> Say:
    """Plans one task for the poet where it is offered (at first for one who is not there, if the goal says so)."""
    text, wanted = json.dumps(body["messages"]), fields_wanted(body)
    if "t1" in wanted:
        who = "poet" if "poet" in offered(body) else "general"
        if "a nobody" in text and "must be one of" not in text:
            who = "nobody"
        task = {"title": "Poem", "instructions": "Write about the sea.", "capability": who, "review": False}
        return Say(text=json.dumps({**dict.fromkeys(wanted), "t1": task}))
    return Say(text="O sea!" if "You write verse" in text else "A poem by nobody in particular.")


def offered(body: dict[str, Any]) -> list[str]:
    schema = body["response_format"]["json_schema"]["schema"]
    inline = schema["properties"]["t1"]["properties"]["capability"].get("enum")
    found: list[str] = inline or schema["$defs"]["who"]["enum"]
    return found


@pytest.fixture(scope="module")
def stack(run: Run) -> Iterator[AsyncExitStack]:
    stack = AsyncExitStack()
    yield stack
    run(stack.aclose())


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run, stack: AsyncExitStack) -> Stage:
    made: Stage = run(a_stage_for(stack, settings, speak))
    return made


@pytest.fixture(scope="module")
def stranger(run: Run, stage: Stage, stack: AsyncExitStack) -> httpx.AsyncClient:
    made: httpx.AsyncClient = run(stage.another_tenant(stack))
    return made


async def a_poet(client: httpx.AsyncClient, name: str = "poet") -> int:
    await client.put("/v1/prompts/verses", json={"text": "You write verse."})
    given = {"description": "Writes poems.", "capabilities": ["poetry"], "prompt": "verses"}
    made = await client.put(f"/v1/agents/{name}", json=given)
    assert made.status_code == 200, made.text
    version: int = made.json()["agent"]["version"]
    return version


def planning(stage: Stage) -> list[dict[str, Any]]:
    return [body for body in stage.upstream.calls if "t1" in fields_wanted(body)]


async def test_a_goal_is_planned_with_the_tenant_s_own_agent_in_the_version_of_the_plan(stage: Stage) -> None:
    version = await a_poet(stage.client)
    stage.upstream.reset()

    goal = await goal_of(stage.client, "A poem about the sea")

    [asked] = planning(stage)
    assert offered(asked) == ["general", "research", "poet"]
    assert "- poet: Writes poems. (poetry)" in json.dumps(asked["messages"])
    assert goal["result"]["text"] == "O sea!"
    [task] = (await stage.client.get(f"{goal['href']}/plan")).json()["tasks"]
    assert (task["capability"], task["agent_version"]) == ("poet", version)
    done = (await steps_of(stage.client, {"id": goal["run_id"]}))[-1]
    assert (done["role"], done["prompt"]) == ("poet", "verses@own.1")
    events = (await stage.client.get(f"/v1/runs/{goal['run_id']}/events?limit=200")).json()["items"]
    [told] = [each["data"] for each in events if each["kind"] == "plan.considered"]
    assert told == {"agents": [{"name": "poet", "version": version}]}


async def test_a_plan_keeps_to_the_version_that_it_was_made_with(stage: Stage) -> None:
    version = await a_poet(stage.client)
    taken = await stage.client.post("/v1/goals", json={"statement": "A poem that waits", "approve_plan": True})
    await goal_until(stage.client, taken.json()["href"], "waiting")
    await stage.client.put("/v1/agents/poet", json={"description": "Now a novelist.", "prompt": "executor"})

    plan = (await stage.client.get(f"{taken.json()['href']}/plan")).json()
    await stage.client.post(f"/v1/approvals/{plan['plans'][0]['approval']['id']}/approve", json={})
    goal = await goal_until(stage.client, taken.json()["href"], "succeeded", "failed")

    assert (plan["tasks"][0]["agent_version"], goal["result"]["text"]) == (version, "O sea!")


async def test_an_agent_that_is_not_there_gets_the_plan_sent_back_once(stage: Stage) -> None:
    await a_poet(stage.client)
    stage.upstream.reset()

    goal = await goal_of(stage.client, "A poem by a nobody")

    first, second = planning(stage)
    assert len(second["messages"]) == len(first["messages"]) + 2
    assert "t1.capability: must be one of general, research, poet" in second["messages"][-1]["content"]
    assert (goal["status"], goal["result"]["text"]) == ("succeeded", "O sea!")


async def test_nobody_else_is_offered_it(stage: Stage, stranger: httpx.AsyncClient) -> None:
    await a_poet(stage.client)
    stage.upstream.reset()

    goal = await goal_of(stranger, "A poem about the sea")

    [asked] = planning(stage)
    assert offered(asked) == ["general", "research"]
    assert "poet" not in json.dumps(asked)
    assert goal["result"]["text"] == "A poem by nobody in particular."


async def test_a_run_of_an_own_agent_in_a_plan_is_replayed(stage: Stage) -> None:
    await a_poet(stage.client)
    goal = await goal_of(stage.client, "A poem about the sea, by a nobody")

    answer = await stage.client.post(f"/v1/runs/{goal['run_id']}/replay")

    report = answer.json()
    assert (report["model_calls"], report["replayed"], report["divergence"]) == (0, 2, None)


async def goal_until(client: httpx.AsyncClient, href: str, *statuses: str) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        found: dict[str, Any] = (await client.get(href)).json()
        return found if found["status"] in statuses else {}

    reached: dict[str, Any] = await eventually(look, timeout_s=30)
    return reached
