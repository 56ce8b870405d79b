"""Kept answers in Anthropic's format: asked whole or as a stream, paid once; what a tenant's defaults say of it."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

LAYER = "x-cognitionos-cache"
ANSWER = {"text": "It is 42.", "usage": {"input_tokens": 20, "output_tokens": 5, "cache_read_input_tokens": 7}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
CITED = {"type": "text", "text": "So it says.", "citations": [{"type": "char_location", "cited_text": "so"}]}


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


@pytest.fixture
def client(client: httpx.AsyncClient) -> httpx.AsyncClient:
    client.headers["anthropic-version"] = "2023-06-01"
    return client


def asking(model: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 2000, "messages": [{"role": "user", "content": text}]} | fields


async def ask(client: httpx.AsyncClient, body: dict[str, Any], **fields: Any) -> httpx.Response:
    answer = await client.post("/v1/messages", json=body | fields)
    assert answer.status_code == 200, answer.text
    return answer


async def kept(client: httpx.AsyncClient, body: dict[str, Any], **fields: Any) -> httpx.Response:
    """The answer once it comes from a cache: it is kept after it has left."""

    async def found() -> httpx.Response | None:
        answer = await ask(client, body, **fields)
        return answer if answer.headers[LAYER] != "none" else None

    return await eventually(found)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(part.partition("data: ")[2]) for part in answer.text.split("\n\n")[:-1]]


@pytest.mark.parametrize("model", ["openai/m", "anthropic/claude-haiku-4-5"])
@pytest.mark.parametrize("first", [{}, {"stream": False}, {"stream": True}])
async def test_whole_and_streamed_an_answer_is_paid_once(
    client: httpx.AsyncClient, upstream: Upstream, claude: AnthropicUpstream, model: str, first: dict[str, Any]
) -> None:
    upstream.then(Say(text="It is 42."))
    claude.then(Tell(**ANSWER))
    body = asking(model, "whole or streamed")
    asked = await ask(client, body, **first)

    again = [await kept(client, body, **each) for each in ({}, {"stream": False}, {"stream": True})]

    assert asked.headers[LAYER] == "none"
    assert {each.headers[LAYER] for each in again} == {"exact"}
    assert [each.json()["content"] for each in again[:2]] == [[{"type": "text", "text": "It is 42."}]] * 2
    said = [each["delta"]["text"] for each in events(again[2]) if each["type"] == "content_block_delta"]
    assert "".join(said) == "It is 42."
    assert len(upstream.calls) + len(claude.calls) == 1


async def test_the_official_client_reads_the_same_message_from_every_side(
    url: str, caller: Caller, client: httpx.AsyncClient, claude: AnthropicUpstream
) -> None:
    content = [THOUGHT, {"type": "text", "text": "Let me see."}, CITED]
    claude.then(Tell(content=content, usage=ANSWER["usage"]), Tell(content=content, usage=ANSWER["usage"]))
    version = {"anthropic-version": client.headers["anthropic-version"]}
    ours = AsyncAnthropic(base_url=url, api_key=caller.key, max_retries=0, default_headers=version)
    thinking = {"type": "enabled", "budget_tokens": 1024}

    async def streamed(body: Any) -> Any:
        async with ours.messages.stream(**body) as stream:
            return (await stream.get_final_message()).model_dump(exclude_none=True, exclude={"parsed_output"})

    for first, text in (("whole", "first whole"), ("streamed", "first streamed")):
        body: Any = asking("anthropic/claude-haiku-4-5", text, thinking=thinking)
        before = await ours.messages.create(**body) if first == "whole" else await streamed(body)
        whole = (await kept(client, body)).json()
        replay = await streamed(body)

        assert [each["type"] for each in whole["content"]] == ["thinking", "text", "text"]
        assert whole["content"][0] == THOUGHT
        assert whole["content"][2] == CITED
        assert (whole["stop_reason"], whole["usage"]["output_tokens"]) == ("end_turn", 5)
        assert replay["content"] == whole["content"]
        assert (replay["id"], replay["stop_reason"]) == (whole["id"], "end_turn")
        assert (before["id"] if first == "streamed" else before.id) == whole["id"]
        assert replay["usage"]["cache_read_input_tokens"] == whole["usage"]["cache_read_input_tokens"] == 7
    assert len(claude.calls) == 2
    await ours.close()


async def test_whole_and_streamed_at_once_share_one_call(client: httpx.AsyncClient, claude: AnthropicUpstream) -> None:
    gate = asyncio.Event()
    claude.then(Tell(text="once for all", gates={2: gate}))
    body = asking("anthropic/claude-haiku-4-5", "at once")
    leader = asyncio.create_task(ask(client, body, stream=True))
    await eventually(lambda: len(claude.calls) == 1)

    others = [asyncio.create_task(ask(client, body, stream=number % 2 == 0)) for number in range(6)]
    gate.set()
    answers = await asyncio.gather(leader, *others)

    assert all("once" in each.text and "all" in each.text for each in answers)
    assert len(claude.calls) == 1


async def test_a_tool_call_is_asked_for_each_time(client: httpx.AsyncClient, claude: AnthropicUpstream) -> None:
    used = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    claude.then(*(Tell(content=[used]) for _ in range(3)))
    body = asking("anthropic/claude-haiku-4-5", "the weather", tools=tools)

    layers = [(await ask(client, body, stream=stream)).headers[LAYER] for stream in (True, False, True)]

    assert layers == ["none"] * 3
    assert len(claude.calls) == 3


async def test_the_default_temperature_reaches_anthropics_format(
    client: httpx.AsyncClient, upstream: Upstream, claude: AnthropicUpstream
) -> None:
    (await client.put("/v1/role-defaults/default", json={"temperature": 0.3, "max_tokens": 7})).raise_for_status()
    thinking = {"type": "enabled", "budget_tokens": 1024}

    await ask(client, asking("openai/m", "by default"))
    for number, fields in enumerate(({}, {"temperature": 0.9}, {"thinking": thinking}, {"top_p": 0.5})):
        await ask(client, asking("anthropic/claude-haiku-4-5", f"by default {number}", **fields))
    await client.post(
        "/v1/messages",
        json=asking("anthropic/claude-haiku-4-5", "a newer version"),
        headers={"anthropic-version": "2026-10-21"},
    )

    assert upstream.calls[0]["temperature"] == 0.3
    assert [each.get("temperature") for each in claude.calls] == [0.3, 0.9, None, None, None]
    assert {each["max_tokens"] for each in claude.calls} == {2000}
