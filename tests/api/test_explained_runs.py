"""What is told of the models that were asked: which answered, and what was left of which budget then."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import a_stage, goal_of, run_of
from tests.conftest import Run

from cognitionos.platform.config import Settings

RULES: list[dict[str, Any]] = [
    {
        "system_contains": ["executor"],
        "tool_results": 0,
        "call": [{"name": "write_file", "arguments": {"name": "a.md", "text": "Sea."}}],
    },
    {"system_contains": ["executor"], "say": "It is in a.md."},
    {"contains": ["give up"], "json": {"nonsense": True}},
    {"system_contains": ["planner"], "json": {"t1": {"title": "Write", "instructions": "Write.", "depends_on": []}}},
    {"say": "Done."},
]
WRITE = {"kind": "agent", "input": {"instructions": "Write."}}


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


async def explained(client: httpx.AsyncClient, run_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/runs/{run_id}/explain")
    assert answer.status_code == 200, answer.text
    decisions: list[dict[str, Any]] = answer.json()["decisions"]
    return decisions


async def test_without_a_goal_the_tightest_is_the_agent_run_s_or_the_task_s(client: httpx.AsyncClient) -> None:
    free, _ = await run_of(client, "free", WRITE)
    bound, [task] = await run_of(client, "bound", {**WRITE, "budget_usd": "0.25"})

    first, second = await explained(client, free["id"])
    begun, ended = await explained(client, bound["id"])

    assert first["budget_subject"].startswith("agent_run:")
    assert first["budget_subject"] == second["budget_subject"]
    assert Decimal(first["call"]["cost_usd"]) > 0
    assert Decimal(first["budget_left_usd"]) == 1
    assert Decimal(second["budget_left_usd"]) == 1 - Decimal(first["call"]["cost_usd"])
    assert begun["budget_subject"] == ended["budget_subject"] == f"task:{task['id']}"
    assert Decimal(ended["budget_left_usd"]) == Decimal("0.25") - Decimal(begun["call"]["cost_usd"])


async def test_within_a_goal_all_of_its_calls_count(client: httpx.AsyncClient) -> None:
    goal = await goal_of(client, "Write about the sea", budget_usd="0.50")

    decisions = await explained(client, goal["run_id"])

    costs = [Decimal(each["call"]["cost_usd"]) for each in decisions]
    assert goal["status"] == "succeeded", goal
    assert {each["budget_subject"] for each in decisions} == {f"goal:{goal['id']}"}
    assert [Decimal(each["budget_left_usd"]) for each in decisions] == [
        Decimal("0.50") - sum(costs[:number]) for number in range(len(costs))
    ]


async def test_a_goal_that_failed_says_which_models_answered(client: httpx.AsyncClient) -> None:
    failed = await goal_of(client, "Give up at once")
    run = (await client.get(failed["run_href"])).json()

    assert (failed["status"], failed["error"]["type"]) == ("failed", "/problems/invalid-plan"), failed
    assert failed["models"] == run["models"] == ["openai/gpt-4o-mini"]
    assert not failed["simulated"]


async def test_a_budget_of_the_run_itself_counts_from_when_it_was_set(client: httpx.AsyncClient) -> None:
    first, _ = await run_of(client, "before", WRITE)
    await client.post("/v1/budgets", json={"subject": f"run:{first['id']}", "limit_usd": "0.01"})

    decisions = await explained(client, first["id"])

    assert {each["budget_subject"].split(":")[0] for each in decisions} == {"agent_run"}


async def test_decisions_are_paged_each_with_its_call_and_the_cost_is_the_run_s(client: httpx.AsyncClient) -> None:
    ended, _ = await run_of(client, "paged", WRITE)
    href = f"/v1/runs/{ended['id']}/explain"
    whole = (await client.get(href)).json()

    first = (await client.get(href, params={"limit": 1})).json()
    second = (await client.get(href, params={"limit": 1, "cursor": first["next_cursor"]})).json()
    refused = await client.get(href, params={"limit": 1001})

    assert whole["next_cursor"] is None
    assert len(whole["decisions"]) == 2
    assert first["decisions"] + second["decisions"] == whole["decisions"]
    assert all(each["call"] is not None for each in whole["decisions"])
    assert second["next_cursor"] is None
    assert first["cost_usd"] == second["cost_usd"] == whole["cost_usd"]
    assert Decimal(whole["cost_usd"]) == sum(Decimal(each["call"]["cost_usd"]) for each in whole["decisions"])
    assert refused.status_code == 400


async def test_a_run_that_failed_says_which_prompts_it_used(client: httpx.AsyncClient) -> None:
    failed = await goal_of(client, "Give up at once")

    run = (await client.get(failed["run_href"])).json()

    assert run["status"] == "failed"
    assert run["prompts"].keys() == {"planner"}
