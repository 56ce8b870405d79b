"""Ways past a budget that are none: wrong windows, other servers' fields, dear tiers."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.anthropic_upstream import AnthropicUpstream
from tests.conftest import Run
from tests.edge import Caller
from tests.upstream import Upstream

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
OPENAI, CLAUDE = "openai/nobodys", "anthropic/nobodys"
SHEET = {"input_usd_per_million": "1000", "output_usd_per_million": "1000"}


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


@pytest.fixture
def client(
    url: str, caller: Caller, run: Run, claude: AnthropicUpstream, upstream: Upstream
) -> Iterator[httpx.AsyncClient]:
    claude.reset()
    upstream.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    yield made
    run(made.aclose())


async def priced(client: httpx.AsyncClient, **sheet: Any) -> None:
    for model in (OPENAI, CLAUDE):
        (await client.put(f"/v1/prices/{model}", json=SHEET | sheet)).raise_for_status()


async def budget(client: httpx.AsyncClient, caller: Caller, limit_usd: str) -> None:
    body = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": limit_usd, "period": "total"}
    (await client.post("/v1/budgets", json=body)).raise_for_status()


def asking(text: str = "", *, model: str = OPENAI, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text or str(uuid4())}]} | fields


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
