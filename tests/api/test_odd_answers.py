"""Answers in no shape that is read are no answers: asked again or elsewhere, and never booked as if they had been one.

And answers whose effect is for one caller only: never kept, never shared.
"""

import asyncio
import json
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.upstream import Say, Upstream
from tests.waiting import eventually

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
ROUTES = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
EFFECTS = [
    {"content": None, "function_call": {"name": "pay", "arguments": '{"eur": 5}'}},
    {"content": None, "audio": {"id": "audio_1", "expires_at": 1, "data": "AAAA", "transcript": "hi"}},
]


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


def answering(message: object, **choice: Any) -> bytes:
    choices = [{"index": 0, "message": message, "finish_reason": "stop"} | choice]
    return json.dumps({"id": "x", "model": "m", "choices": choices, "usage": USAGE}).encode()


def calling(*calls: object) -> bytes:
    return answering({"role": "assistant", "content": None, "tool_calls": calls}, finish_reason="tool_calls")


def asking(path: str, *, model: str = "openai/m") -> dict[str, Any]:
    if path == "/v1/responses":
        return {"model": model, "max_output_tokens": 50, "input": "Hi"}
    return {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


async def a_route(client: httpx.AsyncClient, provider: str) -> str:
    """A route that goes on to `openai/m`, from a model that nobody else's failures count against."""
    name = f"r{uuid4()}"
    candidates = [{"model": f"{provider}/{name}"}, {"model": "openai/m"}]
    (await client.put(f"/v1/routes/{name}", json={"candidates": candidates})).raise_for_status()
    return name


BROKEN = {
    "no choice": json.dumps({"id": "x", "choices": [None], "usage": USAGE}).encode(),
    "too deep": b'{"choices":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "no JSON": b"<html>",
    "a number for words": answering({"content": 5}),
    "a list of numbers for words": answering({"content": [5]}),
    "no call": calling(None),
    "a word for a call": calling("x"),
    "arguments that are no text": calling({"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}),
    "odd thoughts": answering({"content": "x", "thinking_blocks": [5]}),
    "an odd end": answering({"content": "x"}, finish_reason={"a": 1}),
}


ODD_BLOCKS = (
    {"type": "text", "text": 5},
    {"type": "text", "text": None},
    {"type": "tool_use", "id": "t", "name": "f", "input": "x"},
)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_none_the_next_one_counts(
    client: httpx.AsyncClient, upstream: Upstream, path: str, raw: bytes
) -> None:
    upstream.then(Say(raw=raw))
    route = await a_route(client, "openai")

    answer = await client.post(path, json=asking(path, model=route))

    assert (answer.status_code, len(upstream.calls)) == (200, 2), answer.text
    assert "Hello from m." in answer.text
    (row,) = (await client.get("/v1/usage/calls")).json()["items"]
    assert (row["outcome"], row["attempts"], row["finish_reason"]) == ("ok", 2, "stop")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("block", ODD_BLOCKS, ids=["number", "null", "input"])
async def test_a_broken_answer_of_anthropics_is_none_either(
    client: httpx.AsyncClient, upstream: Upstream, claude: AnthropicUpstream, path: str, block: Any
) -> None:
    claude.then(Tell(content=[block], stop_reason="end_turn"))

    route = await a_route(client, "anthropic")

    answer = await client.post(path, json=asking(path, model=route))

    assert (answer.status_code, len(claude.calls), len(upstream.calls)) == (200, 1, 1), answer.text
    assert "Hello from m." in answer.text


@pytest.mark.parametrize("message", EFFECTS, ids=["legacy call", "audio"])
async def test_what_has_an_effect_is_neither_kept_nor_shared(
    client: httpx.AsyncClient, upstream: Upstream, message: dict[str, Any]
) -> None:
    gate = asyncio.Event()
    legacy = {"functions": [{"name": "pay", "parameters": {"type": "object"}}], "function_call": {"name": "pay"}}
    asked, raw = asking(ROUTES[0]) | legacy, answering(message)
    upstream.then(Say(raw=raw, gates={0: gate}), *(Say(raw=raw) for _ in range(4)))

    at_once = [asyncio.create_task(client.post(ROUTES[0], json=asked)) for _ in range(4)]
    await eventually(lambda: len(upstream.calls) == 1)
    gate.set()
    answers = [*await asyncio.gather(*at_once), await client.post(ROUTES[0], json=asked)]

    assert Counter(each.headers["x-cognitionos-cache"] for each in answers) == {"none": 5}
    assert len(upstream.calls) == 5
