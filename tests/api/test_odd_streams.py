"""Streams that are slightly off, told in Anthropic's format and in that of OpenAI's responses, by the official SDKs."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from tests.conftest import Run
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

Event = dict[str, Any]
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
PRICE = {"input_usd_per_million": "0", "output_usd_per_million": "1000"}


def chunk(delta: Any = None, *, finish: str | None = None, **fields: Any) -> Event:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | fields


def call(index: Any, arguments: Any = None, **head: str) -> Event:
    function = {name: value for name, value in (("name", head.get("name")), ("arguments", arguments)) if value}
    return {"index": index, "function": function} | ({"id": head["id"], "type": "function"} if "id" in head else {})


def streaming(*events: Event, finish: str = "stop") -> Say:
    ends = [chunk(finish=finish), chunk(choices=[], usage=USAGE)]
    texts = [json.dumps(each).encode() for each in (*events, *ends)]
    return Say(raw=b"\n\ndata: ".join([*texts, b"[DONE]"]))


class Clients:
    """The official clients of the formats that are translated, and a plain one."""

    def __init__(self, url: str, caller: Caller) -> None:
        self.anthropic = AsyncAnthropic(base_url=url, api_key=caller.key, max_retries=0)
        self.openai = AsyncOpenAI(base_url=f"{url}/v1", api_key=caller.key, max_retries=0)
        self.plain = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30)

    async def message(self) -> tuple[str | None, list[Any]]:
        """Why it ended, and its blocks."""
        asked: Any = [{"role": "user", "content": "Go on."}]
        async with self.anthropic.messages.stream(model="m", max_tokens=100, messages=asked) as stream:
            said = await stream.get_final_message()
        return said.stop_reason, [_block(block) for block in said.content]

    async def response(self) -> list[Any]:
        """Its items."""
        async with self.openai.responses.stream(model="m", input="Go on.", max_output_tokens=100) as stream:
            said = await stream.get_final_response()
        return [_item(item) for item in said.output]

    async def rows(self, count: int) -> list[dict[str, Any]]:
        async def booked() -> list[dict[str, Any]] | None:
            found = (await self.plain.get("/v1/usage/calls")).json()["items"]
            return found if len(found) == count else None

        return await eventually(booked)

    async def close(self) -> None:
        await self.anthropic.close()
        await self.openai.close()
        await self.plain.aclose()


def _block(block: Any) -> Any:
    if block.type == "tool_use":
        return block.name, block.id, block.input
    return block.type, getattr(block, block.type)


def _item(item: Any) -> Any:
    if item.type == "function_call":
        return item.name, item.call_id, json.loads(item.arguments)
    (part,) = item.content
    return part.type, part.text if part.type == "output_text" else part.refusal


@pytest.fixture
def clients(url: str, caller: Caller, run: Run, upstream: Upstream) -> Iterator[Clients]:
    upstream.reset()
    made = Clients(url, caller)
    run(made.plain.put("/v1/prices/m", json=PRICE)).raise_for_status()
    yield made
    run(made.close())


async def test_events_spread_over_lines_that_end_anyhow_are_read_whole(clients: Clients, upstream: Upstream) -> None:
    """As the HTML standard has server-sent events: lines of data are joined, CR LF and CR end them, comments pass."""
    spread = [json.dumps(each, indent=1).replace("\n", "\r\ndata:") for each in (chunk(HI), chunk(finish="stop"))]
    raw = "\r\r: beside\rdata:".join([*spread, json.dumps(chunk(choices=[], usage=USAGE)), "[DONE]"]).encode()
    upstream.then(*(Say(raw=raw) for _ in range(2)))

    assert await clients.message() == ("end_turn", [("text", "Hi")])
    assert await clients.response() == [("output_text", "Hi")]
    assert [row["completion_tokens"] for row in await clients.rows(2)] == [4, 4]


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
HI = {"content": "Hi"}
READABLE = {
    "no choice": [chunk(choices=[None]), chunk(HI)],
    "no delta": [chunk(choices=[{"index": 0, "delta": None}]), chunk(HI)],
    "no model": [chunk(HI, model=None)],
    "an index in words": [chunk(choices=[{"index": "0", "delta": HI}])],
    "no index": [chunk(choices=[{"index": None, "delta": HI}])],
    "usage in words": [chunk(HI, usage="x")],
    "words in parts": [chunk({"content": [{"type": "text", "text": "Hi"}]})],
    "no call": [chunk({"tool_calls": [None]} | HI)],
}


@pytest.mark.parametrize("events", READABLE.values(), ids=READABLE)
async def test_what_can_be_read_is_told(clients: Clients, upstream: Upstream, events: list[Event]) -> None:
    upstream.then(streaming(*events), streaming(*events))

    assert await clients.message() == ("end_turn", [("text", "Hi")])
    assert await clients.response() == [("output_text", "Hi")]


async def test_thoughts_in_parts_are_thoughts_streamed_and_whole(clients: Clients, upstream: Upstream) -> None:
    upstream.then(streaming(chunk({"content": [THOUGHT]}), chunk(HI)))
    message = {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "Hi"}]}
    whole = chunk(choices=[{"index": 0, "message": message, "finish_reason": "stop"}], usage=USAGE)
    upstream.then(*(Say(raw=json.dumps(whole).encode()) for _ in range(2)))
    asked: Any = [{"role": "user", "content": "All at once."}]

    assert await clients.message() == ("end_turn", [("thinking", "hm"), ("text", "Hi")])
    said = await clients.anthropic.messages.create(model="m", max_tokens=100, messages=asked)
    assert [_block(block) for block in said.content] == [("thinking", "hm"), ("text", "Hi")]
    response = await clients.openai.responses.create(model="m", input="All at once, too.")
    assert response.output_text == "Hi"


UNREADABLE = {
    "a number for words": {"content": 5},
    "an object for arguments": {"tool_calls": [call(0, {"x": 1}, id="a", name="f")]},
    "an object for thoughts": {"reasoning_content": {"a": 1}},
}


@pytest.mark.parametrize("delta", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_ends_the_stream_with_the_vendors_error(
    clients: Clients, upstream: Upstream, delta: Event
) -> None:
    """It is not read on, and what was said before is booked, as an error."""
    deltas = [{"content": "x" * 400}, delta, {"content": "never said"}]
    upstream.then(*(Say(deltas=deltas, gates={2: asyncio.Event()}) for _ in range(2)))

    with pytest.raises(anthropic.APIStatusError, match="cannot be told in this format"):
        await clients.message()
    with pytest.raises(openai.APIError, match="cannot be told in this format"):
        await clients.response()

    for row in await clients.rows(2):
        assert (row["outcome"], row["estimated"]) == ("error", True)
        assert row["completion_tokens"] >= 100
    await eventually(lambda: upstream.abandoned_streams == 2)


TWO = [("f", "a", {"x": 1}), ("g", "b", {"y": 2})]
F, G = '{"x": 1}', '{"y": 2}'
PARALLEL = {
    "both at once": [
        [call(0, id="a", name="f"), call(1, id="b", name="g")],
        [call(0, F)],
        [call(1, G)],
    ],
    "in turns": [
        [call(0, id="a", name="f")],
        [call(1, id="b", name="g")],
        [call(0, F[:4])],
        [call(1, G[:4])],
        [call(0, F[4:])],
        [call(1, G[4:])],
    ],
    "no numbers": [[call(None, F, id="a", name="f"), call(None, G, id="b", name="g")]],
    "all number 0": [[call(0, F, id="a", name="f")], [call(0, G, id="b", name="g")]],
}


@pytest.mark.parametrize("pieces", PARALLEL.values(), ids=PARALLEL)
async def test_parallel_calls_come_out_whole(clients: Clients, upstream: Upstream, pieces: list[Any]) -> None:
    events = [chunk({"tool_calls": calls}) for calls in pieces]
    upstream.then(*(streaming(*events, finish="tool_calls") for _ in range(2)))

    assert await clients.message() == ("tool_use", TWO)
    assert await clients.response() == TWO


async def test_a_refusal_ends_as_one_streamed_as_whole(clients: Clients, upstream: Upstream) -> None:
    upstream.then(streaming(chunk({"refusal": "I can"}), chunk({"refusal": "not"})))

    assert await clients.message() == ("refusal", [("text", "I cannot")])
