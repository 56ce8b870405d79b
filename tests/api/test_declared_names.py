"""Names in a declaration that mean nothing are refused when it is declared, not when somebody runs it."""

import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import mcp_peer
from tests.api.agent_stage import a_stage, run_of
from tests.conftest import Run

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    open_settings = settings.model_copy(update={"mcp_stdio": True})
    yield run(a_stage(stack, open_settings, [{"say": "Done."}]))
    run(stack.aclose())


async def declare(client: httpx.AsyncClient, name: str, tasks: dict[str, Any]) -> httpx.Response:
    return await client.post("/v1/workflows", json={"name": name, "tasks": tasks})


def faults(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {error["field"]: error["message"] for error in response.json()["errors"]}


def an_agent(name: Any = "executor", **given: Any) -> dict[str, Any]:
    return {"kind": "agent", "input": {"instructions": "Write.", "agent": name, **given}}


def a_tool(name: str) -> dict[str, Any]:
    return {"kind": "tool", "input": {"tool": name}}


def nested(name: str, *after: str) -> dict[str, Any]:
    return {"kind": "workflow", "depends_on": list(after), "input": {"workflow": name}}


async def a_peer(client: httpx.AsyncClient, name: str, command: str) -> None:
    body = {"name": name, "transport": "stdio", "command": command, "args": [str(Path(mcp_peer.__file__)), "stdio"]}
    made = await client.post("/v1/tools/servers", json=body)
    assert made.status_code == 201, made.text


async def test_agents_that_are_not_there_are_named_by_their_tasks_with_the_remedy(client: httpx.AsyncClient) -> None:
    items = {"kind": "map", "input": {"over": [1], "task": an_agent("nobody")}}

    refused = await declare(
        client,
        "strangers",
        {"a": an_agent("nobody"), "b": an_agent(critics=["critic", "x"]), "c": items, "d": an_agent("researcher")},
    )

    found = faults(refused)
    assert set(found) == {"tasks.a.input.agent", "tasks.b.input.critics.1", "tasks.c.input.task.input.agent"}
    assert found["tasks.a.input.agent"].startswith("there is no agent 'nobody'; make it by PUT /v1/agents/{name}, or ")
    assert "planner, executor, critic" in found["tasks.a.input.agent"]
    assert (await client.get("/v1/workflows/strangers")).status_code == 404


async def test_a_fork_s_changes_are_looked_up_too(client: httpx.AsyncClient) -> None:
    run, _ = await run_of(client, "to-be-forked", an_agent())

    refused = await client.post(f"/v1/runs/{run['id']}/fork", json={"changes": {"t": {"agent": "nobody"}}})
    made = await client.post(f"/v1/runs/{run['id']}/fork", json={"changes": {"t": {"agent": "researcher"}}})

    assert list(faults(refused)) == ["changes.t.agent"]
    assert made.status_code == 202, made.text


async def test_an_own_agent_is_known_and_what_comes_by_reference_is_looked_up_in_the_run(
    client: httpx.AsyncClient,
) -> None:
    await client.put("/v1/prompts/poet", json={"text": "You write."})
    await client.put("/v1/agents/poet", json={"description": "Writes."})

    made = await declare(client, "own", {"a": an_agent("poet")})
    later = {"who": {"kind": "value", "input": "nobody"}, "a": an_agent({"$ref": "tasks.who.output"})}
    later["a"]["depends_on"] = ["who"]
    await declare(client, "by-reference", later)
    run, _ = await run_of(client, "asks", nested("by-reference"))

    assert made.status_code == 201, made.text
    assert (run["status"], run["error"]["type"]) == ("failed", "/problems/agent-not-found")


async def test_a_tool_is_known_by_both_of_its_names_and_one_that_its_server_does_not_offer_is_refused(
    client: httpx.AsyncClient,
) -> None:
    await a_peer(client, "shop", sys.executable)

    good = await declare(client, "tools", {"a": a_tool("read_file"), "b": a_tool("shop.add"), "c": a_tool("shop__add")})
    bad = faults(await declare(client, "no-tools", {"a": a_tool("reed_file"), "b": a_tool("shop.ad")}))

    assert good.status_code == 201, good.text
    assert "there is no tool 'reed_file'; set its server by POST /v1/tools/servers" in bad["tasks.a.input.tool"]
    assert "the server 'shop' offers shop.add, " in bad["tasks.b.input.tool"]


async def test_a_tool_of_a_server_that_is_down_is_not_refused(client: httpx.AsyncClient) -> None:
    await a_peer(client, "down", "/nowhere/peer")

    made = await declare(client, "of-a-server-that-is-down", {"a": a_tool("down.order")})

    assert made.status_code == 201, made.text


async def test_a_nested_workflow_must_be_there_in_the_version_named(client: httpx.AsyncClient) -> None:
    await declare(client, "inner", {"a": {"kind": "value"}})

    refused = faults(await declare(client, "outer", {"a": nested("iner"), "b": nested("inner@2")}))
    made = await declare(client, "outer", {"a": nested("inner"), "b": nested("inner@1")})

    assert refused == {
        "tasks.a.input.workflow": "there is no workflow 'iner'; declare it first, by POST /v1/workflows",
        "tasks.b.input.workflow": "there is no version 2 of the workflow 'inner'; the latest is 1",
    }
    assert made.status_code == 201, made.text


async def test_a_fork_s_changes_name_workflows_and_agents_that_are_there(client: httpx.AsyncClient) -> None:
    await declare(client, "inner-of-fork", {"a": {"kind": "value"}})
    await declare(client, "outer-of-fork", {"a": nested("inner-of-fork"), "b": {"kind": "value"}})
    href = (await client.post("/v1/runs", json={"workflow": "outer-of-fork"})).headers["location"]
    await client.post(f"{href}/cancel")

    refused = [
        await client.post(f"{href}/fork", json={"changes": {"a": {"workflow": name}}})
        for name in ("iner", "inner-of-fork@2")
    ]
    made = await client.post(f"{href}/fork", json={"changes": {"a": {"workflow": "inner-of-fork@1"}}})

    assert [faults(each) for each in refused] == [
        {"changes.a.workflow": "there is no workflow 'iner'; declare it first, by POST /v1/workflows"},
        {"changes.a.workflow": "there is no version 2 of the workflow 'inner-of-fork'; the latest is 1"},
    ]
    assert made.status_code == 202, made.text


async def test_workflows_that_would_start_each_other_for_ever_are_refused_with_the_circle_named(
    client: httpx.AsyncClient,
) -> None:
    await declare(client, "ping", {"a": {"kind": "value"}})
    await declare(client, "pong", {"a": nested("ping")})

    itself = faults(await declare(client, "loop", {"a": {"kind": "value"}, "b": nested("loop", "a")}))
    by_another = faults(await declare(client, "ping", {"a": nested("pong")}))

    assert "every run of it would start another run of it ('loop' -> 'loop')" in itself["tasks.b.input.workflow"]
    assert "('ping' -> 'pong' -> 'ping')" in by_another["tasks.a.input.workflow"]


async def test_a_workflow_may_start_itself_where_a_condition_decides(client: httpx.AsyncClient) -> None:
    tasks = {
        "more": {
            "kind": "condition",
            "input": {"left": {"$ref": "run.input.go"}, "op": "truthy", "then": ["again"], "else": ["end"]},
        },
        "end": {"kind": "value", "depends_on": ["more"], "input": {"text": "at the end"}},
        "again": {
            "kind": "workflow",
            "depends_on": ["more"],
            "input": {"workflow": "count-down", "input": {"$ref": "run.input.next"}},
        },
    }
    made = await declare(client, "count-down", tasks)

    assert made.status_code == 201, made.text
    last: dict[str, Any] = {"go": False, "next": None}
    twice = {"go": True, "next": {"go": True, "next": last}}
    wrapped = {"kind": "workflow", "input": {"workflow": "count-down@1", "input": twice}}
    run, [task] = await run_of(client, "counts-down", wrapped)
    assert (run["status"], task["output"]) == ("succeeded", {"again": {"again": {"end": {"text": "at the end"}}}})
