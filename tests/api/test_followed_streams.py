"""Identical streams at once, through two processes of the API: one is paid, the others hear it as it comes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import redis
from tests.api_process import api_process
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
COST = Decimal("0.0012")
"""Of USAGE at 1 dollar per million prompt tokens and 2 per million completion tokens."""
WORDS = "one two three four"


@dataclass
class Heard:
    """One stream as its client hears it."""

    layer: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    @property
    def text(self) -> str:
        choices = [event["choices"][0] for event in self.events if event.get("choices")]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def thoughts(self) -> str:
        choices = [event["choices"][0] for event in self.events if event.get("choices")]
        return "".join(choice["delta"].get("reasoning_content") or "" for choice in choices)

    @property
    def error(self) -> dict[str, Any] | None:
        return next((event["error"] for event in self.events if "error" in event), None)


@asynccontextmanager
async def hearing(client: httpx.AsyncClient, text: str, **fields: object) -> AsyncIterator[Heard]:
    """Ask for a stream and hear it in the background; leaving hangs up."""
    heard = Heard()

    async def listen() -> None:
        messages = [{"role": "user", "content": text}]
        body = {"model": "m", "messages": messages, "max_tokens": 100, "stream": True} | fields
        async with client.stream("POST", CHAT, json=body) as answer:
            heard.layer = answer.headers.get("x-cognitionos-cache", str(answer.status_code))
            async for line in answer.aiter_lines():
                if line == "data: [DONE]":
                    heard.done = True
                elif line.startswith("data: "):
                    heard.events.append(json.loads(line[6:]))

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def rows(client: httpx.AsyncClient, number: int) -> list[dict[str, Any]]:
    """The ledger of this test's tenant, once it has that many rows."""

    async def written() -> list[dict[str, Any]] | None:
        calls: list[dict[str, Any]] = (await client.get("/v1/usage/calls")).json()["items"]
        return calls if len(calls) >= number else None

    found = await eventually(written)
    assert len(found) == number
    return found


