"""What a retry does about calls to the world outside, over HTTP: repeated under their keys, or not at all."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import Stage, a_stage_beside, speaking, steps_of
from tests.conftest import Run
from tests.outside import Outside, running_outside
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.platform.config import Settings


@dataclass(kw_only=True)
class World:
    """The product, the world outside it, and what its model says."""

    stage: Stage
    outside: Outside

    @property
    def client(self) -> httpx.AsyncClient:
        return self.stage.client

    def says(self, *, calls: str, then: Say) -> None:
        """From now on an agent first sends a POST to `calls`; then this."""
        arguments = {"method": "POST", "url": self.outside.url(calls), "json": {"pay": 1}}
        rules = [{"tool_results": 0, "call": [{"name": "http_request", "arguments": arguments}]}]
        first = speaking(rules)

        def speak(body: dict[str, Any]) -> Say:
            asked = any(message["role"] == "tool" for message in body["messages"])
            answer: Say = then if asked else first(body)
            return answer

        self.stage.upstream.speak = speak

    async def started(self, name: str, **tasks: Any) -> str:
        """A run of these tasks; its address."""
        made = await self.client.post("/v1/workflows", json={"name": name, "tasks": tasks})
        assert made.status_code == 201, made.text
        started = await self.client.post("/v1/runs", json={"workflow": name})
        assert started.status_code == 202, started.text
        return str(started.headers["location"])

    async def until(self, href: str, *statuses: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            found: dict[str, Any] = (await self.client.get(href)).json()
            return found if found["status"] in statuses else None

        return await eventually(look, timeout_s=30) or {}

    async def asked(self, path: str, **body: Any) -> None:
        answer = await self.client.post(path, json=body)
        assert answer.is_success, answer.text

    async def outcomes(self, run: dict[str, Any]) -> list[str]:
        """How the tool calls of the run's agents ended."""
        return [step["call"]["outcome"] for step in await steps_of(self.client, run) if step["call"]]


async def a_world(stack: AsyncExitStack, settings: Settings) -> World:
    stage, outside = await a_stage_beside(stack, settings, running_outside())
    return World(stage=stage, outside=outside)


@pytest.fixture(scope="module")
def world(settings: Settings, run: Run) -> Iterator[World]:
    stack = AsyncExitStack()
    yield run(a_world(stack, settings))
    run(stack.aclose())


AN_AGENT: dict[str, Any] = {"kind": "agent", "retry": {"max_attempts": 1}, "input": {"instructions": "Pay the bill."}}
REFUSES = Say(status=400)
ACCEPTED = '{"accepted": true, "reasons": []}'


async def test_a_call_that_an_agent_had_ended_is_made_again_under_its_key_after_a_retry(world: World) -> None:
    world.says(calls="/paid", then=REFUSES)
    href = await world.started("paying", pay=AN_AGENT)
    await world.until(href, "failed")

    world.says(calls="/paid", then=Say(text="Paid."))
    await world.asked(f"{href}/retry")
    run = await world.until(href, "succeeded", "failed")

    assert (run["status"], run["result_text"]) == ("succeeded", "Paid."), run
    assert len(world.outside.keys["/paid"]) == 2
    assert len(set(world.outside.keys["/paid"])) == 1
    assert await world.outcomes(run) == ["ok", "ok"]


async def approved(world: World, href: str) -> None:
    """Approve what the run's agent waits for."""

    async def pending() -> list[dict[str, Any]]:
        asked = {"status": "pending", "run_id": href.rsplit("/", 1)[1]}
        found: list[dict[str, Any]] = (await world.client.get("/v1/approvals", params=asked)).json()["items"]
        return found

    [question] = await eventually(pending, timeout_s=30)
    await world.asked(f"/v1/approvals/{question['id']}/approve")


async def test_an_approval_that_a_retry_asks_for_anew_is_for_a_call_that_is_made(world: World) -> None:
    asks = {"allowed": True, "approval": "always", "deadline_s": 600, "default": "reject"}
    assert (await world.client.put("/v1/tools/rules/http_request", json=asks)).is_success

    world.says(calls="/approved", then=REFUSES)
    href = await world.started("asking", pay=AN_AGENT)
    await approved(world, href)
    await world.until(href, "failed")
    world.says(calls="/approved", then=Say(text="Paid."))
    await world.asked(f"{href}/retry")
    await approved(world, href)
    run = await world.until(href, "succeeded", "failed")
    await world.client.delete("/v1/tools/rules/http_request")

    assert (run["status"], await world.outcomes(run)) == ("succeeded", ["ok", "ok"])
    assert len(world.outside.keys["/approved"]) == 2
    assert len(set(world.outside.keys["/approved"])) == 1


