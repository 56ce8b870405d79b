"""Clients that give up on a whole answer: it is paid for to its end, and kept for whoever may ask again."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
LIMIT = {CHAT: "max_tokens", "/v1/responses": "max_output_tokens", "/v1/messages": "max_tokens"}


def asking(path: str, text: str) -> dict[str, object]:
    turns = [{"role": "user", "content": text}]
    return {"model": "m", "input" if path == "/v1/responses" else "messages": turns, LIMIT[path]: 100}


@pytest.mark.parametrize("path", LIMIT)
async def test_who_asks_again_after_a_time_out_gets_the_answer_of_the_first_call_and_it_is_paid_once(
    clients: list[httpx.AsyncClient], upstream: Upstream, path: str
) -> None:
    ready = asyncio.Event()
    upstream.then(Say(text="worth waiting for", usage=USAGE, gates={0: ready}))
    body = asking(path, f"slow {uuid4()}")
    impatient = asyncio.create_task(clients[0].post(path, json=body))
    await eventually(lambda: len(upstream.calls) == 1)
    impatient.cancel()
    await asyncio.wait({impatient})

    again = [
        asyncio.create_task(client.post(path, json=body)) for client in clients
    ]  # to the same process, and another
    ready.set()
    answers = await asyncio.gather(*again)

    assert all("worth waiting for" in answer.text for answer in answers)
    assert len(upstream.calls) == 1
    assert {answer.headers["x-cognitionos-cost-usd"] for answer in answers} == {"0"}
    rows = (await clients[0].get("/v1/usage/calls")).json()["items"]
    assert sorted((row["outcome"], row["cost_usd"]) for row in rows) == [("ok", "0"), ("ok", "0"), ("ok", "0.0012")]


@pytest.mark.parametrize("path", LIMIT)
async def test_an_answer_that_nobody_may_be_given_is_booked_at_what_it_came_to_though_its_client_left(
    clients: list[httpx.AsyncClient], upstream: Upstream, caller: Caller, path: str
) -> None:
    client = clients[0]
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "1"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    ready = asyncio.Event()
    upstream.then(Say(text="never heard", usage=USAGE, gates={0: ready}))
    asked = asyncio.create_task(
        client.post(path, json=asking(path, "for me alone"), headers={"cache-control": "no-store"})
    )
    await eventually(lambda: len(upstream.calls) == 1)

    asked.cancel()
    await asyncio.wait({asked})
    other = await client.post(path, json=asking(path, "one more"), headers={"cache-control": "no-store"})
    ready.set()

    rows = await eventually(lambda: _rows(client, 2))
    row = next(each for each in rows if each["call_id"] != other.headers["x-cognitionos-call-id"])
    assert (row["outcome"], row["estimated"], row["completion_tokens"], row["cost_usd"]) == ("ok", False, 100, "0.0012")
    assert upstream.abandoned_streams == 0
    (told,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (told["held_usd"], told["calls"]) == ("0", 2)


async def test_an_answer_that_only_one_may_have_comes_to_a_client_that_stays(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    upstream.then(Say(text="for you", usage=USAGE))

    answer = await clients[0].post(CHAT, json=asking(CHAT, "for me"), headers={"cache-control": "no-store"})

    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "for you")


async def test_under_an_idempotency_key_it_is_kept_for_who_asks_again(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    ready = asyncio.Event()
    upstream.then(Say(text="for you", usage=USAGE, gates={0: ready}))
    headers = {"cache-control": "no-store", "idempotency-key": str(uuid4())}
    asked = asyncio.create_task(clients[0].post(CHAT, json=asking(CHAT, "once"), headers=headers))
    await eventually(lambda: len(upstream.calls) == 1)
    asked.cancel()
    await asyncio.wait({asked})
    ready.set()

    async def answered() -> httpx.Response | None:
        answer = await clients[0].post(CHAT, json=asking(CHAT, "once"), headers=headers)
        return answer if answer.status_code == 200 else None

    assert (await eventually(answered)).json()["choices"][0]["message"]["content"] == "for you"
    assert len(upstream.calls) == 1


async def _rows(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await client.get("/v1/usage/calls")).json()["items"]
    return rows if len(rows) == count else []
