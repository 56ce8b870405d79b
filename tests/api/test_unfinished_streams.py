"""Streams that end before their provider has counted: billed by what they said, however few pieces that came in."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

CHAT = "/v1/chat/completions"
LONG = " ".join("x" * 399 for _ in range(5))
"""Five pieces of 400 bytes, the last of 399."""
ARGUMENTS = '{"text": "' + "x" * 1988 + '"}'
CALL = {"id": "c", "type": "function", "function": {"name": "write", "arguments": ARGUMENTS}}
PROMPT_ONLY = {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}


@pytest.fixture
def client(url: str, caller: Caller, run: Any, upstream: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    price = {"input_usd_per_million": "0", "output_usd_per_million": "1000"}
    run(made.put("/v1/prices/m", json=price)).raise_for_status()
    yield made
    run(made.aclose())


def asking(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Go on."}], "max_tokens": 4000} | fields


async def leave(client: httpx.AsyncClient, upstream: Upstream, say: Say, *, after: int) -> None:
    """Ask for a stream and leave once `after` bytes of what is said have come."""
    upstream.then(say)
    heard = 0
    async with client.stream("POST", CHAT, json=asking(stream=True)) as answer:
        async for line in answer.aiter_lines():
            heard += line.count("x")
            if heard >= after:
                break
    await eventually(lambda: upstream.abandoned_streams == 1)


async def the_row(client: httpx.AsyncClient) -> dict[str, Any]:
    async def booked() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get("/v1/usage/calls")).json()["items"]
        return found

    (row,) = await eventually(booked)
    return row


@pytest.mark.parametrize(
    ("say", "gate", "after", "tokens"),
    [
        (Say(text=LONG), 4, 1197, 300),
        (Say(thoughts=LONG), 4, 1197, 300),
        (Say(tool_calls=[CALL]), 3, 990, 251),
        (Say(text=LONG, fields={"usage": PROMPT_ONLY}), 4, 1197, 300),
    ],
    ids=["words", "thoughts", "half of the arguments", "usage that counted none"],
)
async def test_a_client_that_leaves_pays_for_the_size_of_what_was_said(
    client: httpx.AsyncClient, upstream: Upstream, say: Say, gate: int, after: int, tokens: int
) -> None:
    say.gates = {gate: asyncio.Event()}

    await leave(client, upstream, say, after=after)

    row = await the_row(client)
    assert (row["outcome"], row["estimated"], row["completion_tokens"]) == ("aborted", True, tokens)
    assert Decimal(row["cost_usd"]) == Decimal(tokens) / 1000


@pytest.mark.parametrize("stream", [True, False])
async def test_whole_answers_without_usage_cost_the_same_streamed_or_not(
    client: httpx.AsyncClient, upstream: Upstream, *, stream: bool
) -> None:
    upstream.then(Say(text=LONG, thoughts=LONG, usage={}))

    (await client.post(CHAT, json=asking(stream=stream))).raise_for_status()

    row = await the_row(client)
    assert (row["outcome"], row["estimated"], row["completion_tokens"]) == ("ok", True, 2 * 1999 // 4)


async def test_a_stream_that_breaks_off_is_billed_by_its_size_and_never_above_its_hold(
    client: httpx.AsyncClient, upstream: Upstream, caller: Caller
) -> None:
    """Held for 100 tokens, 1,200 bytes came."""
    body = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "0.1", "period": "total"}
    (await client.post("/v1/budgets", json=body)).raise_for_status()
    upstream.then(Say(text=LONG, cut_after=4))

    await client.post(CHAT, json=asking(stream=True, max_tokens=100))

    row = await the_row(client)
    assert (row["outcome"], row["estimated"], row["cost_usd"]) == ("error", True, "0.1")
    (budget,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (budget["spent_usd"], budget["held_usd"]) == ("0.1", "0")
