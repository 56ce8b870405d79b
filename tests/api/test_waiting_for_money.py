"""Identical questions of callers with and without money: nobody waits for somebody else's, and each is paid once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from redis.asyncio import Redis
from tests.conftest import TestDatabase
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1, "completion_tokens": 100, "total_tokens": 101}
BOUND = Decimal("0.0002")
"""100 completion tokens of the model `dear` at 2 dollars per million; its prompts are free."""
ASK_S = 30


def asking(text: str, **fields: object) -> dict[str, object]:
    return {"model": "dear", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields


@pytest.fixture
def gate() -> Iterator[asyncio.Event]:
    made = asyncio.Event()
    yield made
    made.set()


class Poor:
    """A key whose money is held by a call that waits for a gate: its clients of each process, and its budget."""

    def __init__(self, clients: list[httpx.AsyncClient], budget: str) -> None:
        self.clients = clients
        self.budget = budget


@asynccontextmanager
async def poor(
    clients: list[httpx.AsyncClient], upstream: Upstream, gate: asyncio.Event, *, limit_usd: Decimal = BOUND * 3 / 2
) -> AsyncIterator[Poor]:
    price = {"input_usd_per_million": "0", "output_usd_per_million": "2"}
    (await clients[0].put("/v1/prices/dear", json=price)).raise_for_status()
    key = (await clients[0].post("/v1/api-keys", json={"name": "poor", "scopes": ["models:call"]})).json()
    budget = {"subject": f"api_key:{key['id']}", "limit_usd": str(limit_usd)}
    opened = (await clients[0].post("/v1/budgets", json=budget)).json()
    headers, limits = {"authorization": f"Bearer {key['key']}"}, httpx.Limits(max_connections=100)
    before = len(upstream.calls)
    upstream.script.appendleft(Say(text="slow", usage=USAGE | {"completion_tokens": 1}, gates={0: gate}))
    made = [httpx.AsyncClient(base_url=each.base_url, headers=headers, timeout=60, limits=limits) for each in clients]
    slow = asyncio.create_task(made[0].post(CHAT, json=asking(f"slow {uuid4()}")))
    await eventually(lambda: len(upstream.calls) > before)
    try:
        yield Poor(made, f"/v1/budgets/{opened['id']}")
    finally:
        gate.set()
        await slow
        for each in made:
            await each.aclose()


async def meanwhile(client: httpx.AsyncClient) -> None:
    """Whatever was sent before has begun."""
    for _ in range(10):
        await client.get("/v1/budgets")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("other", [0, 1])
async def test_who_waits_for_money_holds_up_nobody_who_asks_the_same_and_gets_their_answer(
    clients: list[httpx.AsyncClient], upstream: Upstream, gate: asyncio.Event, *, other: int, streamed: bool
) -> None:
    async with poor(clients, upstream, gate) as without:
        same = asking(f"the same {uuid4()}", stream=streamed)
        waiting = asyncio.create_task(without.clients[0].post(CHAT, json=same))
        await meanwhile(clients[0])

        answer = await asyncio.wait_for(clients[other].post(CHAT, json=same), ASK_S)
        theirs = await asyncio.wait_for(waiting, ASK_S)

        assert not gate.is_set()
        assert (answer.status_code, theirs.status_code) == (200, 200)
        assert theirs.headers["x-cognitionos-cache"] != "none"
        assert len(upstream.calls) == 2
    spent = (await clients[0].get(without.budget)).json()
    assert (spent["calls"], spent["held_usd"]) == (1, "0")


async def test_who_waits_for_money_keeps_no_flight_whether_it_stays_leaves_or_dies(
    clients: list[httpx.AsyncClient], caller: Caller, upstream: Upstream, gate: asyncio.Event, redis_url: str
) -> None:
    async with poor(clients, upstream, gate) as without, Redis.from_url(redis_url) as redis:
        slow = await eventually(lambda: _flights(redis, caller))
        waiting = asyncio.create_task(without.clients[0].post(CHAT, json=asking(f"the same {uuid4()}", stream=True)))
        await meanwhile(clients[0])

        await eventually(lambda: _only(redis, caller, slow))
        waiting.cancel()
        await asyncio.wait({waiting})
        gate.set()

        await eventually(lambda: _only(redis, caller, set()))
    spent = (await clients[0].get(without.budget)).json()
    assert (spent["calls"], spent["held_usd"]) == (1, "0")


@pytest.mark.parametrize("streamed", [False, True])
async def test_those_without_money_who_ask_the_same_pay_once_when_it_comes(
    clients: list[httpx.AsyncClient], upstream: Upstream, gate: asyncio.Event, *, streamed: bool
) -> None:
    async with poor(clients, upstream, gate) as without:
        same = asking(f"the same {uuid4()}", stream=streamed)
        upstream.then(Say(text="once", usage=USAGE | {"completion_tokens": 50}))
        waiting = [asyncio.create_task(without.clients[each % 2].post(CHAT, json=same)) for each in range(20)]
        await meanwhile(clients[0])

        gate.set()
        answers = await asyncio.gather(*waiting)

        assert Counter(answer.status_code for answer in answers) == {200: 20}
    spent = (await clients[0].get(without.budget)).json()
    assert len(upstream.calls) == 2
    assert (spent["calls"], spent["held_usd"]) == (2, "0")


async def test_an_answer_that_a_budget_shortens_is_waited_for_by_nobody(
    clients: list[httpx.AsyncClient], upstream: Upstream, gate: asyncio.Event
) -> None:
    slow = asyncio.Event()
    async with poor(clients, upstream, gate, limit_usd=BOUND * 2) as without:
        await clients[0].patch(without.budget, json={"limit_usd": str(BOUND * 3 / 2)})
        gate.set()
        await eventually(lambda: _is_free(clients[0], without))
        await clients[0].patch(without.budget, json={"limit_usd": str(BOUND / 2)})
        upstream.then(Say(text="short", usage=USAGE | {"completion_tokens": 1}, gates={0: slow}))
        same = asking(f"the same {uuid4()}")
        before = len(upstream.calls)
        short = asyncio.create_task(without.clients[0].post(CHAT, json=same))
        await eventually(lambda: len(upstream.calls) > before)

        full = await asyncio.wait_for(clients[0].post(CHAT, json=same), ASK_S)
        slow.set()

        assert full.headers.get("x-cognitionos-limit-lowered") is None
        assert (await short).headers["x-cognitionos-limit-lowered"] == "true"


@pytest.mark.parametrize(
    ("seed", "questions", "callers"),
    [(1, 3, 12), *(pytest.param(seed, 12, 40, marks=pytest.mark.long) for seed in range(2, 5))],
)
async def test_in_a_storm_each_question_is_paid_once_by_who_can_and_nobody_who_could_pay_is_refused(
    clients: list[httpx.AsyncClient],
    caller: Caller,
    upstream: Upstream,
    gate: asyncio.Event,
    database: TestDatabase,
    redis_url: str,
    *,
    seed: int,
    questions: int,
    callers: int,
) -> None:
    """Keys with and without money ask the same at two processes, whole and streamed; some of the poor leave."""
    chance = Random(seed)
    upstream.speak = lambda _: Say(text="some words", usage=USAGE, delay_s=chance.choice((0.0, 0.05, 0.2)))
    async with poor(clients, upstream, gate) as without:
        texts = [f"question {number} {uuid4()}" for number in range(questions)]
        storm = [
            asyncio.create_task(_one(chance, clients, without, text, has_money=has_money))
            for text in texts
            for has_money in [True, *(chance.random() < 0.4 for _ in range(callers - 1))]
        ]
        chance.shuffle(storm)

        heard = [each for each in await asyncio.gather(*storm) if each is not None]

        assert Counter(answer.status_code for answer in heard) == {200: len(heard)}
        asked = Counter(body["messages"][0]["content"] for body in upstream.calls)
        assert [asked[text] for text in texts] == [1] * questions
    upstream.speak = None
    await eventually(lambda: _nothing_open(database, caller))
    async with Redis.from_url(redis_url) as redis:
        await eventually(lambda: _only(redis, caller, set()))
    assert (await clients[1].post("/v1/budgets/recount", json={})).json()["miscounts"] == []
    spent = (await clients[0].get(without.budget)).json()
    assert Decimal(spent["spent_usd"]) <= Decimal(spent["limit_usd"])
    assert spent["calls"] == 1


async def _one(
    chance: Random, rich: list[httpx.AsyncClient], without: Poor, text: str, *, has_money: bool
) -> httpx.Response | None:
    await asyncio.sleep(chance.random() * 0.3)
    client = chance.choice(rich if has_money else without.clients)
    asked = asyncio.create_task(client.post(CHAT, json=asking(text, stream=chance.random() < 0.5)))
    patience_s = None if has_money or chance.random() < 0.8 else chance.random() * 0.3
    done, _ = await asyncio.wait({asked}, timeout=patience_s)
    if not done:
        asked.cancel()
        await asyncio.wait({asked})
        return None
    return asked.result()


async def _flights(redis: "Redis[Any]", caller: Caller) -> set[bytes]:
    return {key async for key in redis.scan_iter(match=f"cognitionos:flight:{caller.tenant_id}:*", count=1000)}


async def _only(redis: "Redis[Any]", caller: Caller, flights: set[bytes]) -> bool:
    return await _flights(redis, caller) == flights


async def _is_free(client: httpx.AsyncClient, without: Poor) -> bool:
    return bool((await client.get(without.budget)).json()["held_usd"] == "0")


def _nothing_open(database: TestDatabase, caller: Caller) -> bool:
    with psycopg.connect(database.admin_url) as admin:
        query = "SELECT count(*)::int FROM budget_holds WHERE tenant_id = %s"
        return bool(admin.execute(query, [caller.tenant_id]).fetchall()[0][0] == 0)
