"""Embeddings over HTTP: many callers share calls upstream, and each pays its own part, exactly."""

import asyncio
import base64
import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import DIMENSIONS, Upstream

from cognitionos.platform.config import Settings

EMBED = "/v1/embeddings"
PRICE = {"input_usd_per_million": "0.13", "output_usd_per_million": "0"}


@pytest.fixture
def client(url: str, caller: Caller, run: Run, upstream: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    run(made.put("/v1/prices/e", json=PRICE)).raise_for_status()
    yield made
    run(made.aclose())


async def embed(client: httpx.AsyncClient, *texts: str, **fields: Any) -> httpx.Response:
    return await client.post(EMBED, json={"model": "e", "input": list(texts)} | fields)


async def test_callers_at_once_share_calls_and_their_parts_add_up(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.delay_embeddings_s = 1.0
    texts = [f"{'word ' * number}{number}" for number in range(40)]

    answers = await asyncio.gather(*(embed(client, text, text + "!") for text in texts))
    upstream.delay_embeddings_s = 0.0
    usage = (await client.get("/v1/usage", params={"group_by": "kind"})).json()

    assert {answer.status_code for answer in answers} == {200}
    for text, answer in zip(texts, answers, strict=True):
        first, second = (each["embedding"] for each in answer.json()["data"])
        assert first[0] == len(text) % 7 / 8
        assert second[0] == (len(text) + 1) % 7 / 8
    assert 5 * len(upstream.calls) <= len(answers)
    told = sum(len(text) // 4 + 1 for body in upstream.calls for text in body["input"])
    assert sum(answer.json()["usage"]["prompt_tokens"] for answer in answers) == told
    cost = sum(Decimal(answer.headers["x-cognitionos-cost-usd"]) for answer in answers)
    assert cost == Decimal(told) * Decimal("0.13") / 10**6
    assert (usage["total_calls"], Decimal(usage["total_usd"])) == (40, cost)


async def test_a_text_that_is_refused_fails_its_caller_only(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.delay_embeddings_s = 0.05
    good = [f"good {number}" for number in range(12)]

    answers = await asyncio.gather(*(embed(client, text) for text in [*good, ""]))
    upstream.delay_embeddings_s = 0.0

    assert [answer.status_code for answer in answers] == [200] * 12 + [400]
    assert "empty" in answers[-1].json()["error"]["message"]


async def test_callers_with_a_budget_each_pay_their_own(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    subject = f"tenant:{caller.tenant_id}"
    (await client.post("/v1/budgets", json={"subject": subject, "limit_usd": "0.001"})).raise_for_status()

    answers = await asyncio.gather(*(embed(client, f"text {number}") for number in range(10)))
    (budget,) = [each for each in await _budgets(client) if each["subject"] == subject]

    cost = sum(Decimal(answer.headers["x-cognitionos-cost-usd"]) for answer in answers)
    assert cost > 0
    assert (Decimal(budget["spent_usd"]), budget["held_usd"], budget["calls"]) == (cost, "0", 10)


async def _budgets(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    told = (await client.get("/v1/budgets")).json()
    listed: list[dict[str, Any]] = told.get("items") or told.get("budgets")
    return listed


async def test_past_the_soft_share_of_a_budget_texts_are_embedded_by_the_same_model_to_its_end(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await client.put("/v1/prices/cheap", json=PRICE | {"input_usd_per_million": "0.01"})
    subject = f"tenant:{caller.tenant_id}"
    terms = {"limit_usd": "0.000003", "soft": 0.05, "downgrade_to": "cheap"}
    (await client.post("/v1/budgets", json=terms | {"subject": subject})).raise_for_status()

    answers = [await embed(client, f"text {number}") for number in range(10)]

    answered = [answer for answer in answers if answer.status_code == 200]
    assert 2 <= len(answered) == len(upstream.calls) < 10
    assert {call["model"] for call in upstream.calls} == {"e"}
    assert not any("x-cognitionos-downgraded" in answer.headers for answer in answers)
    assert (answers[-1].status_code, answers[-1].headers["x-should-retry"]) == (429, "false")
    alerts = (await client.get("/v1/budgets/alerts")).json()["items"]
    assert "soft" in {alert["threshold"] for alert in alerts}


async def test_texts_of_two_tenants_never_share_a_call(
    client: httpx.AsyncClient, url: str, settings: Settings, upstream: Upstream
) -> None:
    stranger = await a_caller(settings, f"embeddings-{uuid4()}")
    upstream.delay_embeddings_s = 0.2
    async with httpx.AsyncClient(base_url=url, headers=stranger.headers, timeout=60) as other:
        await asyncio.gather(*(embed(each, f"{name} {at}") for at in range(8) for name, each in _named(client, other)))
    upstream.delay_embeddings_s = 0.0

    whose = [{text.partition(" ")[0] for text in call["input"]} for call in upstream.calls]
    assert {frozenset(each) for each in whose} == {frozenset({"ours"}), frozenset({"theirs"})}


def _named(ours: httpx.AsyncClient, theirs: httpx.AsyncClient) -> tuple[tuple[str, httpx.AsyncClient], ...]:
    return ("ours", ours), ("theirs", theirs)


async def test_vectors_of_another_size_than_was_asked_for_are_given_to_nobody(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.ignores_dimensions = True
    refused = await embed(client, "a", dimensions=4)
    upstream.ignores_dimensions = False

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "dimensions")
    assert f"vectors of {DIMENSIONS} numbers, not of 4" in refused.json()["error"]["message"]
    assert len(upstream.calls) == 1
    (row,) = (await client.get("/v1/usage/calls")).json()["items"]
    assert (row["outcome"], row["estimated"]) == ("error", True)
    assert Decimal(row["cost_usd"]) > 0


async def test_other_settings_are_another_call(client: httpx.AsyncClient, upstream: Upstream) -> None:
    few, many = await asyncio.gather(embed(client, "a", dimensions=4), embed(client, "a"))

    assert [len(answer.json()["data"][0]["embedding"]) for answer in (few, many)] == [4, DIMENSIONS]
    assert len(upstream.calls) == 2


async def test_base64_is_the_same_numbers(client: httpx.AsyncClient) -> None:
    numbers = (await embed(client, "same")).json()["data"][0]["embedding"]

    packed = (await embed(client, "same", encoding_format="base64")).json()["data"][0]["embedding"]

    assert list(struct.unpack(f"<{DIMENSIONS}f", base64.b64decode(packed))) == numbers


@pytest.mark.parametrize("size", [64, 128, 256])
async def test_the_local_embedder_shortens_its_vectors(client: httpx.AsyncClient, size: int) -> None:
    answer = await embed(client, "how far is the moon", model="local/wordllama", dimensions=size)

    vector = answer.json()["data"][0]["embedding"]
    assert len(vector) == size
    assert sum(number * number for number in vector) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("field", "value"), [("dimensions", 100), ("input_type", "query")])
async def test_what_the_local_embedder_cannot_take_is_refused_by_name(
    client: httpx.AsyncClient, field: str, value: object
) -> None:
    refused = await embed(client, "x", model="local/wordllama", **{field: value})

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == field


async def test_tokens_go_to_a_provider_as_they_are_and_are_held_by_their_number(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    one = await client.post(EMBED, json={"model": "e", "input": [1, 2, 3]})
    more = await client.post(EMBED, json={"model": "e", "input": [[1, 2, 3], [4]]})

    assert [len(answer.json()["data"]) for answer in (one, more)] == [1, 2]
    assert [call["input"] for call in upstream.calls] == [[[1, 2, 3]], [[1, 2, 3], [4]]]


@pytest.mark.parametrize(
    ("model", "given"),
    [("local/wordllama", [1, 2]), ("local/wordllama", [[1], [2]]), ("e", ["a", 1]), ("e", [[1], "a"]), ("e", [[]])],
)
async def test_tokens_that_nobody_can_take_are_refused(client: httpx.AsyncClient, model: str, given: object) -> None:
    refused = await client.post(EMBED, json={"model": model, "input": given})

    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith("input")


async def test_callers_at_once_wait_for_each_others_holds_as_chats_do(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    """Twenty cost 0.06; six of their bounds are what the budget holds at once."""
    (await client.put("/v1/prices/e", json=PRICE | {"input_usd_per_million": "1000"})).raise_for_status()
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "0.1", "period": "total"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    upstream.delay_embeddings_s = 0.1

    answers = await asyncio.gather(*(embed(client, f"{number:08}") for number in range(20)))
    upstream.delay_embeddings_s = 0.0

    assert {answer.status_code for answer in answers} == {200}
    (spent,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (spent["spent_usd"], spent["held_usd"]) == ("0.06", "0")


async def test_texts_that_share_calls_never_cost_the_dearer_rate_of_a_long_prompt(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    """Each is held at 0.016 and costs 0.003; eight in one call would be 24 tokens, at ten times the rate."""
    dearer = [{"prompt_tokens": 20, "input_usd_per_million": "10000", "output_usd_per_million": "0"}]
    sheet = PRICE | {"input_usd_per_million": "1000", "above": dearer}
    (await client.put("/v1/prices/e", json=sheet)).raise_for_status()
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "0.3", "period": "total"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    upstream.delay_embeddings_s = 0.2

    answers = await asyncio.gather(*(embed(client, f"text {number:03}") for number in range(20)))
    upstream.delay_embeddings_s = 0.0

    assert {answer.status_code for answer in answers} == {200}
    (spent,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (spent["spent_usd"], spent["held_usd"]) == ("0.06", "0")
    assert {answer.headers["x-cognitionos-cost-usd"] for answer in answers} == {"0.003"}
