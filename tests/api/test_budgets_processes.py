"""Budgets through two API processes: never overspent, nearly all spent, and what a killed process held comes back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from redis.asyncio import Redis
from tests.conftest import Run, TestDatabase
from tests.crash.kit import a_product
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos.cli.crash_test.processes import Processes
from cognitionos.cli.listening import answers_ready, free_port
from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
BOUND = Decimal("0.0002")
"""100 completion tokens at 2 dollars per million; prompts are free."""


@dataclass(kw_only=True)
class Pair:
    """Two API processes on one database, short signs of life; `product` starts more of them."""

    product: Processes
    upstream: Upstream
    urls: list[str]


SHORT = {"COGNITIONOS_HOLD_SWEEP_S": "0.2", "COGNITIONOS_HOLD_DEAD_S": "1.5"}
"""Signs of life that tests need not wait for; the defaults promise a minute."""


PATIENCE_S = 150
"""For what takes 42 s at most by the defaults, on a machine that has other things to do."""


@asynccontextmanager
async def a_pair(settings: Settings, **more: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(running_upstream())
        product = await stack.enter_async_context(
            a_product(
                settings,
                OPENAI_BASE_URL=upstream.base_url,
                OPENAI_API_KEY=upstream.api_key or "",
                COGNITIONOS_SECRET_KEY=settings.secret_key.get_secret_value(),
                COGNITIONOS_RATE_LIMIT_PER_MINUTE="100000",
                **more,
            )
        )
        ports = [free_port("127.0.0.1", 0) for _ in range(2)]
        for port in ports:
            await product.api(port)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            await eventually(lambda url=url: asyncio.to_thread(answers_ready, url), timeout_s=90)
        yield Pair(product=product, upstream=upstream, urls=urls)


@pytest.fixture(scope="module")
def pair(settings: Settings, run: Run) -> Iterator[Pair]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(a_pair(settings, **SHORT)))
    run(stack.aclose())


@pytest.fixture
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, f"pair-{uuid4()}"))
    return made


@pytest.fixture
def clients(pair: Pair, caller: Caller, run: Run) -> Iterator[list[httpx.AsyncClient]]:
    pair.upstream.reset()
    made = [client_of(url, caller) for url in pair.urls]
    price = {"input_usd_per_million": "0", "output_usd_per_million": "2"}
    run(made[0].put("/v1/prices/m", json=price))
    yield made
    for client in made:
        run(client.aclose())


def client_of(url: str, caller: Caller) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=300)
    return httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60, limits=limits)


def asking(text: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields


def usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 1, "completion_tokens": completion, "total_tokens": completion + 1}


async def opened(client: httpx.AsyncClient, caller: Caller, limit_usd: Decimal, **fields: object) -> None:
    body = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": str(limit_usd), **fields}
    (await client.post("/v1/budgets", json=body)).raise_for_status()


async def budget_of(client: httpx.AsyncClient) -> dict[str, Any]:
    (budget,) = (await client.get("/v1/budgets")).json()["budgets"]
    found: dict[str, Any] = budget
    return found


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_budget_worth_ten_answers_ten_of_two_hundred_though_redis_is_flushed_and_cut_off(
    pair: Pair, clients: list[httpx.AsyncClient], caller: Caller, redis_url: str, *, streamed: bool
) -> None:
    await opened(clients[0], caller, BOUND * 10)
    pair.upstream.then(*(Say(text="x", usage=usage(100), delay_s=0.05) for _ in range(200)))

    async def one(number: int) -> int:
        body = asking(f"number {number} {uuid4()}", stream=streamed)
        return (await clients[number % 2].post(CHAT, json=body)).status_code

    calls = [asyncio.create_task(one(number)) for number in range(200)]
    async with Redis.from_url(redis_url) as redis:
        while not all(call.done() for call in calls):
            await redis.flushdb()
            await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.wait(calls, timeout=0.1)
    statuses = [call.result() for call in calls]

    assert (statuses.count(200), statuses.count(429)) == (10, 190)
    assert len(pair.upstream.calls) == 10
    budget = await budget_of(clients[1])
    assert (Decimal(budget["spent_usd"]), Decimal(budget["held_usd"])) == (BOUND * 10, 0)
    alerts = (await clients[0].get("/v1/budgets/alerts")).json()["items"]
    assert sorted(alert["threshold"] for alert in alerts) == ["exhausted", "halt", "soft"]
    assert (await clients[1].post("/v1/budgets/recount", json={})).json()["miscounts"] == []


async def test_of_a_budget_at_least_95_percent_is_spent_where_answers_are_shorter_than_their_limits(
    pair: Pair, clients: list[httpx.AsyncClient], caller: Caller
) -> None:
    await opened(clients[0], caller, BOUND * 10)
    pair.upstream.then(*(Say(text="x", usage=usage(40), delay_s=0.02) for _ in range(80)))

    async def one(number: int) -> httpx.Response:
        body = asking(f"number {number} {uuid4()}", stream=number % 2 == 0)
        return await clients[number % 3 % 2].post(CHAT, json=body)

    answers = await asyncio.gather(*(one(number) for number in range(80)))

    spent = Decimal((await budget_of(clients[0]))["spent_usd"])
    assert BOUND * 10 * Decimal("0.95") <= spent <= BOUND * 10
    assert sum(answer.status_code == 200 for answer in answers) >= 24  # 25 are worth the budget


async def test_what_a_killed_process_had_sent_is_booked_and_what_still_queued_is_released(
    pair: Pair, clients: list[httpx.AsyncClient], caller: Caller, database: TestDatabase
) -> None:
    await opened(clients[0], caller, BOUND * 10)
    pair.upstream.then(Say(text="never", delay_s=30))
    port = free_port("127.0.0.1", 0)
    pair.product.environment["COGNITIONOS_DEPLOYMENT_CALLS"] = "1"
    doomed = await pair.product.api(port)
    url = f"http://127.0.0.1:{port}"
    await eventually(lambda: asyncio.to_thread(answers_ready, url), timeout_s=90)
    async with client_of(url, caller) as client:
        calls = [asyncio.create_task(client.post(CHAT, json=asking(f"hang {uuid4()}")))]
        await eventually(lambda: len(pair.upstream.calls) == 1)
        calls.append(asyncio.create_task(client.post(CHAT, json=asking(f"queue {uuid4()}"))))
        await eventually(lambda: _holds(database, caller) == [False, True])

        kill(doomed.pid)
        ended = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(each, httpx.TransportError) for each in ended)
    await eventually(lambda: _holds(database, caller) == [], timeout_s=10)
    assert _rows(database, caller) == [("lost", int(BOUND * 10**9), True)]
    budget = await budget_of(clients[0])
    assert (Decimal(budget["spent_usd"]), Decimal(budget["held_usd"]), budget["calls"]) == (BOUND, 0, 1)


@pytest.mark.long
async def test_on_default_settings_what_a_killed_process_held_is_closed_within_a_minute(
    settings: Settings, caller: Caller, database: TestDatabase
) -> None:
    async with a_pair(settings) as pair, client_of(pair.urls[0], caller) as client:
        price = {"input_usd_per_million": "0", "output_usd_per_million": "2"}
        (await client.put("/v1/prices/m", json=price)).raise_for_status()
        defaults = Settings(secret_key=settings.secret_key)
        places = defaults.deployment_calls
        assert defaults.hold_dead_s + defaults.hold_sweep_s < 60  # the rest of the minute is a busy machine's
        await opened(client, caller, BOUND * 1000)
        pair.upstream.speak = lambda _: Say(text="some words", delay_s=300)
        pair.upstream.then(Say(text="some words", gates={2: asyncio.Event()}))
        port = free_port("127.0.0.1", 0)
        doomed = await pair.product.api(port)
        url = f"http://127.0.0.1:{port}"
        await eventually(lambda: asyncio.to_thread(answers_ready, url), timeout_s=90)
        async with client_of(url, caller) as to_doomed:
            calls = [asyncio.create_task(to_doomed.post(CHAT, json=asking(f"words {uuid4()}", stream=True)))]
            await eventually(lambda: pair.upstream.open_streams == 1, timeout_s=PATIENCE_S)
            bodies = [asking(f"hang {uuid4()}", stream=number % 2 == 0) for number in range(places - 1)]
            calls += [asyncio.create_task(to_doomed.post(CHAT, json=body)) for body in bodies]
            await eventually(lambda: len(pair.upstream.calls) == places, timeout_s=PATIENCE_S)
            calls.append(asyncio.create_task(to_doomed.post(CHAT, json=asking(f"queue {uuid4()}"))))
            held = [False, *[True] * places]
            await eventually(lambda: _holds(database, caller) == held, timeout_s=PATIENCE_S)

            kill(doomed.pid)
            await asyncio.gather(*calls, return_exceptions=True)
        await eventually(lambda: _holds(database, caller) == [], timeout_s=PATIENCE_S)

        assert _rows(database, caller) == [("lost", int(BOUND * 10**9), True)] * places
        budget = await budget_of(client)
        assert (Decimal(budget["spent_usd"]), Decimal(budget["held_usd"])) == (BOUND * places, 0)


def kill(pid: int) -> None:
    """SIGKILL, to the process and its children at once."""
    os.killpg(pid, signal.SIGKILL)


def _holds(database: TestDatabase, caller: Caller) -> list[bool]:
    with psycopg.connect(database.admin_url) as admin:
        query = "SELECT sent FROM budget_holds WHERE tenant_id = %s ORDER BY sent"
        return [row[0] for row in admin.execute(query, [caller.tenant_id])]


def _rows(database: TestDatabase, caller: Caller) -> list[tuple[str, int, bool]]:
    with psycopg.connect(database.admin_url) as admin:
        query = "SELECT outcome, cost_nanousd, estimated FROM calls WHERE tenant_id = %s"
        return admin.execute(query, [caller.tenant_id]).fetchall()
