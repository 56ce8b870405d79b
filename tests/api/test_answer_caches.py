"""Kept answers over HTTP, through two processes of the API: what is paid once, and what is not given again."""

import asyncio
import http.client
import json
import time
from collections import deque
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
import redis
from tests.api_process import api_process
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
LAYER, AGE, KEY = "x-cognitionos-cache", "x-cognitionos-cache-age", "x-cognitionos-cache-key"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
COST = Decimal("0.0012")
"""Of USAGE at 1 dollar per million prompt tokens and 2 per million completion tokens."""


def asking(text: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields


async def ask(client: httpx.AsyncClient, text: str, headers: dict[str, str] | None = None, **fields: object) -> Any:
    answer = await client.post(CHAT, json=asking(text, **fields), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def said(answer: httpx.Response) -> str:
    """The words of an answer, streamed or not."""
    if answer.headers["content-type"].startswith("application/json"):
        return str(answer.json()["choices"][0]["message"]["content"])
    assert answer.text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n")[:-2]]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])


async def kept(client: httpx.AsyncClient, text: str, layer: str, **fields: object) -> httpx.Response:
    """The answer once it comes from `layer`: stores happen after the answer has left."""

    async def found() -> httpx.Response | None:
        answer = await ask(client, text, **fields)
        return answer if answer.headers[LAYER] == layer else None

    return await eventually(found)


async def stored_durably(client: httpx.AsyncClient) -> None:
    """Wait until the tenant's answer is in PostgreSQL: answers gather on their way there."""

    async def there() -> bool:
        layers = (await client.get("/v1/cache/stats")).json()["layers"]
        return any(layer["layer"] == "durable" and layer["answers"] for layer in layers)

    await eventually(there)


async def test_fifty_identical_calls_at_two_processes_make_one_upstream_call(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    upstream.then(Say(text="once for all", usage=USAGE, delay_s=0.3))

    answers = await asyncio.gather(
        *(ask(clients[number % 2], "all at once", stream=number % 4 < 2) for number in range(50))
    )

    assert {said(answer) for answer in answers} == {"once for all"}
    assert len(upstream.calls) == 1
    assert sum(answer.headers[LAYER] == "none" for answer in answers) == 1
    stats = (await clients[0].get("/v1/cache/stats")).json()
    assert (stats["calls"], stats["hits"], stats["hit_rate"]) == (50, 49, 0.98)
    assert Decimal(stats["saved_usd"]) == 49 * COST
    total = (await clients[1].get("/v1/usage")).json()["total_usd"]
    assert Decimal(total) == COST


async def test_the_tags_and_the_route_of_a_hit_declare_the_answer_void(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    one, other = clients
    (await one.put("/v1/routes/by-name", json={"candidates": [{"model": "openai/m"}]})).raise_for_status()
    tags = "x-cognitionos-cache-tags"
    for voided in ("tag=b", "model=by-name"):
        await ask(one, voided, headers={tags: "a"})
        await kept(one, voided, "exact")
        hit = await ask(other, voided, headers={tags: "b"})
        by_route = await ask(other, voided, model="by-name")

        (await one.delete(f"/v1/cache?{voided}")).raise_for_status()
        after = [await ask(client, voided, headers={"cache-control": "no-store"}) for client in clients]

        assert (hit.headers[LAYER], by_route.headers[LAYER]) == ("exact", "exact")
        assert [each.headers[LAYER] for each in after] == ["none", "none"]
    assert len(upstream.calls) == 6


async def test_the_official_client_s_streams_share_a_flight_with_whole_answers(
    urls: list[str], caller: Caller, clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    upstream.then(Say(text="one two three", usage=USAGE, pause_s=0.05))
    ours = [openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=caller.key, max_retries=0) for url in urls]
    body: Any = asking("by the official client")

    async def streamed(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 100
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    async def whole(client: openai.AsyncOpenAI) -> str | None:
        return (await client.chat.completions.create(**body)).choices[0].message.content

    answers = await asyncio.gather(*(each(ours[number % 2]) for number in range(8) for each in (streamed, whole)))

    assert set(answers) == {"one two three"}
    assert len(upstream.calls) == 1
    for client in ours:
        await client.close()


async def test_when_the_leader_s_client_leaves_its_answer_is_there_for_the_others(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    upstream.then(Say(text="paid all the same", usage=USAGE, delay_s=0.5))
    leader = asyncio.create_task(ask(clients[0], "I am off"))
    await eventually(lambda: len(upstream.calls) == 1)
    others = [asyncio.create_task(ask(clients[number % 2], "I am off", stream=number > 3)) for number in range(6)]
    await asyncio.sleep(0)

    leader.cancel()

    assert {said(answer) for answer in await asyncio.gather(*others)} == {"paid all the same"}
    assert len(upstream.calls) == 1


async def test_when_the_leader_fails_another_leads(clients: list[httpx.AsyncClient], upstream: Upstream) -> None:
    upstream.then(Say(status=400, delay_s=0.2), Say(text="better", usage=USAGE))

    answers = await asyncio.gather(
        *(clients[number % 2].post(CHAT, json=asking("one may fail")) for number in range(10))
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [400]
    assert len(upstream.calls) == 2


async def test_a_call_without_a_budget_does_not_fail_those_who_have_one(
    clients: list[httpx.AsyncClient], settings: Settings, caller: Caller, upstream: Upstream
) -> None:
    poor = {"model": "m", "messages": [{"role": "user", "content": "who pays?"}], "max_tokens": 100}
    made = await clients[0].post("/v1/api-keys", json={"name": "poor", "scopes": ["models:call"]})
    await clients[0].post("/v1/budgets", json={"subject": f"api_key:{made.json()['id']}", "limit_usd": "0.0000001"})
    headers = {"authorization": f"Bearer {made.json()['key']}"}

    refused, *answers = await asyncio.gather(
        clients[0].post(CHAT, json=poor, headers=headers), *(ask(clients[0], "who pays?") for _ in range(5))
    )

    assert refused.status_code in {200, 429}  # it may also have come second, and costs nothing then
    assert len(answers) == 5
    assert len(upstream.calls) == 1


async def test_when_the_leader_s_process_is_killed_another_process_takes_over(
    clients: list[httpx.AsyncClient],
    settings: Settings,
    environment: dict[str, str],
    caller: Caller,
    upstream: Upstream,
) -> None:
    upstream.then(Say(text="lost", delay_s=0.5), Say(text="by the living", usage=USAGE))
    with api_process(settings, environment | {"COGNITIONOS_CRASH_POINT": "llm_gateway.before_settle"}) as doomed:
        async with httpx.AsyncClient(base_url=doomed, headers=caller.headers, timeout=10) as to_doomed:
            leader = asyncio.create_task(to_doomed.post(CHAT, json=asking("survive")))
            await eventually(lambda: len(upstream.calls) == 1)
            follower = asyncio.create_task(ask(clients[0], "survive"))
            with pytest.raises(httpx.TransportError):
                await leader

            async with asyncio.timeout(8):
                assert said(await follower) == "by the living"


async def test_tool_calls_are_neither_kept_nor_waited_for(clients: list[httpx.AsyncClient], upstream: Upstream) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    upstream.then(*(Say(tool_calls=[call], delay_s=0.2) for _ in range(12)))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

    answers = await asyncio.gather(
        *(ask(clients[number % 2], "do it", tools=tools, stream=number % 4 == 0) for number in range(12))
    )

    assert {answer.headers[LAYER] for answer in answers} == {"none"}
    assert len(upstream.calls) == 12


async def test_the_durable_layer_survives_a_flush_of_redis_and_fills_it_again(
    clients: list[httpx.AsyncClient], upstream: Upstream, redis_url: str
) -> None:
    upstream.then(Say(text="for an hour", usage=USAGE))
    await ask(clients[0], "still there?")
    await kept(clients[1], "still there?", "exact")
    await stored_durably(clients[0])
    with redis.Redis.from_url(redis_url) as client:

        async def flushed() -> httpx.Response | None:
            client.flushdb()
            answer = await ask(clients[1], "still there?")
            return answer if answer.headers[LAYER] == "durable" else None

        answer = await eventually(flushed)
    again = await kept(clients[0], "still there?", "exact")

    assert (said(answer), said(again)) == ("for an hour", "for an hour")
    assert len(upstream.calls) == 1
    assert again.headers[AGE].isdecimal()


@pytest.mark.parametrize("by", ["key", "tag", "model", "all"])
async def test_what_is_declared_void_is_not_given_again_by_any_process_or_layer(
    clients: list[httpx.AsyncClient], upstream: Upstream, by: str
) -> None:
    tags = {"x-cognitionos-cache-tags": "prices, q3"}
    upstream.then(Say(text="old", usage=USAGE), Say(text="other", usage=USAGE), Say(text="new", usage=USAGE))
    first = await ask(clients[0], f"void me by {by}", headers=tags)
    await ask(clients[0], "leave me", model="n")
    for client in clients:
        await kept(client, f"void me by {by}", "exact")
        await kept(client, "leave me", "exact", model="n")
    scope = {"key": first.headers[KEY], "tag": "q3", "model": "m", "all": "true"}[by]

    voided = await clients[0].request("DELETE", "/v1/cache", params={by: scope})
    after = await ask(clients[1], f"void me by {by}")
    others = await ask(clients[1], "leave me", model="n")

    assert voided.status_code == 200, voided.text
    assert voided.json()["deleted"] >= 1
    assert (said(after), after.headers[LAYER]) == ("new", "none")
    assert others.headers[LAYER] == ("none" if by == "all" else "exact")


async def test_an_answer_asked_for_before_an_invalidation_does_not_come_back(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    upstream.then(Say(text="stale", usage=USAGE, delay_s=0.5), Say(text="fresh", usage=USAGE, delay_s=1.0))
    early = asyncio.create_task(ask(clients[0], "too late"))
    await eventually(lambda: len(upstream.calls) == 1)

    await clients[1].request("DELETE", "/v1/cache", params={"model": "m"})
    later = await asyncio.gather(*(ask(clients[number % 2], "too late") for number in range(6)))

    assert said(await early) == "stale"
    assert {said(answer) for answer in later} == {"fresh"}
    assert len(upstream.calls) == 2
    assert said(await kept(clients[1], "too late", "exact")) == "fresh"


async def test_an_invalidation_is_the_tenant_s_own(
    clients: list[httpx.AsyncClient], urls: list[str], settings: Settings, upstream: Upstream
) -> None:
    other = await a_caller(settings, f"other-{uuid4()}")
    upstream.then(Say(text="mine", usage=USAGE))
    await ask(clients[0], "whose?")
    await kept(clients[0], "whose?", "exact")
    async with httpx.AsyncClient(base_url=urls[0], headers=other.headers) as theirs:
        await theirs.request("DELETE", "/v1/cache", params={"all": "true"})
        nothing = await theirs.request("DELETE", "/v1/cache")

    assert nothing.status_code == 422
    assert nothing.json()["type"].endswith("nothing-to-void")
    assert (await ask(clients[0], "whose?")).headers[LAYER] == "exact"


async def test_a_request_says_what_it_wishes_of_the_caches(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    one = clients[0]
    upstream.then(*(Say(text=f"answer {number}", usage=USAGE) for number in range(1, 5)))

    unkept = await ask(one, "wishes", headers={"cache-control": "no-store"})
    first = await ask(one, "wishes")
    await kept(one, "wishes", "exact")
    refreshed = await ask(one, "wishes", headers={"Cache-Control": "no-cache"})
    bad = await one.post(CHAT, json=asking("wishes"), headers={"x-cognitionos-cache-ttl": "soon"})

    assert [said(answer) for answer in (unkept, first, refreshed)] == ["answer 1", "answer 2", "answer 3"]
    assert [answer.headers[LAYER] for answer in (unkept, first, refreshed)] == ["none"] * 3
    assert bad.status_code == 400

    async def renewed() -> bool:
        return said(await ask(one, "wishes", headers={"cache-control": "max-age=60"})) == "answer 3"

    assert await eventually(renewed)
    short = await ask(one, "short-lived", headers={"x-cognitionos-cache-ttl": "1"})
    assert said(short) == "answer 4"

    async def expired() -> bool:
        return (await ask(one, "short-lived")).headers[LAYER] == "none"

    assert await eventually(expired)


async def test_a_list_is_asked_ahead_within_its_limit_and_then_hits(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    upstream.then(*(Say(text=f"warm {number}", usage=USAGE) for number in range(3)))
    requests = [asking(f"ahead {number}") for number in range(3)] + [asking("x" * 10_000)]

    answer = await clients[0].post(
        "/v1/cache/warm", json={"requests": requests, "max_cost_usd": "0.0045", "at_once": 1}
    )

    *lines, end = [json.loads(line) for line in answer.text.splitlines()]
    assert [line.get("cache") for line in sorted(lines, key=lambda line: line["index"])] == ["none"] * 3 + [None]
    assert lines[-1]["error"]["type"] == "warming-limit"
    assert end == {"done": True, "requests": 4, "failed": 1, "cost_usd": "0.0036"}
    assert (await kept(clients[1], "ahead 1", "exact")).headers["x-cognitionos-cost-usd"] == "0"
    bad = await clients[0].post("/v1/cache/warm", json={"requests": [asking("fine"), {"messages": [{"role": "?"}]}]})
    assert bad.status_code == 422
    assert "requests.1" in bad.json()["errors"][0]["field"]


async def test_of_exact_hits_95_of_100_take_less_than_5_ms(
    clients: list[httpx.AsyncClient], urls: list[str], upstream: Upstream
) -> None:
    upstream.then(Say(text="soon", usage=USAGE))
    await ask(clients[0], "how soon")
    await kept(clients[0], "how soon", "exact")
    headers = {**dict(clients[0].headers), "content-type": "application/json"}
    body = json.dumps(asking("how soon"))

    connection = http.client.HTTPConnection(urls[0].removeprefix("http://"), timeout=10)
    taken_ms: deque[float] = deque(maxlen=40)

    def ask_twenty_times() -> None:
        for _ in range(20):
            started = time.perf_counter()
            connection.request("POST", CHAT, body, headers)
            answer = connection.getresponse()
            answer.read()
            taken_ms.append((time.perf_counter() - started) * 1000)
            assert answer.headers[LAYER] == "exact"

    async def is_fast() -> bool:
        await asyncio.to_thread(ask_twenty_times)
        return len(taken_ms) == 40 and sorted(taken_ms)[37] < 5

    # others use this machine: once it has to be as fast as the code is
    assert await eventually(is_fast, timeout_s=120)
    connection.close()


async def test_the_figures_say_what_each_layer_did(clients: list[httpx.AsyncClient], upstream: Upstream) -> None:
    upstream.then(Say(text="figures", usage=USAGE))
    await ask(clients[0], "figures")
    await kept(clients[0], "figures", "exact")
    await stored_durably(clients[0])

    stats = (await clients[1].get("/v1/cache/stats")).json()

    layers = {layer["layer"]: layer for layer in stats["layers"]}
    assert layers["exact"]["hits"] >= 1
    assert Decimal(layers["exact"]["saved_usd"]) == layers["exact"]["hits"] * COST
    assert layers["exact"]["average_age_s"] >= 0
    assert (layers["exact"]["answers"], layers["durable"]["answers"]) == (1, 1)
    assert layers["durable"]["bytes"] > 100
    metrics = (await clients[0].get("/metrics")).text
    assert 'cognitionos_llm_cache_age_seconds_count{cache="exact"}' in metrics
