"""Answers that are never kept, at two processes of the API: paid once by those who ask at once, or ask again."""

import asyncio
import re
from collections import Counter
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.upstream import Say, Upstream
from tests.waiting import eventually

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
LAYER = "x-cognitionos-cache"
FOLLOWING = re.compile(r"^cognitionos_llm_calls_following (\S+)", re.MULTILINE)
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
COST = Decimal("0.0012")
"""Of USAGE at 1 dollar per million prompt tokens and 2 per million completion tokens."""


def a_body(path: str, text: str, **fields: object) -> dict[str, object]:
    if path == RESPONSES:
        return {"model": "m", "max_output_tokens": 100, "input": text} | fields
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}]} | fields


async def ask(client: httpx.AsyncClient, text: str, path: str = CHAT, **fields: object) -> httpx.Response:
    answer = await client.post(path, json=a_body(path, text, **fields))
    assert answer.status_code == 200, answer.text
    return answer


async def rows(client: httpx.AsyncClient, number: int) -> list[dict[str, Any]]:
    """The ledger of this test's tenant, once it has that many rows."""

    async def written() -> list[dict[str, Any]] | None:
        calls: list[dict[str, Any]] = (await client.get("/v1/usage/calls", params={"limit": 100})).json()["items"]
        return calls if len(calls) == number else None

    return await eventually(written)


async def all_at_once(
    clients: list[httpx.AsyncClient], upstream: Upstream, text: str, *, streams: int = 0, **fields: object
) -> list[httpx.Response]:
    """Twenty identical calls at two processes, the first `streams` of each ten streamed; the first ones lead."""
    gate = upstream.script[-1].gates[0]
    asking = [
        asyncio.create_task(ask(clients[number % 2], text, **fields, stream=number // 2 < streams))
        for number in range(20)
    ]

    async def all_are_there() -> bool:
        found = [FOLLOWING.search((await client.get("/metrics")).text) for client in clients]
        return [float(each[1]) for each in found if each] == [10, 10]  # nine and the other process; ten

    await eventually(all_are_there)
    gate.set()
    return await asyncio.gather(*asking)


@pytest.mark.parametrize("streams", [0, 5])
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_short_is_paid_once_by_all_who_wait_and_is_not_kept(
    clients: list[httpx.AsyncClient], upstream: Upstream, reason: str, streams: int
) -> None:
    text = f"cut by {reason}"
    upstream.then(Say(text="so far", finish_reason=reason, usage=USAGE, gates={0: asyncio.Event()}))

    answers = await all_at_once(clients, upstream, text, streams=streams)

    assert len(upstream.calls) == 1
    assert Counter(answer.headers[LAYER] for answer in answers) == {"none": 1, "coalesced": 19}
    whole = [each.json()["choices"][0] for each in answers if "json" in each.headers["content-type"]]
    assert {(each["message"]["content"], each["finish_reason"]) for each in whole} == {("so far", reason)}
    calls = await rows(clients[0], 20)
    assert sum(Decimal(each["cost_usd"]) for each in calls) == COST
    assert sum(Decimal(each["saved_usd"]) for each in calls) == 19 * COST
    later = [await ask(client, text) for client in clients]
    assert [each.headers[LAYER] for each in later] == ["none", "exact"]  # the first of these two was whole
    assert len(upstream.calls) == 2


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
async def test_an_answer_that_was_cut_short_is_shared_in_every_format(
    clients: list[httpx.AsyncClient], upstream: Upstream, path: str
) -> None:
    upstream.then(Say(text="so far", finish_reason="length", usage=USAGE, gates={0: asyncio.Event()}))

    answers = await all_at_once(clients, upstream, "cut", path=path)

    assert len(upstream.calls) == 1
    assert Counter(answer.headers[LAYER] for answer in answers) == {"none": 1, "coalesced": 19}
    assert all("so far" in answer.text for answer in answers)


@pytest.mark.parametrize("streams", [0, 5, 10])
async def test_what_a_fallback_said_is_paid_once_in_all_processes_and_names_who_said_it(
    clients: list[httpx.AsyncClient], upstream: Upstream, streams: int
) -> None:
    price = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
    for model in ("down", "up"):
        (await clients[0].put(f"/v1/prices/{model}", json=price)).raise_for_status()
    candidates = [{"model": "openai/down"}, {"model": "openai/up"}]
    (await clients[0].put("/v1/routes/r", json={"candidates": candidates})).raise_for_status()
    upstream.then(Say(status=500), Say(text="by another", usage=USAGE, gates={0: asyncio.Event()}))

    answers = await all_at_once(clients, upstream, "who answers?", streams=streams, model="r")

    assert [call["model"] for call in upstream.calls] == ["down", "up"]
    assert Counter(answer.headers[LAYER] for answer in answers) == {"none": 1, "coalesced": 19}
    assert {answer.headers["x-cognitionos-model"] for answer in answers} == {"openai/up"}
    assert all("openai/up=" in answer.headers["x-cognitionos-route"] for answer in answers)
    calls = await rows(clients[0], 20)
    assert {(each["model"], each["route_reason"]) for each in calls} == {("up", "fallback")}
    assert sum(Decimal(each["saved_usd"]) for each in calls) == 19 * COST
    later = await ask(clients[1], "who answers?", model="r")
    assert (later.headers[LAYER], len(upstream.calls)) == ("none", 3)
