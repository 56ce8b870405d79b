"""What memory's tools ask of models inside a run is the run's: its rows name run, task and agent run."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import a_stage, run_of
from tests.conftest import Run

from cognitionos.platform.config import Settings

RULES: list[dict[str, Any]] = [
    {
        "contains": ["who sells ink"],
        "tool_results": 0,
        "call": [
            {"name": "recall", "arguments": {"query": "Who sells ink?"}},
            {"name": "remember", "arguments": {"content": "Acme sells ink."}},
        ],
    },
    {"contains": ["who sells ink"], "say": "Acme."},
]


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


async def test_embeddings_of_a_run_are_counted_by_run_and_task_and_against_its_budgets(
    client: httpx.AsyncClient,
) -> None:
    task = {"kind": "agent", "input": {"agent": "executor", "instructions": "Say who sells ink."}}
    run, tasks = await run_of(client, "ink", task)
    assert run["status"] == "succeeded", tasks

    rows = (await client.get("/v1/usage/calls", params={"limit": 200})).json()["items"]
    embedded = [row for row in rows if row["kind"] == "embedding"]
    asked = [row for row in rows if row["kind"] != "embedding"]
    by_task = (await client.get("/v1/usage", params={"group_by": "task"})).json()["groups"]

    [question, fact] = [row for row in embedded if row["agent_run"] is not None]
    for name in ("run", "task", "agent_run", "workflow", "api_key", "project"):
        assert question[name] == fact[name] == asked[0][name], name
    assert question["run"] == run["id"]
    assert {group["key"]: group["calls"] for group in by_task}[question["task"]] == len(asked) + 2
