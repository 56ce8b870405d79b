"""How long an answer may get where nobody said so, or a budget has less: sent, flagged, never below the thinking."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.api.spending import budget
from tests.edge import Caller
from tests.upstream import Upstream

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
OPENAI, CLAUDE = "openai/nobodys", "anthropic/nobodys"
LIMITS = ("max_tokens", "max_completion_tokens")
LOWERED = "x-cognitionos-limit-lowered"


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


async def priced(client: httpx.AsyncClient, output_usd: str = "1000", **sheet: Any) -> None:
    for model in (OPENAI, CLAUDE):
        price = {"input_usd_per_million": "0", "output_usd_per_million": output_usd} | sheet
        (await client.put(f"/v1/prices/{model}", json=price)).raise_for_status()


def body_for(path: str, model: str = OPENAI, **fields: Any) -> dict[str, Any]:
    text = str(uuid4())
    said = {"input": text} if path == RESPONSES else {"messages": [{"role": "user", "content": text}]}
    return {"model": model} | said | fields


def thinking(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def sent(body: dict[str, Any]) -> list[int]:
    return [body[name] for name in LIMITS if name in body]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_without_a_budget_no_limit_is_sent_that_nobody_asked_for(
    client: httpx.AsyncClient, upstream: Upstream, path: str, *, stream: bool
) -> None:
    await priced(client)

    answer = await client.post(path, json=body_for(path, stream=stream))

    assert answer.status_code == 200
    assert [sent(call) for call in upstream.calls] == [[]]
    assert LOWERED not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "model"), [(CHAT, OPENAI), (RESPONSES, OPENAI), (CHAT, CLAUDE)])
async def test_under_a_budget_a_model_whose_limit_nobody_knows_gets_one_and_the_answer_says_so(
    client: httpx.AsyncClient,
    caller: Caller,
    upstream: Upstream,
    claude: AnthropicUpstream,
    path: str,
    model: str,
    *,
    stream: bool,
) -> None:
    await priced(client)
    await budget(client, caller, "100")

    answer = await client.post(path, json=body_for(path, model, stream=stream))

    assert answer.status_code == 200
    assert [sent(call) for call in (claude.calls if model == CLAUDE else upstream.calls)] == [[4096]]
    assert answer.headers[LOWERED] == "true"


async def test_an_answer_that_did_not_reach_a_limit_that_nobody_said_is_kept(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await priced(client)
    await budget(client, caller, "100")
    body = body_for(CHAT)

    layers = [(await client.post(CHAT, json=body)).headers["x-cognitionos-cache"] for _ in range(2)]

    assert layers == ["none", "exact"]
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_limit_is_lowered_to_no_less_than_what_is_to_be_thought_and_something_to_say(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream, path: str
) -> None:
    await priced(client)
    await budget(client, caller, "1.035")
    body = body_for(path, CLAUDE, max_tokens=2000) | thinking(1024)

    refused = await client.post(path, json=body)
    [only] = (await client.get("/v1/budgets")).json()["budgets"]
    (await client.patch(f"/v1/budgets/{only['id']}", json={"limit_usd": "1.5"})).raise_for_status()
    lowered = await client.post(path, json=body)

    assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "false")
    assert only["subject"] in refused.text
    assert (lowered.status_code, lowered.headers[LOWERED]) == (200, "true")
    assert [sent(call) for call in claude.calls] == [[1500]]
    assert claude.calls[0]["thinking"]["budget_tokens"] == 1024


@pytest.mark.parametrize("under_a_budget", [False, True])
async def test_without_a_limit_there_is_room_for_an_answer_beside_what_is_to_be_thought(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream, *, under_a_budget: bool
) -> None:
    await priced(client)
    if under_a_budget:
        await budget(client, caller, "100")

    answer = await client.post(CHAT, json=body_for(CHAT, CLAUDE) | thinking(10_000))

    assert answer.status_code == 200, answer.text
    assert [sent(call) for call in claude.calls] == [[14_096]]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cheaper_model_that_cannot_be_told_the_request_leaves_the_one_that_was_asked_for_a_lower_limit(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, claude: AnthropicUpstream, *, stream: bool
) -> None:
    await priced(client)
    cheap = {"input_usd_per_million": "0", "output_usd_per_million": "1"}
    (await client.put(f"/v1/prices/{OPENAI}", json=cheap)).raise_for_status()
    await budget(client, caller, "1.5")
    [only] = (await client.get("/v1/budgets")).json()["budgets"]
    path, terms = f"/v1/budgets/{only['id']}", {"soft": 0.001, "halt": None, "downgrade_to": OPENAI}
    (await client.patch(path, json=terms)).raise_for_status()
    claude.then(Tell(text="past the soft share", usage={"input_tokens": 1, "output_tokens": 10}))
    (await client.post(MESSAGES, json=body_for(MESSAGES, CLAUDE, max_tokens=16))).raise_for_status()

    body = body_for(MESSAGES, CLAUDE, max_tokens=2000, stream=stream) | thinking(1024)
    lowered = await client.post(MESSAGES, json=body)
    (await client.patch(path, json={"limit_usd": "1.04"})).raise_for_status()
    refused = await client.post(MESSAGES, json=body_for(MESSAGES, CLAUDE, max_tokens=2000) | thinking(1024))

    assert (lowered.status_code, lowered.headers[LOWERED]) == (200, "true"), lowered.text
    assert sent(claude.calls[-1]) == [1490]
    assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "false")
    assert only["subject"] in refused.text
    assert upstream.calls == []
