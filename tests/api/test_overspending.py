"""Ways past a budget that are none: wrong windows, limits that are not sent, other servers' fields, dear tiers, counts
that cannot be."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.api.spending import budget, state
from tests.edge import Caller
from tests.upstream import Say, Upstream

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
OPENAI, CLAUDE = "openai/nobodys", "anthropic/nobodys"
SHEET = {"input_usd_per_million": "1000", "output_usd_per_million": "1000"}
LIMITS = ("max_tokens", "max_completion_tokens")


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


async def priced(client: httpx.AsyncClient, **sheet: Any) -> None:
    for model in (OPENAI, CLAUDE):
        (await client.put(f"/v1/prices/{model}", json=SHEET | sheet)).raise_for_status()


async def spent(client: httpx.AsyncClient) -> Decimal:
    spent_usd, held_usd = await state(client)
    assert held_usd == 0
    return spent_usd


async def booked(client: httpx.AsyncClient) -> dict[str, Any]:
    row: dict[str, Any] = (await client.get("/v1/usage/calls", params={"limit": 1})).json()["items"][0]
    return row


def asking(text: str = "", *, model: str = OPENAI, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text or str(uuid4())}]} | fields


def used(prompt: Any, completion: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 1}


@pytest.mark.parametrize("above", [[], [{"prompt_tokens": 100, "input_usd_per_million": "2000"}]])
async def test_a_window_that_is_told_too_small_does_not_bound_a_text(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, above: list[dict[str, Any]]
) -> None:
    await priced(client, max_input_tokens=100, above=above)
    await budget(client, caller, "0.5")

    refused = await client.post(CHAT, json=asking("word " * 2000, max_tokens=10))

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget-exhausted")
    assert upstream.calls == []


async def test_a_window_at_which_dearer_rates_begin_does_not_bound_what_is_sent_by_reference(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream
) -> None:
    dearer = [{"prompt_tokens": 100, "input_usd_per_million": "2000"}]
    await priced(client, max_input_tokens=100, above=dearer)
    await budget(client, caller, "1000")
    document = {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}
    body = asking(model=CLAUDE, max_tokens=10) | {"messages": [{"role": "user", "content": [document]}]}

    refused = await client.post(MESSAGES, json=body)
    await priced(client, max_input_tokens=101, above=dearer)
    taken = await client.post(MESSAGES, json=body)

    assert (refused.status_code, taken.status_code) == (400, 200)
    assert "max_input_tokens" in refused.json()["error"]["message"]
    assert len(claude.calls) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "model"), [(CHAT, OPENAI), (RESPONSES, OPENAI), (CHAT, CLAUDE)])
async def test_under_a_budget_the_limit_that_is_held_is_sent(
    client: httpx.AsyncClient,
    caller: Caller,
    upstream: Upstream,
    claude: AnthropicUpstream,
    path: str,
    model: str,
    *,
    stream: bool,
) -> None:
    await priced(client, max_output_tokens=20)
    body = asking(model=model, stream=stream)
    if path == RESPONSES:
        body = {"model": model, "input": str(uuid4()), "stream": stream}
    without = await client.post(path, json=body | {"temperature": 0.1})
    await budget(client, caller, "1")

    answer = await client.post(path, json=body)

    assert (without.status_code, answer.status_code) == (200, 200)
    calls = claude.calls if model == CLAUDE else upstream.calls
    sent = [[call[name] for name in LIMITS if name in call] for call in calls]
    assert sent[1] == [20]
    assert sent[0] == ([4096] if model == CLAUDE else [])  # Anthropic wants one with each call
    assert "x-cognitionos-limit-lowered" not in answer.headers


async def test_a_model_that_answers_as_long_as_it_reads_is_left_room_for_the_prompt(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await priced(client, max_input_tokens=8000, max_output_tokens=8000)
    await budget(client, caller, "100")

    answer = await client.post(CHAT, json=asking("word " * 1200))

    (sent,) = [upstream.calls[0][name] for name in LIMITS if name in upstream.calls[0]]
    assert 1200 * 1.5 < 8000 - sent < 1200 * 2
    assert answer.headers["x-cognitionos-limit-lowered"] == "true"


@pytest.mark.parametrize(
    "field",
    [
        {"n_predict": 4000},
        {"max_new_tokens": 4000},
        {"min_tokens": 4000},
        {"use_beam_search": True},
        {"chat_template": "{{ messages }}"},
        {"models": ["other"]},
        {"preset": "mine"},
        {"extra_body": {"n_predict": 4000}},
        {"options": {"num_predict": 4000}},
    ],
)
async def test_fields_that_lift_the_limit_or_change_the_model_are_refused_under_a_budget_by_their_names(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, field: dict[str, Any]
) -> None:
    await priced(client)
    nothing = dict.fromkeys(field)
    free = await client.post(CHAT, json=asking(max_tokens=20) | field)
    await budget(client, caller, "100")

    refused = await client.post(CHAT, json=asking(max_tokens=20) | field)
    unasked = await client.post(CHAT, json=asking(max_tokens=20) | nothing)

    assert (free.status_code, refused.status_code, unasked.status_code) == (200, 400, 200)
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("call-unbounded", *field)
    assert len(upstream.calls) == 2


async def test_a_tier_is_held_at_the_dearer_of_its_rates_and_the_usual_ones(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    tier = {"input_usd_per_million": "2000", "output_usd_per_million": "500"}
    await priced(client, tiers={"flex": tier})
    await budget(client, caller, "1.5")

    refused = await client.post(CHAT, json=asking("x" * 1000, max_tokens=16, service_tier="flex"))

    assert refused.status_code == 429
    assert upstream.calls == []


async def test_a_tier_that_is_left_to_the_provider_is_held_at_its_dearest(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    """Who asks for the usual one, or for none, is held at the usual price."""
    await priced(client, tiers={"priority": {"input_usd_per_million": "2000", "output_usd_per_million": "500"}})
    await budget(client, caller, "1.5")
    dear = {"service_tier": "priority"}
    upstream.then(*(Say(text="x", usage=used(1, 1)) for _ in range(2)), Say(text="x", usage=used(300, 10), fields=dear))

    left = await client.post(CHAT, json=asking("x" * 1000, max_tokens=16, service_tier="auto"))
    usual = [
        await client.post(CHAT, json=asking("x" * 1000, max_tokens=16, **tier))
        for tier in ({}, {"service_tier": "default"})
    ]
    before = await spent(client)
    short = await client.post(CHAT, json=asking("x" * 400, max_tokens=16, service_tier="auto"))

    assert (left.status_code, left.json()["error"]["code"]) == (429, "budget-exhausted")
    assert [answer.status_code for answer in usual] == [200, 200]
    assert short.status_code == 200
    assert await spent(client) - before == 300 * Decimal("0.002") + 10 * Decimal("0.0005")
    assert (await booked(client))["service_tier"] == "priority"


async def test_a_million_tokens_by_anthropics_beta_are_held_and_billed_at_the_rates_of_long_prompts(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream
) -> None:
    dearer = [{"prompt_tokens": 200_000, "input_usd_per_million": "2000", "output_usd_per_million": "1500"}]
    await priced(client, max_input_tokens=200_000, above=dearer)
    await budget(client, caller, "499")
    beta = {"anthropic-beta": "context-1m-2025-08-07"}
    body = asking("x" * 250_000, model=CLAUDE, max_tokens=10)

    refused = await client.post(MESSAGES, json=body, headers=beta)
    [only] = (await client.get("/v1/budgets")).json()["budgets"]
    (await client.patch(f"/v1/budgets/{only['id']}", json={"limit_usd": "501"})).raise_for_status()
    # what is read from the provider's cache is part of the prompt that makes the call a long one
    claude.then(Tell(text="x", usage={"input_tokens": 150_000, "cache_read_input_tokens": 60_000, "output_tokens": 10}))
    answer = await client.post(MESSAGES, json=body, headers=beta)

    assert refused.status_code == 429
    assert answer.status_code == 200, answer.text
    assert claude.headers[-1]["anthropic-beta"] == beta["anthropic-beta"]
    assert len(claude.calls) == 1
    assert await spent(client) == 210_000 * Decimal("0.002") + 10 * Decimal("0.0015")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", [used(10**30, 5), used(5, 10**30), used(-5, 5), used(5, -5), used(12.5, 3)])
async def test_counts_that_cannot_be_are_not_booked_but_estimated(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, usage: dict[str, Any], *, stream: bool
) -> None:
    await priced(client)
    await budget(client, caller, "10")
    upstream.then(Say(text="four words are said", usage=usage))

    answer = await client.post(CHAT, json=asking(max_tokens=20, stream=stream))

    assert answer.status_code == 200
    row = await booked(client)
    assert row["estimated"]
    assert 5 <= row["prompt_tokens"] <= 100
    assert 3 <= row["completion_tokens"] <= 10
    assert 0 < await spent(client) < Decimal("0.2")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", [(10**15, 5), (5, 10**15), (-5, 5), (5, -5), (12.5, 3)])
async def test_nor_are_those_in_anthropics_format(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream, usage: tuple[Any, Any], *, stream: bool
) -> None:
    await priced(client)
    await budget(client, caller, "10")
    claude.then(Tell(text="four words are said", usage={"input_tokens": usage[0], "output_tokens": usage[1]}))

    answer = await client.post(MESSAGES, json=asking(model=CLAUDE, max_tokens=20, stream=stream))

    assert answer.status_code == 200
    assert (await booked(client))["estimated"]
    assert 0 < await spent(client) < Decimal("0.2")


async def test_nor_are_those_of_embeddings(client: httpx.AsyncClient, caller: Caller, upstream: Upstream) -> None:
    await priced(client)
    await budget(client, caller, "10")
    upstream.embedding_tokens = 10**9

    answer = await client.post("/v1/embeddings", json={"model": OPENAI, "input": "four words are said"})

    assert answer.status_code == 200
    assert (await booked(client))["estimated"]
    assert 0 < await spent(client) < Decimal("0.01")


async def test_more_than_was_held_is_booked_as_it_is_told_where_it_can_be(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    """A provider that ignores the limit and adds words of its own."""
    await priced(client)
    await budget(client, caller, "10")
    upstream.then(Say(text="x", usage=used(2000, 600)))

    await client.post(CHAT, json=asking(max_tokens=20))

    assert not (await booked(client))["estimated"]
    assert await spent(client) == Decimal("2.6")
