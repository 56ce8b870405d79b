"""A turn as a stream: words as they come, steps taken up again, words taken back, money for what was cut off."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from tests.api.agent_stage import connected, speaking
from tests.api.streams import Frame, all_of, streaming
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, running_app
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos.agents.infrastructure.far_words import CHANNEL_PREFIX, TELLING
from cognitionos.platform.config import Settings

RULES: list[dict[str, Any]] = [
    {
        "contains": ["write it down"],
        "tool_results": 0,
        "call": [{"name": "write_file", "arguments": {"name": "note.md", "text": "Sea."}}],
    },
    {"contains": ["write it down"], "say": "It is in note.md."},
    {"contains": ["hello"], "say": "Hello to you."},
]
PRICE = {"input_usd_per_million": "1", "output_usd_per_million": "1000"}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Two applications over one database and one model."""

    app: Any
    other: Any
    caller: Caller
    client: httpx.AsyncClient
    upstream: Upstream

    async def talk(self) -> str:
        made = await self.client.post("/v1/conversations", json={})
        assert made.status_code == 201, made.text
        return f"/v1/conversations/{made.json()['id']}"

    def say(self, href: str, content: str) -> Any:
        return streaming(self.app, self.caller, f"{href}/messages", body={"content": content, "stream": True})

    def follow(self, app: Any, href: str, *, last: str = "") -> Any:
        return streaming(app, self.caller, f"{href}/events", last=last)


async def a_scene(stack: AsyncExitStack, settings: Settings) -> Scene:
    upstream = await stack.enter_async_context(running_upstream(speak=speaking(RULES)))
    told = connected(settings, upstream)
    app = await stack.enter_async_context(running_app(told))
    other = await stack.enter_async_context(running_app(told))
    caller = await a_caller(told, "streams")
    client = await stack.enter_async_context(client_of(app, caller))
    assert (await client.put("/v1/prices/openai/gpt-4o-mini", json=PRICE)).is_success
    return Scene(app=app, other=other, caller=caller, client=client, upstream=upstream)


@pytest.fixture(scope="module")
def scene(settings: Settings, run: Run) -> Iterator[Scene]:
    stack = AsyncExitStack()
    yield run(a_scene(stack, settings))
    run(stack.aclose())


def durable(frames: list[Frame]) -> list[tuple[str, str]]:
    return [(frame.id, frame.event) for frame in frames if frame.id]


def words(frames: list[Frame]) -> list[str]:
    return [frame.data["text"] for frame in frames if frame.event == "agent.delta"]


def tells_of(href: str) -> bool:
    """Whether some process tells others of the conversation."""
    return any(task.get_name() == TELLING + href.rpartition("/")[2] for task in asyncio.all_tasks())


async def until(frames: AsyncIterator[Frame], event: str) -> Frame:
    async for frame in frames:
        if frame.event == event:
            return frame
    raise AssertionError(f"the stream ended without {event}")


async def test_words_are_there_while_the_model_still_speaks(scene: Scene) -> None:
    href = await scene.talk()
    scene.upstream.then(Say(text="One two three four", pause_s=0.1))

    async with scene.say(href, "Count.") as frames:
        first = await until(frames, "agent.delta")
        speaking_still = scene.upstream.open_streams
        rest = await all_of(frames)

    assert (first.data["text"], speaking_still) == ("One ", 1)
    assert (first.data["role"], first.data["step"]) == ("executor", "executor/0/0")
    assert words(rest) == ["two ", "three ", "four"]
    assert rest[-1].data["answer"] == "One two three four"


async def test_a_streamed_turn_costs_what_the_ledger_says(scene: Scene) -> None:
    href = await scene.talk()
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    scene.upstream.then(Say(text="Dear words.", usage=usage))

    async with scene.say(href, "Say something dear.") as frames:
        told = (await all_of(frames))[-1].data

    run = href.rpartition("/")[2]
    [row] = (await scene.client.get(f"/v1/usage/calls?kind=chat&run={run}")).json()["items"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["cost_usd"]) == (100, 20, "0.0201")
    assert (row["cost_usd"], row["outcome"]) == ("0.0201", "ok")


async def test_a_stream_is_taken_up_after_the_last_event_in_another_process(scene: Scene) -> None:
    href = await scene.talk()
    async with scene.say(href, "Write it down.") as frames:
        seen = await until(frames, "agent.answered")  # and the client is gone

    async with scene.follow(scene.other, href, last=seen.id) as frames:
        rest = await all_of(frames)
    async with scene.follow(scene.other, href) as frames:
        whole = await all_of(frames)
    async with scene.follow(scene.other, href, last="1.end") as frames:
        nothing = await all_of(frames)

    steps = [("1.1", "agent.answered"), ("1.2", "agent.tool_called"), ("1.3", "agent.answered"), ("1.end", "message")]
    assert (durable(rest), durable(whole), nothing) == (steps[1:], steps, [])
    assert rest[-1].data["answer"] == "It is in note.md."