async def test_an_approval_is_for_one_call_also_where_a_policy_grants_another_attempt(world: World) -> None:
    asks = {"allowed": True, "approval": "always", "deadline_s": 600, "default": "reject"}
    assert (await world.client.put("/v1/tools/rules/http_request", json=asks)).is_success
    world.says(calls="/judged", then=Say(text="Paid."))
    executes, verdicts = world.stage.upstream.speak, [Say(text="?"), Say(text="?"), Say(text=ACCEPTED)]
    assert executes is not None
    world.stage.upstream.speak = lambda body: verdicts.pop(0) if "response_format" in body else executes(body)
    policy = {"max_attempts": 2, "backoff_s": 0.05, "only": ["agent-failed"]}
    task = {**AN_AGENT, "retry": policy, "input": {**AN_AGENT["input"], "review": True}}

    href = await world.started("judging", pay=task)
    await approved(world, href)
    await approved(world, href)
    run = await world.until(href, "succeeded", "failed")
    await world.client.delete("/v1/tools/rules/http_request")

    assert (run["status"], len(world.outside.keys["/judged"])) == ("succeeded", 2), run["error"]
    assert len(set(world.outside.keys["/judged"])) == 1


async def test_a_call_that_was_cut_off_is_made_by_no_retry_however_many(world: World) -> None:
    world.outside.gates["/cut"] = (gate := asyncio.Event())
    world.says(calls="/cut", then=REFUSES)
    href = await world.started("cutting", pay=AN_AGENT)
    await eventually(lambda: world.outside.keys["/cut"], timeout_s=30)
    await world.asked(f"{href}/cancel")
    gate.set()

    await world.asked(f"{href}/retry")
    await world.until(href, "failed")
    world.says(calls="/cut", then=Say(text="I do not know."))
    await world.asked(f"{href}/retry")
    run = await world.until(href, "succeeded", "failed")

    assert (run["status"], await world.outcomes(run)) == ("succeeded", ["interrupted", "interrupted"])
    assert len(world.outside.keys["/cut"]) == 1


def posts(world: World, path: str, **more: Any) -> dict[str, Any]:
    return {"kind": "http", "input": {"method": "POST", "url": world.outside.url(path), "json": 1}, **more}


def starts(workflow: str) -> dict[str, Any]:
    return {"kind": "workflow", "input": {"workflow": workflow}}


async def declared(world: World, name: str, **tasks: Any) -> None:
    await world.asked("/v1/workflows", name=name, tasks=tasks)


async def test_a_retry_takes_up_the_runs_below_in_place_however_deep(world: World) -> None:
    world.outside.answers["/deep-bad"].extend([400, 200])
    await declared(world, "deepest", good=posts(world, "/deep"), bad=posts(world, "/deep-bad", depends_on=["good"]))
    await declared(world, "deeper", before=posts(world, "/between"), w={**starts("deepest"), "depends_on": ["before"]})
    href = await world.started("deep", w=starts("deeper"), v=posts(world, "/after", depends_on=["w"]))
    await world.until(href, "failed")

    await world.asked(f"{href}/retry")
    run = await world.until(href, "succeeded", "failed")

    keys = world.outside.keys
    assert run["status"] == "succeeded", run
    assert [len(keys[path]) for path in ("/between", "/deep", "/deep-bad", "/after")] == [1, 1, 2, 1]
    assert len(set(keys["/deep-bad"])) == 1


async def test_a_cancelled_run_is_taken_up_with_the_runs_below_and_those_of_a_maps_items(world: World) -> None:
    world.outside.gates["/held"] = gate = asyncio.Event()
    await declared(world, "held", good=posts(world, "/kept"), bad=posts(world, "/held", depends_on=["good"]))
    each = {"kind": "map", "input": {"over": [1, 2], "task": starts("held")}}
    href = await world.started("holding", w=starts("held"), each=each)
    await eventually(lambda: len(world.outside.keys["/held"]) == 3, timeout_s=30)
    await world.asked(f"{href}/cancel")
    gate.set()

    await world.asked(f"{href}/retry")
    run = await world.until(href, "succeeded", "failed")

    assert run["status"] == "succeeded", run
    assert len(world.outside.keys["/kept"]) == 3
    assert (len(world.outside.keys["/held"]), len(set(world.outside.keys["/held"]))) == (6, 3)


async def test_a_fork_of_a_map_does_only_those_items_again_that_it_must(world: World) -> None:
    world.outside.answers["/each"].extend([200, 200, 400])
    item = posts(world, "/each", retry={"max_attempts": 1})
    item["input"]["json"] = {"$ref": "item"}
    each = {"kind": "map", "input": {"over": [10, 11, 12, 13, 14], "concurrency": 1, "task": item}}
    href = await world.started("mapping", each=each, after=posts(world, "/mapped", depends_on=["each"]))
    await world.until(href, "failed")
    calls = world.outside.bodies["/each"]

    async def forked(of: str, **body: Any) -> tuple[str, list[str]]:
        before = len(calls)
        answer = await world.client.post(f"{of}/fork", json=body)
        assert answer.status_code == 202, answer.text
        run = await world.until(answer.json()["href"], "succeeded", "failed")
        assert run["status"] == "succeeded", run
        return answer.json()["href"], calls[before:]

    mended, rest = await forked(href)
    _, one = await forked(mended, **{"from": "each[1]"})
    _, whole = await forked(mended, **{"from": "each"})

    assert (rest, one, sorted(whole)) == (["12", "13", "14"], ["11"], ["10", "11", "12", "13", "14"])
    tasks = (await world.client.get(f"{mended}/tasks")).json()["items"]
    assert [len(task["output"]) for task in tasks if task["key"] == "each"] == [5]
    assert len(world.outside.keys["/mapped"]) == 3
