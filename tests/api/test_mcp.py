"""CognitionOS as an MCP server, asked by the official client."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from tests.api.server import running_server
from tests.conftest import Run
from tests.edge import Caller, a_caller

from cognitionos.kernel.principal import Permission
from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def url(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_server(settings, Path(tmp_path_factory.mktemp("serve")) / "log") as running:
        yield running


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    return run(a_caller(settings, "mcp"))


@asynccontextmanager
async def a_client(url: str, caller: Caller, mode: str = "auto") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=caller.headers, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def told(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    answer: dict[str, Any] = result.structured_content
    return answer


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_are_listed_in_each_era_of_the_protocol(url: str, caller: Caller, mode: str) -> None:
    async with a_client(url, caller, mode) as client:
        tools = {each.name: each for each in (await client.list_tools()).tools}

    assert {"start_goal", "follow_run", "search_memory", "remember"} <= set(tools)
    assert tools["start_goal"].input_schema["required"] == ["statement"]
    assert tools["get_goal"].annotations is not None
    assert tools["get_goal"].annotations.read_only_hint


async def test_a_goal_is_started_and_seen_and_cancelled(url: str, caller: Caller) -> None:
    async with a_client(url, caller) as client:
        made = await told(client, "start_goal", statement="say hello", budget_usd="0.10")
        seen = await told(client, "get_goal", goal_id=made["id"])
        listed = await told(client, "list_goals", limit=10)
        await told(client, "cancel_goal", goal_id=made["id"])

    assert seen["statement"] == "say hello"
    assert made["id"] in str(listed)


async def test_a_run_is_started_and_followed(url: str, caller: Caller) -> None:
    body = {"name": "echo", "tasks": {"t": {"kind": "value", "input": 1}}}
    api = httpx.AsyncClient(base_url=url, headers=caller.headers)

    async with api, a_client(url, caller) as client:
        (await api.post("/v1/workflows", json=body)).raise_for_status()
        made = await told(client, "start_run", workflow="echo", input={"n": 1})
        waited = await told(client, "follow_run", run_id=made["id"], wait_s=0.2)
        (await api.post(f"/v1/runs/{made['id']}/cancel")).raise_for_status()
        ended = await told(client, "follow_run", run_id=made["id"], wait_s=10)
        tasks = await told(client, "list_tasks", run_id=made["id"])

    assert waited["status"] == "queued"  # no worker runs here
    assert ended["status"] == "cancelled"
    assert "t" in str(tasks)


async def test_what_is_remembered_is_found(url: str, caller: Caller) -> None:
    async with a_client(url, caller) as client:
        await told(client, "remember", content="The supplier of ink is Acme.")
        found = await told(client, "search_memory", query="who supplies ink", limit=3)

    assert "Acme" in str(found)


async def test_what_a_route_refuses_is_an_error_of_the_tool(url: str, caller: Caller) -> None:
    async with a_client(url, caller) as client:
        absent = await client.call_tool("get_goal", {"goal_id": "00000000-0000-7000-8000-000000000000"})
        tricky = await client.call_tool("get_goal", {"goal_id": "../api-keys"})
        missing = await client.call_tool("start_goal", {})
        unknown = await client.call_tool("format_disk", {})

    assert [each.is_error for each in (absent, tricky, missing, unknown)] == [True] * 4
    assert "goal-not-found" in str(absent.structured_content)
    assert "There is no tool" in str(unknown.content)


@pytest.mark.parametrize(
    ("tool", "arguments", "fault"),
    [
        ("follow_run", {}, "run_id is missing"),
        ("follow_run", {"run_id": ""}, "run_id must be at least 1 characters"),
        ("follow_run", {"run_id": "x", "after": 1}, "after is not known; known are run_id, wait_s"),
        ("follow_run", {"run_id": "x", "wait_s": "long"}, "wait_s must be of type number"),
        ("get_goal", {"goal_id": 7}, "goal_id must be of type string"),
        ("list_goals", {"limit": 0}, "limit must be at least 1"),
    ],
)
async def test_arguments_are_checked_against_the_tool_s_schema(
    url: str, caller: Caller, tool: str, arguments: dict[str, Any], fault: str
) -> None:
    async with a_client(url, caller) as client:
        answer = await client.call_tool(tool, arguments)

    assert answer.is_error
    assert fault in str(answer.structured_content)


async def test_another_tenant_sees_nothing(url: str, caller: Caller, settings: Settings) -> None:
    async with a_client(url, caller) as client:
        made = await told(client, "start_goal", statement="mine alone")
        await told(client, "remember", content="The password of the safe is in the drawer.")
    stranger = await a_caller(settings, "stranger")

    async with a_client(url, stranger) as client:
        goals = await told(client, "list_goals")
        found = await told(client, "search_memory", query="password of the safe")
        goal = await client.call_tool("get_goal", {"goal_id": made["id"]})

    assert "mine alone" not in str(goals)
    assert "drawer" not in str(found)
    assert goal.is_error


async def test_a_key_may_do_over_mcp_what_its_scopes_say(url: str, settings: Settings) -> None:
    reader = await a_caller(settings, "mcp-reader", scopes=frozenset({Permission.GOALS_READ}))

    async with a_client(url, reader) as client:
        refused = await client.call_tool("start_goal", {"statement": "x"})
        await told(client, "list_goals")

    assert refused.is_error
    assert "goals:write" in str(refused.content)


async def test_a_client_that_starts_a_process_gets_the_same_tools(url: str, caller: Caller) -> None:
    env = {"COGNITIONOS_URL": url, "COGNITIONOS_API_KEY": caller.key}
    process = StdioServerParameters(command=sys.executable, args=["-m", "cognitionos", "mcp"], env=env)

    async with Client(process) as client:
        tools = {each.name for each in (await client.list_tools()).tools}
        await told(client, "remember", content="The printer is on the third floor.")
        found = await told(client, "search_memory", query="where is the printer")

    assert "start_goal" in tools
    assert "third floor" in str(found)


def test_the_process_says_in_one_line_why_it_cannot_serve(url: str) -> None:
    env = {**os.environ, "COGNITIONOS_URL": url, "COGNITIONOS_API_KEY": "cog_wrong"}

    ended = subprocess.run(
        [sys.executable, "-m", "cognitionos", "mcp"], env=env, capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "refuses the key (HTTP 401)" in ended.stderr


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer cog_wrong"}])
def test_nothing_is_answered_without_a_key(url: str, headers: dict[str, str]) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

    answer = httpx.post(f"{url}/mcp", json=body, headers={"accept": "application/json, text/event-stream", **headers})

    assert answer.status_code == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc": "2.0"}', b'{"method": 1}', b"\xff"])
def test_nonsense_is_refused_in_the_protocol_s_words(url: str, caller: Caller, body: bytes) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream", **caller.headers}

    answer = httpx.post(f"{url}/mcp", content=body, headers=headers, timeout=60)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] < 0