async def test_one_who_follows_beside_the_speaker_hears_the_same_words(scene: Scene) -> None:
    href = await scene.talk()
    both_listen = asyncio.Event()
    scene.upstream.then(Say(text="One two three", gates={1: both_listen}))

    async with scene.say(href, "Count.") as frames, scene.follow(scene.app, href) as others:
        both_listen.set()
        mine, theirs = await all_of(frames), await all_of(others)

    assert words(mine) == words(theirs) == ["One ", "two ", "three"]


async def test_one_who_follows_in_another_process_hears_the_same_words(scene: Scene) -> None:
    href = await scene.talk()
    beyond = asyncio.Event()
    scene.upstream.then(Say(text="One two three", gates={1: beyond}))

    async with scene.say(href, "Count.") as frames, scene.follow(scene.other, href) as others:
        heard = asyncio.create_task(all_of(others))
        await eventually(lambda: tells_of(href))
        beyond.set()
        mine, theirs = await all_of(frames), await heard

    assert words(mine) == words(theirs) == ["One ", "two ", "three"]
    assert durable(mine) == durable(theirs)


async def test_no_word_leaves_the_process_while_nobody_elsewhere_follows(scene: Scene, redis_url: str) -> None:
    href = await scene.talk()
    scene.upstream.then(Say(text="One two three"))
    parcels = []

    async with Redis.from_url(redis_url) as redis, redis.pubsub() as wire:
        await wire.psubscribe(f"{CHANNEL_PREFIX}*")
        async with scene.say(href, "Count.") as frames:
            told = await all_of(frames)
        await redis.publish(f"{CHANNEL_PREFIX}last", b"")
        async for message in wire.listen():
            if message["channel"] == f"{CHANNEL_PREFIX}last".encode():
                break
            parcels += [message["data"]] if message["type"] == "pmessage" else []

    assert words(told) == ["One ", "two ", "three"]
    assert not [parcel for parcel in parcels if href.rpartition("/")[2].encode() in parcel]


async def test_words_that_broke_off_are_taken_back_and_asked_for_again(scene: Scene) -> None:
    href = await scene.talk()
    scene.upstream.then(Say(text="One two three", cut_after=2), Say(text="One two three"))

    async with scene.say(href, "Count to three.") as frames:
        told = await all_of(frames)

    events = [frame.event for frame in told]
    assert events[:2] == ["agent.delta", "agent.restarted"]
    assert told[1].data == {"role": "executor", "step": "executor/0/0"}
    assert words(told[2:]) == ["One ", "two ", "three"]
    assert told[-1].data["answer"] == "One two three"


async def test_a_turn_goes_on_when_its_listener_hangs_up(scene: Scene) -> None:
    href = await scene.talk()
    scene.upstream.then(Say(text="One two three", pause_s=0.1))
    async with scene.say(href, "Count.") as frames:
        await until(frames, "agent.delta")

    async def answer() -> str | None:
        [turn] = (await scene.client.get(f"{href}/messages")).json()["items"]
        found: str | None = turn["answer"]
        return found

    assert await eventually(answer) == "One two three"


async def test_cancelling_ends_the_stream_and_bills_what_was_said(scene: Scene) -> None:
    href = await scene.talk()
    scene.upstream.then(Say(text="one " * 200, pause_s=0.05))

    async with scene.say(href, "Count for long.") as frames:
        await until(frames, "agent.delta")
        assert (await scene.client.post(f"{href}/cancel", json={})).status_code == 200
        last = (await all_of(frames))[-1]

    run = href.rpartition("/")[2]

    async def billed() -> dict[str, Any] | None:
        rows = (await scene.client.get(f"/v1/usage/calls?kind=chat&run={run}")).json()["items"]
        return rows[0] if rows else None

    row: dict[str, Any] = await eventually(billed)
    assert (last.event, last.id, last.data["type"]) == ("error", "1.end", "/problems/turn-cancelled")
    assert row["outcome"] == "aborted"
    assert 0 < row["completion_tokens"] < 200
    await eventually(lambda: scene.upstream.abandoned_streams > 0)


async def test_an_id_that_is_none_is_refused_by_name(scene: Scene) -> None:
    href = await scene.talk()

    for last in ("x", "1.x", "-", "1" * 30):
        answer = await scene.client.get(f"{href}/events", headers={"last-event-id": last})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Last-Event-ID"), last
