"""One goal that is decomposed again and again by real processes: a task too large for its share is planned anew."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import connected
from tests.cpu import cpu_s_of
from tests.crash.kit import a_product
from tests.edge import a_caller, client_of, running_app
from tests.upstream import Say, running_upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

FAILED = "## The task that failed\n"
GOAL = {"statement": "Do it all.", "budget_usd": "100000", "replans": 150, "plan_tasks": 100}
PRICE = {"input_usd_per_million": "1", "output_usd_per_million": "1"}
CPU_S = 30.0
"""At most, for 10,000 tasks, of the worker: it plans one level after the other, so its CPU is most of the time."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A goal that a worker works on."""

    client: httpx.AsyncClient
    worker: int
    goal: dict[str, Any]

    async def run(self) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.client.get(self.goal["run_href"])).json()
        return shown

    async def until(self, holds: Callable[[dict[str, Any]], bool], *, timeout_s: float) -> dict[str, Any]:
        """The run as soon as that holds of it."""

        async def asked() -> dict[str, Any] | None:
            run = await self.run()
            assert run["status"] != "failed", run["error"]
            return run if holds(run) else None

        return await eventually(asked, timeout_s=timeout_s) or {}


def planning(*, width: int, depth: int) -> Callable[[dict[str, Any]], Say]:
    """A model whose plans have `width` tasks. All of them build on the first, whose share pays for nothing: it is
    planned anew, until there are `depth` levels.
    """

    def speak(body: dict[str, Any]) -> Say:
        if "response_format" not in body:
            return Say(text="Done.")
        key = body["messages"][-1]["content"].partition(FAILED)[2].partition(" ")[0]
        level, prefix = (key.count(".") + 2, "n") if key else (1, "t")
        plan = {}
        for number in range(1, width + 1):
            is_large = number == 1 and level < depth
            plan[f"{prefix}{number}"] = {
                "title": f"Part {number}",
                "instructions": f"Do part {number} of level {level}.",
                "budget_share": 0.0001 if is_large else 1,
                "depends_on": [f"{prefix}1"] if number > 1 else [],
            }
        return Say(text=json.dumps(plan))

    return speak


@asynccontextmanager
async def a_deep_goal(settings: Settings, *, width: int, depth: int) -> AsyncIterator[Scene]:
    async with running_upstream(speak=planning(width=width, depth=depth)) as upstream:
        told = connected(settings, upstream)
        model = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": upstream.api_key or ""}
        async with (
            running_app(told) as app,
            a_product(settings, COGNITIONOS_MODEL=told.model or "", **model) as product,
            client_of(app, await a_caller(told, f"deep {depth}")) as client,
        ):
            assert (await client.put("/v1/prices/openai/gpt-4o-mini", json=PRICE)).is_success
            worker = await product.worker()
            taken = await client.post("/v1/goals", json=GOAL)
            assert taken.status_code == 202, taken.text
            yield Scene(client=client, worker=worker.pid, goal=taken.json())


async def test_a_goal_is_decomposed_level_by_level_and_done(settings: Settings) -> None:
    width, depth = 14, 6
    async with a_deep_goal(settings, width=width, depth=depth) as scene:
        run = await scene.until(lambda run: run["status"] == "succeeded", timeout_s=50)
        plan = (await scene.client.get(f"{scene.goal['href']}/plan")).json()

    assert (plan["replans"], run["tasks"]["failed"]) == (depth - 1, depth - 1)
    assert run["total_tasks"] == 1 + depth * (width + 1) + depth - 1  # each level's tasks, their summary, its planning
    assert {"t14", "t1.n14", "t1.n1.n1.n1.n1.n14"} <= {task["key"] for task in plan["tasks"]}
    assert Decimal(run["cost_usd"]) > 0


@pytest.mark.long
async def test_ten_thousand_tasks_a_hundred_levels_deep_are_planned_in_time(settings: Settings) -> None:
    width, depth, most = 99, 100, 10_000
    async with a_deep_goal(settings, width=width, depth=depth) as scene:
        before = cpu_s_of(scene.worker)
        run = await scene.until(lambda run: run["total_tasks"] >= most, timeout_s=200)
        cost = cpu_s_of(scene.worker) - before
        cancelled = await scene.client.post(f"{scene.goal['run_href']}/cancel")

    assert cost < CPU_S, run["total_tasks"]
    assert cancelled.is_success
