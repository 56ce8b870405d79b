"""Anthropic's format with another vendor's provider behind it: told in OpenAI's words, paid, cached and held alike."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream

from cognitionos.platform.config import Settings

CALLS = [
    {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
    for city in ("Bern", "Rome")
]
WEATHER: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


@pytest.fixture
def caller(settings: Settings, run: Run, upstream: Upstream, claude: AnthropicUpstream) -> Caller:
    upstream.reset()
    claude.reset()
    made: Caller = run(a_caller(settings, f"translated-{uuid4()}"))
    return made


@pytest.fixture
def client(url: str, caller: Caller, run: Run) -> Iterator[AsyncAnthropic]:
    made = AsyncAnthropic(base_url=url, api_key=caller.key)
    yield made
    run(made.close())


@pytest.fixture
def plain(url: str, caller: Caller, run: Run) -> Iterator[httpx.AsyncClient]:
    headers = {"x-api-key": caller.key, "anthropic-version": "2026-10-21"}
    made = httpx.AsyncClient(base_url=url, headers=headers, timeout=30)
    price = {"input_usd_per_million": 1, "output_usd_per_million": 2, "cached_input_usd_per_million": "0.5"}
    run(made.put("/v1/prices/m", json=price)).raise_for_status()
    yield made
    run(made.aclose())


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}]} | fields


async def test_a_conversation_with_tools_images_and_thinking_is_told_in_openais_words(
    client: AsyncAnthropic, upstream: Upstream
) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    thought: Any = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    used: Any = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}}
    result: Any = {"type": "tool_result", "tool_use_id": "t1", "content": "no such city", "is_error": True}
    marked: Any = {"type": "text", "text": "Where?", "cache_control": {"type": "ephemeral"}}

    await client.messages.create(
        model="m",
        max_tokens=100,
        system="Be brief.",
        messages=[
            {"role": "user", "content": [marked, image]},
            {"role": "assistant", "content": [thought, used]},
            {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
        ],
        tools=[WEATHER],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "low"},
    )

    sent = upstream.calls[0]
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Where?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no such city"},
        {"role": "user", "content": "And now?"},
    ]
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("required", False)
    assert (sent["stop"], sent["user"], sent["reasoning_effort"]) == (["END"], "u-1", "low")
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert sent["tools"][0]["function"]["parameters"] == WEATHER["input_schema"]
    assert "anthropic_version" not in sent


async def test_parallel_calls_come_back_whole_and_streamed(client: AsyncAnthropic, upstream: Upstream) -> None:
    upstream.then(Say(text="Let me look.", tool_calls=CALLS), Say(text="Let me look.", tool_calls=CALLS))

    whole = await client.messages.create(**asking("Weather?", tools=[WEATHER]))
    async with client.messages.stream(**asking("Weather again?", tools=[WEATHER])) as stream:
        streamed = await stream.get_final_message()

    for message in (whole, streamed):
        text, bern, rome = message.content
        assert (text.text, message.stop_reason) == ("Let me look.", "tool_use")
        assert [(call.id, call.input) for call in (bern, rome)] == [
            ("call_Bern", {"city": "Bern"}),
            ("call_Rome", {"city": "Rome"}),
        ]
        assert message.usage.input_tokens > 0
        assert message.usage.output_tokens > 0


async def test_a_stream_has_anthropics_events_in_their_order(client: AsyncAnthropic, upstream: Upstream) -> None:
    upstream.then(Say(text="one two", finish_reason="length", usage=USAGE))

    stream = await client.messages.create(**asking("Count"), stream=True)
    events = [event async for event in stream]

    kinds = ["message_start", "content_block_start", *["content_block_delta"] * 2, "content_block_stop"]
    assert [event.type for event in events] == [*kinds, "message_delta", "message_stop"]
    ending = events[-2]
    assert (ending.delta.stop_reason, ending.usage.input_tokens) == ("max_tokens", 600)
    assert (ending.usage.cache_read_input_tokens, ending.usage.output_tokens) == (400, 100)


async def test_it_is_priced_cached_and_named_in_headers(plain: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.then(Say(text="dear", usage=USAGE))

    first = await plain.post("/v1/messages", json=asking("What does it cost?"))
    again = await plain.post("/v1/messages", json=asking("What does it cost?"))

    assert first.json()["content"] == again.json()["content"] == [{"type": "text", "text": "dear"}]
    assert Decimal(first.headers["x-cognitionos-cost-usd"]) == Decimal("0.001")
    assert Decimal(again.headers["x-cognitionos-cost-usd"]) == 0
    assert (first.headers["x-cognitionos-cache"], again.headers["x-cognitionos-cache"]) == ("none", "exact")
    assert first.headers["x-cognitionos-provider"] == "openai"
    assert first.headers["request-id"] == first.headers["x-request-id"]
    assert len(upstream.calls) == 1


async def test_a_stream_of_claudes_is_kept_and_told_again(plain: httpx.AsyncClient, claude: AnthropicUpstream) -> None:
    claude.then(Tell(text="kept words"))
    asked = asking("Keep this", model="anthropic/claude-haiku-4-5", stream=True)

    first = await plain.post("/v1/messages", json=asked)
    again = await plain.post("/v1/messages", json=asked)

    assert again.headers["x-cognitionos-cache"] == "exact"
    for answer in (first, again):
        data = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]
        assert "".join(each["delta"]["text"] for each in data if each["type"] == "content_block_delta") == "kept words"
        assert data[-1]["type"] == "message_stop"
    assert len(claude.calls) == 1


async def test_a_refusal_for_money_is_not_tried_again(
    client: AsyncAnthropic, plain: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "0.000001", "period": "total"}
    (await plain.post("/v1/budgets", json=budget)).raise_for_status()

    with pytest.raises(anthropic.RateLimitError) as refused:
        await client.messages.create(**asking("Too dear"))

    error = refused.value.body["error"]  # type: ignore[index]
    assert (error["type"], error["code"]) == ("billing_error", "budget-exhausted")
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert upstream.calls == []


async def test_an_openai_client_reaches_claude(url: str, caller: Caller, claude: AnthropicUpstream) -> None:
    claude.then(Tell(text="Bonjour."), Tell(text="one two"))
    asked: Any = {"model": "anthropic/claude-haiku-4-5", "messages": [{"role": "user", "content": "Hello"}]}

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=caller.key) as client:
        whole = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, temperature=0.2, stream=True)
        pieces = [chunk.choices[0].delta.content async for chunk in stream]

    assert whole.choices[0].message.content == "Bonjour."
    assert "anthropic" not in (whole.model_extra or {})
    assert "".join(piece or "" for piece in pieces) == "one two"
    assert claude.calls[1]["temperature"] == 0.2


async def test_what_only_anthropic_can_do_is_refused_by_name_and_not_sent_to_others(
    client: AsyncAnthropic, upstream: Upstream, claude: AnthropicUpstream
) -> None:
    thinking: Any = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    search: Any = {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]}
    for streamed, (fields, param) in enumerate([(thinking, "thinking"), (search, "tools.0.type")]):
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.messages.create(**asking("x", **fields), stream=bool(streamed))
        error = refused.value.body["error"]  # type: ignore[index]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "request-refused", param)
        assert error["message"].count(": ") == 1  # what, and the remedy

    assert upstream.calls == []
    await client.messages.create(**asking("x", cache_control={"type": "ephemeral"}), extra_body={"top_k": 5})
    assert upstream.calls[0]["top_k"] == 5
    assert "cache_control" not in upstream.calls[0]
    await client.messages.create(**asking("x", model="anthropic/claude-haiku-4-5", **thinking | {"max_tokens": 2000}))
    assert claude.calls[0]["thinking"] == thinking["thinking"]


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"description": "nameless"}]}, "tools.0.name"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
        ({"max_tokens": None}, "max_tokens"),
    ],
)
async def test_what_is_malformed_is_named(plain: httpx.AsyncClient, changes: dict[str, Any], param: str) -> None:
    answer = await plain.post("/v1/messages", json=asking("x") | changes)

    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["param"] == param
