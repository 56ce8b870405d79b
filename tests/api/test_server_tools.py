"""A provider's own web searches: billed by the search, held for under a budget, refused where nothing bounds them."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.api.spending import budget
from tests.conftest import Run
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

MODEL = "anthropic/claude-haiku-4-5"
SHEET = {
    "input_usd_per_million": "1",
    "output_usd_per_million": "5",
    "search_usd_per_thousand": "10",
    "max_input_tokens": 200_000,
}
USAGE = {"input_tokens": 9000, "output_tokens": 200, "server_tool_use": {"web_search_requests": 2}}
COST = Decimal("0.03")
"""9,000 tokens in, 200 out, two searches."""


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


@pytest.fixture
def client(client: httpx.AsyncClient, run: Run) -> httpx.AsyncClient:
    run(client.put(f"/v1/prices/{MODEL}", json=SHEET)).raise_for_status()
    return client


async def search(client: httpx.AsyncClient, *, stream: bool = False, **more: Any) -> httpx.Response:
    tool = {"type": "web_search_20250305", "name": "web_search"} | more
    messages = [{"role": "user", "content": f"What is new? {uuid4()}"}]
    body = {"model": MODEL, "max_tokens": 100, "messages": messages, "tools": [tool], "stream": stream}
    return await client.post("/v1/messages", json=body)


@pytest.mark.parametrize("stream", [False, True])
async def test_searches_are_billed_and_in_the_ledger(
    client: httpx.AsyncClient, claude: AnthropicUpstream, *, stream: bool
) -> None:
    claude.then(Tell(text="Much.", usage=USAGE))

    answer = await search(client, stream=stream)
    call = (await client.get(f"/v1/usage/calls/{answer.headers['x-cognitionos-call-id']}")).json()

    assert answer.status_code == 200
    assert (call["searches"], Decimal(call["cost_usd"])) == (2, COST)
    assert "max_uses" not in claude.calls[-1]["tools"][0]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_a_stream_that_is_left_on_the_way_is_billed_for_what_it_said_and_searched_so_far(
    client: httpx.AsyncClient, claude: AnthropicUpstream, path: str
) -> None:
    looked: Any = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "news"}}
    found: Any = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    failed = found | {"content": {"type": "web_search_tool_result_error", "error_code": "unavailable"}}
    text: Any = {"type": "text", "text": "This is news"}
    usage = {"input_tokens": 9000, "cache_read_input_tokens": 1000, "output_tokens": 200}
    told = Tell(content=[looked, found, looked, failed, text], usage=usage, gates={14: asyncio.Event()})
    claude.then(told)
    messages = [{"role": "user", "content": f"What is new? {uuid4()}"}]
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]
    body = {"model": MODEL, "max_tokens": 100, "messages": messages, "tools": tools, "stream": True}

    async with client.stream("POST", path, json=body) as answer:
        async for line in answer.aiter_lines():
            if "news" in line and "query" not in line:
                break
    call_id = answer.headers["x-cognitionos-call-id"]

    async def row() -> dict[str, Any] | None:
        found = await client.get(f"/v1/usage/calls/{call_id}")
        return found.json() if found.status_code == 200 else None

    call = await eventually(row)
    assert (call["outcome"], call["estimated"], call["searches"]) == ("aborted", True, 1)
    assert (call["prompt_tokens"], call["cached_tokens"], call["completion_tokens"]) == (10_000, 1000, 3)


async def test_under_a_budget_a_search_without_a_bound_is_refused_and_nothing_is_sent(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream
) -> None:
    await budget(client, caller, "100")

    refused = await search(client)

    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert "tools.0.max_uses" in refused.json()["error"]["message"]
    assert claude.calls == []


async def test_a_budget_holds_every_search_and_pass_that_there_may_be(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream
) -> None:
    # three passes over 200,000 tokens, 100 tokens out of each, two searches: 0.6215
    await budget(client, caller, "0.62")
    too_small = await search(client, max_uses=2)
    await budget(client, caller, "0.6215")
    claude.then(Tell(text="Much.", usage=USAGE))

    answered = await search(client, max_uses=2)

    assert too_small.status_code == 429
    assert answered.status_code == 200
    spent = (await client.get("/v1/budgets")).json()["budgets"][0]
    assert (Decimal(spent["spent_usd"]), spent["held_usd"]) == (COST, "0")


async def test_a_search_whose_fee_nobody_knows_is_refused_under_a_budget_and_counted_as_unpriced_without(
    client: httpx.AsyncClient, caller: Caller, claude: AnthropicUpstream
) -> None:
    without = {name: value for name, value in SHEET.items() if name != "search_usd_per_thousand"}
    (await client.put(f"/v1/prices/{MODEL}", json=without)).raise_for_status()
    claude.then(Tell(text="Much.", usage=USAGE))

    free_to_use = await search(client, max_uses=2)
    await budget(client, caller, "100")
    refused = await search(client, max_uses=2)

    assert free_to_use.headers["x-cognitionos-cost-usd"] == "unknown"
    assert (await client.get("/v1/usage")).json()["groups"][0]["unpriced_calls"] == 1
    assert refused.status_code == 400
    assert "PUT /v1/prices/" in refused.json()["error"]["message"]


async def test_a_model_that_searches_by_itself_costs_its_fee_each_time(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await budget(client, caller, "1")
    usage = {"prompt_tokens": 20, "completion_tokens": 200, "total_tokens": 220}
    upstream.then(Say(text="Much.", usage=usage))
    messages = [{"role": "user", "content": "What is new?"}]
    body = {"model": "openai/gpt-4o-search-preview", "max_tokens": 200, "messages": messages, "web_search_options": {}}

    answer = await client.post("/v1/chat/completions", json=body)

    assert upstream.calls[-1]["web_search_options"] == {}
    assert Decimal(answer.headers["x-cognitionos-cost-usd"]) == Decimal("0.02705")
