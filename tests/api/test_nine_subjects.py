"""Budgets on all nine subjects at once: what runs, the runs they start, goals and conversations spend counts."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from itertools import count
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import Stage, a_stage_for, fields_wanted, goal_of
from tests.conftest import Run
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.platform.config import Settings

GATE = {"kind": "wait", "input": {"signal": "go"}}
NESTED = {"outer": "inner", "inner": "innermost", "innermost": None}
"""Which workflow starts which."""
_NUMBERS = count(1)


def speak(body: dict[str, Any]) -> Say:
    """Every answer costs another amount, so that no sum is right by chance."""
    number, wanted = next(_NUMBERS), fields_wanted(body)
    usage = {"prompt_tokens": 100 + number, "completion_tokens": 7 * number, "total_tokens": 100 + 8 * number}
    if "t1" not in wanted:
        return Say(text=f"Line {number}.", usage=usage)
    task = {"title": "Line", "instructions": "Write a line.", "capability": "general", "review": False}
    return Say(text=json.dumps({**dict.fromkeys(wanted), "t1": task}), usage=usage)


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[Stage]:
    stack = AsyncExitStack()
    yield run(a_stage_for(stack, settings, speak))
    run(stack.aclose())


async def limited(client: httpx.AsyncClient, subject: str) -> None:
    body = {"subject": subject, "limit_usd": "1", "soft": None, "halt": None}
    (await client.post("/v1/budgets", json=body)).raise_for_status()


async def spent(client: httpx.AsyncClient, subject: str) -> Decimal:
    (budget,) = (await client.get("/v1/budgets", params={"subject": subject})).json()["budgets"]
    assert budget["held_usd"] == "0", budget
    return Decimal(budget["spent_usd"])


async def rolled_up(client: httpx.AsyncClient, by: str) -> dict[str | None, Decimal]:
    usage = (await client.get("/v1/usage", params={"group_by": by, "limit": 200})).json()
    return {group["key"]: Decimal(group["cost_usd"]) for group in usage["groups"]}


async def started(client: httpx.AsyncClient, workflow: str, ids: dict[str, str]) -> str:
    """The run of the workflow, which waits at its gate, limited as its tasks are and let go."""
    if not ids:
        ids[workflow] = (await client.post("/v1/runs", json={"workflow": workflow})).json()["id"]
    href = f"/v1/runs/{ids[workflow]}"
    tasks = (await client.get(f"{href}/tasks")).json()["items"]
    for subject in (f"run:{ids[workflow]}", *(f"task:{task['id']}" for task in tasks)):
        await limited(client, subject)
    (await client.post(f"{href}/signals/go", json={})).raise_for_status()
    return href


async def nested_in(client: httpx.AsyncClient, href: str) -> str | None:
    events = (await client.get(f"{href}/tasks")).json()["items"]
    runs = (await client.get("/v1/runs")).json()["items"]
    assert events
    return next((each["id"] for each in runs if f"/v1/runs/{each.get('parent_run_id')}" == href), None)


async def test_what_a_run_spends_counts_on_each_of_its_subjects_and_on_the_runs_that_started_it(stage: Stage) -> None:
    client = stage.client
    price = {"input_usd_per_million": "0.7", "output_usd_per_million": "1.3"}
    (await client.put("/v1/prices/openai/gpt-4o-mini", json=price)).raise_for_status()
    (key,) = (await client.get("/v1/api-keys")).json()["items"]
    me = (await client.get("/v1/me")).json()
    everything = [f"api_key:{key['id']}", f"tenant:{me['tenant_id']}", f"project:{me['project_id']}"]
    for subject in (*everything, *(f"workflow:{name}" for name in NESTED), "user:ada"):
        await limited(client, subject)
    for name, inside in reversed(NESTED.items()):
        write = {"kind": "agent", "input": {"instructions": f"Write for {name}."}, "depends_on": ["gate"]}
        tasks: dict[str, Any] = {"gate": GATE, "write": write}
        if inside:
            tasks["inside"] = {"kind": "workflow", "input": {"workflow": inside}, "depends_on": ["gate"]}
        made = await client.post("/v1/workflows", json={"name": name, "tasks": tasks})
        assert made.status_code == 201, made.text

    runs: dict[str, str] = {}
    for name, inside in NESTED.items():
        href = await started(client, name, runs)
        if inside:
            runs[inside] = await eventually(lambda href=href: nested_in(client, href)) or ""
    await eventually(lambda: _succeeded(client, runs["outer"]), timeout_s=60)
    goal = await goal_of(client, "A line")
    talk = (await client.post("/v1/conversations", json={"title": "Lines"})).json()["id"]
    await limited(client, f"run:{talk}")
    (await client.post(f"/v1/conversations/{talk}/messages", json={"content": "Hello."})).raise_for_status()
    chat = {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "user": "ada"}
    (await client.post("/v1/chat/completions", json=chat)).raise_for_status()

    by = {name: await rolled_up(client, name) for name in ("run", "task", "agent_run", "goal", "user", "workflow")}
    total = sum(by["run"].values())
    assert [await spent(client, subject) for subject in everything] == [total] * 3
    own = [by["run"][runs[name]] for name in NESTED]
    assert all(own)
    assert [by["workflow"][name] for name in NESTED] == own
    with_nested = [sum(own[place:]) for place in range(len(own))]
    assert [await spent(client, f"run:{runs[name]}") for name in NESTED] == with_nested
    assert [await spent(client, f"workflow:{name}") for name in NESTED] == with_nested
    assert Decimal((await client.get(f"/v1/runs/{runs['outer']}")).json()["cost_usd"]) == with_nested[0]
    assert await spent(client, "user:ada") == by["user"]["ada"] > 0
    assert await spent(client, f"goal:{goal['id']}") == by["goal"][goal["id"]] > 0
    assert await spent(client, f"run:{talk}") == by["run"][talk] > 0
    for kind in ("task", "agent_run"):
        costs = {key: cost for key, cost in by[kind].items() if key is not None}
        assert len(costs) >= 6, (kind, costs)
        limits = {each["subject"]: Decimal(each["spent_usd"]) for each in await _all_budgets(client)}
        told = {key: limits[f"{kind}:{key}"] for key in costs if f"{kind}:{key}" in limits}
        assert len(told) >= 3
        assert told == {key: costs[key] for key in told}
    assert (await client.post("/v1/budgets/recount", json={})).json()["miscounts"] == []


async def test_a_budget_on_a_run_stops_the_runs_that_it_starts(stage: Stage) -> None:
    client = stage.client
    write = {"kind": "agent", "input": {"instructions": "Write what nobody pays."}}
    inside = {"kind": "workflow", "input": {"workflow": "below"}, "depends_on": ["gate"]}
    for name, tasks in (("below", {"write": write}), ("above", {"gate": GATE, "inside": inside})):
        (await client.post("/v1/workflows", json={"name": name, "tasks": tasks})).raise_for_status()
    run = (await client.post("/v1/runs", json={"workflow": "above"})).json()["id"]
    body = {"subject": f"run:{run}", "limit_usd": "0.000001"}
    (await client.post("/v1/budgets", json=body)).raise_for_status()

    (await client.post(f"/v1/runs/{run}/signals/go", json={})).raise_for_status()
    ended: dict[str, Any] = await eventually(lambda: _ended(client, run), timeout_s=60)

    assert ended["status"] == "failed"
    assert ended["error"]["type"] == "/problems/budget-exhausted"
    assert f"run:{run}" in ended["error"]["detail"]


async def _ended(client: httpx.AsyncClient, run: str) -> dict[str, Any] | None:
    found: dict[str, Any] = (await client.get(f"/v1/runs/{run}")).json()
    return found if found["status"] in {"succeeded", "failed"} else None


async def _succeeded(client: httpx.AsyncClient, run: str) -> bool:
    ended = await _ended(client, run)
    assert ended is None or ended["status"] == "succeeded", ended
    return ended is not None


async def _all_budgets(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/v1/budgets")).json()["budgets"]
    return found
