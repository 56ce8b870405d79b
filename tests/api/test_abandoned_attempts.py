"""Providers that are listened to no more: what they were sent is booked, and what they had said, within the hold."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from tests.conftest import Run
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
TEXT = "x" * 4000
"""About a thousand tokens."""


@pytest.fixture(scope="module")
def environment(openai_only: dict[str, str]) -> dict[str, str]:
    return openai_only | {"COGNITIONOS_ATTEMPT_TIMEOUT_S": "1", "COGNITIONOS_CIRCUIT_FAILURES": "1000000"}


@pytest.fixture
def client(url: str, caller: Caller, run: Run, upstream: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    for model, usd in (("slow", "2"), ("fast", "1")):
        price = {"input_usd_per_million": usd, "output_usd_per_million": usd}
        run(made.put(f"/v1/prices/openai/{model}", json=price)).raise_for_status()
    route = {"candidates": [{"model": "openai/slow"}, {"model": "openai/fast"}]}
    run(made.put("/v1/routes/slow-then-fast", json=route)).raise_for_status()
    yield made
    run(made.aclose())


def asking(**fields: Any) -> dict[str, Any]:
    said = {"model": "slow-then-fast", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 100}
    return said | fields


async def rows(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/v1/usage/calls")).json()["items"]
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_an_attempt_that_took_too_long_is_booked_at_its_prompt_beside_the_answer(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, *, stream: bool
) -> None:
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "1", "period": "total"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    upstream.then(Say(text="never", gates={0: asyncio.Event()}), Say(text="fast", usage=USAGE))

    answer = await client.post(CHAT, json=asking(stream=stream))

    assert "fast" in answer.text
    (row,) = await eventually(lambda: rows(client))
    assert (row["model"], row["attempts"], row["estimated"]) == ("fast", 2, True)
    left = row["prompt_tokens"] - USAGE["prompt_tokens"]
    assert 1000 <= left < 1050
    assert Decimal(row["cost_usd"]) == (Decimal(110) + 2 * left) / 10**6
    (spent,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (spent["spent_usd"], spent["held_usd"]) == (row["cost_usd"], "0")


@pytest.mark.parametrize(
    ("stream", "lost", "billed"),
    [
        (False, {"raw": b"not json"}, True),
        (False, {"raw": b'{"choices": 7}'}, True),
        (True, {"raw": b"not json"}, True),
        (True, {"cut_after": 0}, True),
        (False, {"raw": b'{"error": {"message": "no"}}'}, False),
        (False, {"cut_after": 0}, False),
        (False, {"status": 500}, False),
        (True, {"status": 500}, False),
    ],
)
async def test_an_answer_that_had_begun_and_was_lost_is_booked_at_its_prompt_and_a_refusal_is_not(
    client: httpx.AsyncClient, upstream: Upstream, *, stream: bool, lost: dict[str, Any], billed: bool
) -> None:
    upstream.then(Say(text="lost", **lost), Say(text="fast", usage=USAGE))

    answer = await client.post(CHAT, json=asking(stream=stream))

    assert "fast" in answer.text
    (row,) = await eventually(lambda: rows(client))
    assert (row["model"], row["attempts"], row["estimated"]) == ("fast", 2, billed)
    left = row["prompt_tokens"] - USAGE["prompt_tokens"]
    assert 1000 <= left < 1050 if billed else left == 0
    assert Decimal(row["cost_usd"]) == (Decimal(110) + 2 * left) / 10**6


async def test_attempts_never_cost_more_than_was_held_for_the_call(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    """Nothing is left to pay the attempt with once the answer has used all of its bound."""
    (await client.put("/v1/prices/openai/slow", json={"input_usd_per_million": "1", "output_usd_per_million": "1"}))
    (await client.put("/v1/prices/openai/fast", json={"input_usd_per_million": "1", "output_usd_per_million": "1"}))
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "0.0042", "period": "total"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    usage = {"prompt_tokens": 4000, "completion_tokens": 100, "total_tokens": 4100}
    upstream.then(Say(text="never", gates={0: asyncio.Event()}), Say(text="fast", usage=usage))

    answer = await client.post(CHAT, json=asking())

    assert answer.status_code == 200
    (spent,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert Decimal("0.0041") < Decimal(spent["spent_usd"]) <= Decimal("0.0042")


async def test_a_client_that_leaves_in_the_second_attempt_has_both_prompts_booked(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.then(*(Say(text="never", gates={0: asyncio.Event()}) for _ in range(2)))
    asked = asyncio.create_task(client.post(CHAT, json=asking(stream=True)))
    await eventually(lambda: len(upstream.calls) == 2)

    asked.cancel()

    (row,) = await eventually(lambda: rows(client))
    assert (row["outcome"], row["model"], row["estimated"]) == ("aborted", "fast", True)
    assert 2000 <= row["prompt_tokens"] < 2100
    assert Decimal(row["cost_usd"]) == Decimal(row["prompt_tokens"]) * 3 / 2 / 10**6


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
async def test_a_stream_that_falls_silent_after_words_ends_in_an_error_and_is_billed_for_them(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, path: str
) -> None:
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "1", "period": "total"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    upstream.then(Say(text="one two three four", gates={3: asyncio.Event()}))
    limit = "max_output_tokens" if path == "/v1/responses" else "max_tokens"
    said = {"input": TEXT} if path == "/v1/responses" else {"messages": [{"role": "user", "content": TEXT}]}

    answer = await client.post(path, json=said | {"model": "openai/fast", limit: 100, "stream": True})

    assert "two" in answer.text
    assert "three" not in answer.text
    assert "it has said nothing for 1 s" in answer.text
    assert "stream-broken" in answer.text or path == "/v1/messages"
    (row,) = await eventually(lambda: rows(client))
    assert (row["outcome"], row["estimated"], row["completion_tokens"]) == ("error", True, 2)
    (spent,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (spent["spent_usd"], spent["held_usd"]) == (row["cost_usd"], "0")
    await eventually(lambda: upstream.open_streams == 0)


async def test_before_its_first_words_a_stream_may_think_longer(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """It is a second stream, begun later, that shows the first has outlived the limit."""
    gate = asyncio.Event()
    upstream.then(Say(text="thought well", gates={1: gate}), Say(text="one two three", gates={2: asyncio.Event()}))
    thinking = asyncio.create_task(client.post(CHAT, json=asking(stream=True, model="openai/slow")))
    await eventually(lambda: len(upstream.calls) == 1)

    silent = await client.post(CHAT, json=asking(stream=True, model="openai/fast"))
    gate.set()

    assert "it has said nothing for 1 s" in silent.text
    assert "[DONE]" in (await thinking).text