async def test_others_hear_a_stream_as_it_comes_in_both_processes_and_pay_nothing(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    gate = asyncio.Event()
    upstream.then(Say(text=WORDS, usage=USAGE, gates={3: gate}))
    with_usage = {"stream_options": {"include_usage": True}}
    async with hearing(clients[0], "live") as leader:
        await eventually(lambda: leader.text == "one two ")
        async with (
            hearing(clients[0], "live") as near,
            hearing(clients[1], "live", **with_usage) as far,
            hearing(clients[1], "live") as other,
        ):
            for each in (near, far, other):
                await eventually(lambda each=each: each.text == "one two ")
            assert len(upstream.calls) == 1
            gate.set()
            for each in (leader, near, far, other):
                await eventually(lambda each=each: each.done)

    assert {each.text for each in (leader, near, far, other)} == {WORDS}
    assert [each.layer for each in (leader, near, far, other)] == ["none", "coalesced", "coalesced", "coalesced"]
    assert far.events[-1]["usage"]["completion_tokens"] == 100
    assert not any(event.get("usage") for event in (*near.events, *other.events))
    assert len(upstream.calls) == 1
    calls = await rows(clients[0], 4)
    assert sorted(Decimal(call["cost_usd"]) for call in calls) == [0, 0, 0, COST]
    assert sorted(Decimal(call["saved_usd"]) for call in calls) == [0, COST, COST, COST]


async def test_the_thoughts_of_a_reasoning_model_are_followed_too_and_paid_once(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    gate, thoughts = asyncio.Event(), "is it one or two"
    upstream.then(Say(thoughts=thoughts, text=WORDS, usage=USAGE, gates={3: gate}))
    async with hearing(clients[0], "think") as leader:
        await eventually(lambda: leader.thoughts == "is it ")
        async with hearing(clients[0], "think") as near, hearing(clients[1], "think") as far:
            for each in (near, far):
                await eventually(lambda each=each: each.thoughts == "is it ")
            gate.set()
            for each in (leader, near, far):
                await eventually(lambda each=each: each.done)

    async with hearing(clients[1], "think") as later:
        await eventually(lambda: later.done)
    assert {(each.thoughts, each.text) for each in (leader, near, far, later)} == {(thoughts, WORDS)}
    assert (later.layer, len(upstream.calls)) == ("exact", 1)
    assert sorted(Decimal(call["cost_usd"]) for call in await rows(clients[0], 4)) == [0, 0, 0, COST]


async def test_a_stream_goes_on_for_those_who_follow_when_its_own_client_leaves(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    gate = asyncio.Event()
    upstream.then(Say(text=WORDS, usage=USAGE, gates={3: gate}))
    async with hearing(clients[0], "leave") as leader:
        await eventually(lambda: leader.text == "one two ")
        near, far = hearing(clients[0], "leave"), hearing(clients[1], "leave")
        heard = [await near.__aenter__(), await far.__aenter__()]
        for each in heard:
            await eventually(lambda each=each: each.text == "one two ")

    gate.set()
    for each in heard:
        await eventually(lambda each=each: each.done)
    await near.__aexit__(None, None, None)
    await far.__aexit__(None, None, None)

    assert [each.text for each in heard] == [WORDS, WORDS]
    assert (len(upstream.calls), upstream.abandoned_streams) == (1, 0)
    calls = await rows(clients[0], 3)
    assert sorted(Decimal(call["cost_usd"]) for call in calls) == [0, 0, COST]
    assert {call["outcome"] for call in calls} == {"ok"}


async def test_a_stream_ends_when_everybody_has_left(clients: list[httpx.AsyncClient], upstream: Upstream) -> None:
    upstream.then(Say(text=WORDS, usage=USAGE, gates={3: asyncio.Event()}, pause_s=0.01))
    async with (
        hearing(clients[0], "all leave") as leader,
        hearing(clients[0], "all leave") as near,
        hearing(clients[1], "all leave") as far,
    ):
        for each in (leader, near, far):
            await eventually(lambda each=each: each.text == "one two ")

    await eventually(lambda: upstream.abandoned_streams == 1)
    calls = await rows(clients[0], 3)
    assert {call["outcome"] for call in calls} == {"aborted"}
    assert sum(Decimal(call["cost_usd"]) > 0 for call in calls) == 1


async def test_a_stream_that_breaks_off_ends_in_an_error_for_all_and_says_nothing_twice(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    hold = asyncio.Event()
    upstream.then(Say(text=WORDS, cut_after=3, gates={2: hold}, pause_s=0.01))
    async with hearing(clients[0], "cut") as leader:
        await eventually(lambda: leader.text == "one ")
        async with hearing(clients[0], "cut") as near, hearing(clients[1], "cut") as far:
            for each in (near, far):
                await eventually(lambda each=each: each.text == "one ")
            hold.set()
            for each in (leader, near, far):
                await eventually(lambda each=each: each.error)

    assert {each.text for each in (leader, near, far)} == {"one two "}
    assert not any(each.done for each in (near, far))
    assert len(upstream.calls) == 1


async def test_a_killed_process_breaks_off_what_was_begun_and_hands_over_what_was_not(
    clients: list[httpx.AsyncClient],
    settings: Settings,
    environment: dict[str, str],
    caller: Caller,
    upstream: Upstream,
) -> None:
    last, first = asyncio.Event(), asyncio.Event()
    with api_process(settings, environment | {"COGNITIONOS_CRASH_POINT": "llm_gateway.before_settle"}) as doomed:
        async with httpx.AsyncClient(base_url=doomed, headers=caller.headers, timeout=30) as to_doomed:
            upstream.then(Say(text=WORDS, gates={4: last}), Say(text="", gates={0: first}), Say(text="by the living"))
            async with AsyncExitStack() as streams:
                await streams.enter_async_context(hearing(to_doomed, "begun"))
                await eventually(lambda: len(upstream.calls) == 1)
                await streams.enter_async_context(hearing(to_doomed, "silent"))
                await eventually(lambda: len(upstream.calls) == 2)
                begun = await streams.enter_async_context(hearing(clients[0], "begun"))
                silent = await streams.enter_async_context(hearing(clients[1], "silent"))
                await eventually(lambda: begun.text == "one two three ")
                assert silent.events == []
                last.set()
                await eventually(lambda: begun.error)
                await eventually(lambda: silent.done)

    assert begun.text in {"one two three ", WORDS}
    assert silent.text == "by the living"
    assert silent.layer == "none"


async def test_nothing_is_told_in_redis_of_a_stream_that_nobody_follows(
    clients: list[httpx.AsyncClient], upstream: Upstream, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        upstream.then(Say(text=WORDS, usage=USAGE))
        async with hearing(clients[0], "alone") as leader, hearing(clients[0], "alone") as near:
            await eventually(lambda: leader.done and near.done)

        assert client.keys("cognitionos:flight_events:*") == []


async def test_anthropic_s_client_follows_in_its_own_events(
    urls: list[str], caller: Caller, clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    gate = asyncio.Event()
    upstream.then(Say(text=WORDS, usage=USAGE, gates={3: gate}))
    ours = [anthropic.AsyncAnthropic(base_url=url, auth_token=caller.key, max_retries=0) for url in urls]
    texts = ["", "", ""]

    async def message(number: int) -> Any:
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "native"}], "max_tokens": 100}
        async with ours[number % 2].messages.stream(**asked) as stream:
            async for piece in stream.text_stream:
                texts[number] += piece
            return await stream.get_final_message()

    leader = asyncio.create_task(message(0))
    await eventually(lambda: texts[0] == "one two ")
    others = [asyncio.create_task(message(number)) for number in (1, 2)]
    await eventually(lambda: texts == ["one two "] * 3)
    gate.set()
    messages = await asyncio.gather(leader, *others)

    assert texts == [WORDS] * 3
    assert [each.content[0].text for each in messages] == [WORDS] * 3
    assert {each.usage.output_tokens for each in messages} == {100}
    assert len(upstream.calls) == 1
    for each in ours:
        await each.close()
