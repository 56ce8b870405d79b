"""Two API processes without Redis, from their start on or from the middle of their work: slower, and just as exact."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.api_process import api_process
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.servers import scratch_dir
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings
from cognitionos.platform.embedded import EmbeddedServers

CHAT, LAYER = "/v1/chat/completions", "x-cognitionos-cache"
BOUND = Decimal("0.0002")
"""100 completion tokens at 2 dollars per million; prompts are free."""
USAGE = {"prompt_tokens": 1, "completion_tokens": 100, "total_tokens": 101}
RATE = 200


@dataclass(kw_only=True)
class Stage:
    """Two processes on a Redis of their own, which `stop` ends for good."""

    redis: EmbeddedServers
    upstream: Upstream
    settings: Settings
    urls: list[str]

    def stop(self) -> None:
        self.redis.stop()


@asynccontextmanager
async def a_stage(settings: Settings, folder: Path, *, stopped: bool) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        redis = EmbeddedServers(folder, postgres=None, valkey=True)
        urls = redis.start()
        stack.callback(redis.stop)
        if stopped:
            redis.stop()
        upstream = await stack.enter_async_context(running_upstream())
        environment = {
            "OPENAI_BASE_URL": upstream.base_url,
            "OPENAI_API_KEY": upstream.api_key or "",
            "REDIS_URL": urls.redis or "",
            "COGNITIONOS_RATE_LIMIT_PER_MINUTE": str(RATE),
        }
        started = [stack.enter_context(api_process(settings, environment)) for _ in range(2)]
        yield Stage(redis=redis, upstream=upstream, settings=settings, urls=started)


@pytest.fixture(scope="module", params=["from the start", "in the middle"])
def stage(request: pytest.FixtureRequest, settings: Settings, run: Run) -> Iterator[Stage]:
    with scratch_dir() as folder:
        stack = AsyncExitStack()
        yield run(stack.enter_async_context(a_stage(settings, folder, stopped=request.param == "from the start")))
        run(stack.aclose())


def asking(text: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields


@asynccontextmanager
async def two_clients(stage: Stage) -> AsyncIterator[tuple[Caller, list[httpx.AsyncClient]]]:
    caller = await a_caller(stage.settings, f"gone-{uuid4()}")
    limits = httpx.Limits(max_connections=200)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60, limits=limits)
            )
            for url in stage.urls
        ]
        price = {"input_usd_per_million": "0", "output_usd_per_million": "2"}
        (await clients[0].put("/v1/prices/m", json=price)).raise_for_status()
        yield caller, clients


async def test_a_budget_is_exact_while_redis_stops_and_when_it_is_gone(stage: Stage) -> None:
    stage.upstream.reset()
    async with two_clients(stage) as (caller, clients):
        budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": str(BOUND * 10)}
        (await clients[0].post("/v1/budgets", json=budget)).raise_for_status()
        stage.upstream.then(*(Say(text="x", usage=USAGE, delay_s=0.1) for _ in range(60)))

        async def one(number: int) -> int:
            body = asking(f"number {number}", stream=number % 4 < 2)
            return (await clients[number % 2].post(CHAT, json=body)).status_code

        calls = [asyncio.create_task(one(number)) for number in range(60)]
        await eventually(lambda: stage.upstream.calls)
        await asyncio.to_thread(stage.stop)
        statuses = await asyncio.gather(*calls)

        assert (statuses.count(200), statuses.count(429)) == (10, 50)
        assert len(stage.upstream.calls) == 10
        [found] = (await clients[1].get("/v1/budgets")).json()["budgets"]
        assert (Decimal(found["spent_usd"]), Decimal(found["held_usd"])) == (BOUND * 10, 0)
        assert (await clients[1].post("/v1/budgets/recount", json={})).json()["miscounts"] == []


async def test_calls_are_answered_streamed_kept_and_shared_without_it(stage: Stage) -> None:
    await asyncio.to_thread(stage.stop)
    stage.upstream.reset()
    async with two_clients(stage) as (_, clients):
        ready = (await clients[0].get("/health/ready")).json()
        stage.upstream.speak = lambda body: Say(text=body["messages"][0]["content"], usage=USAGE, delay_s=0.3)
        first = await clients[0].post(CHAT, json=asking("again?"))

        async def again() -> httpx.Response | None:
            answer = await clients[1].post(CHAT, json=asking("again?", stream=True))
            return answer if answer.headers[LAYER] == "durable" else None

        durable: httpx.Response = await eventually(again)
        together = await asyncio.gather(
            *(clients[0].post(CHAT, json=asking("at once", stream=number > 2)) for number in range(6))
        )
        usage = (await clients[1].get("/v1/usage")).json()
        stage.upstream.speak = None

    assert ready["status"] == "degraded"
    assert first.headers[LAYER] == "none"
    assert "again?" in durable.text
    assert durable.text.endswith("data: [DONE]\n\n")
    shared = [call for call in stage.upstream.calls if call["messages"][0]["content"] == "at once"]
    assert len(shared) == 1
    assert sorted(answer.headers[LAYER] for answer in together) == ["coalesced"] * 5 + ["none"]
    assert Decimal(usage["total_usd"]) == BOUND * len(stage.upstream.calls)


async def test_a_deployment_that_fails_is_left_alone_by_each_process(stage: Stage) -> None:
    await asyncio.to_thread(stage.stop)
    stage.upstream.reset()
    async with two_clients(stage) as (_, clients):
        model = f"sick-{uuid4().hex}"
        stage.upstream.speak = lambda _: Say(status=500)
        failed = await asyncio.gather(
            *(clients[0].post(CHAT, json=asking(f"sick {number}", model=model)) for number in range(5))
        )
        tried = len(stage.upstream.calls)
        refused = await clients[0].post(CHAT, json=asking("sick again", model=model))
        circuits: Any = (await clients[0].get("/v1/circuits")).json()
        stage.upstream.speak = None

    assert {answer.status_code for answer in [*failed, refused]} == {503}
    assert len(stage.upstream.calls) == tried
    assert "open" in str(circuits)


async def test_a_rate_is_limited_in_each_process(stage: Stage) -> None:
    await asyncio.to_thread(stage.stop)
    async with two_clients(stage) as (_, clients):
        begun = time.monotonic()
        answers = await asyncio.gather(*(clients[0].get("/v1/usage") for _ in range(RATE * 2)))
        minutes = (time.monotonic() - begun) / 60

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(answers) - len(refused) <= RATE * (1 + minutes) + 1
    assert refused
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
