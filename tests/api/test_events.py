"""A run's events: in order, none missing, by page and by stream, across breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from typing import Any
from uuid import UUID

import pytest
import redis.asyncio
from tests.fakes.planning_agents import a_plan
from tests.fakes.planning_app import PlanningApp, planning_app

from cognitionos.agents.facade import Assignment
from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def app(settings: Settings, run: Any) -> Iterator[PlanningApp]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(planning_app(settings)))
    run(stack.aclose())


async def submitted(app: PlanningApp) -> dict[str, Any]:
    response = await app.client.post("/v1/goals", json={"statement": "Count to three"})
    body: dict[str, Any] = response.json()
    return body


def stream_of(app: PlanningApp, goal: dict[str, Any], *, after: int = 0) -> AsyncIterator[bytes]:
    streams = app.services.event_streams
    return streams.stream(app.who.tenant_id, UUID(goal["run_id"]), after=after)


def parsed(frames: list[bytes]) -> list[tuple[int, str]]:
    """`(id, event)` of each frame that has an id."""
    seen = []
    for frame in frames:
        fields = dict(line.split(": ", 1) for line in frame.decode().strip().splitlines() if not line.startswith(":"))
        if "id" in fields:
            assert json.loads(fields["data"])["seq"] == int(fields["id"])
            seen.append((int(fields["id"]), fields["event"]))
    return seen


async def test_a_stream_shows_everything_in_order_and_ends_with_the_run(app: PlanningApp) -> None:
    app.script([a_plan(t1=[], t2=["t1"])])
    goal = await submitted(app)

    frames = [frame async for frame in stream_of(app, goal)]

    seen = parsed(frames)
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert (seen[0][1], seen[-1][1]) == ("run.queued", "run.succeeded")
    assert frames[-1].startswith(b"event: end\n")


async def test_a_broken_stream_goes_on_after_the_last_event_seen(app: PlanningApp) -> None:
    go_on = asyncio.Event()

    async def wait(assignment: Assignment) -> str:
        await go_on.wait()
        return "done"

    app.script([a_plan(t1=[], t2=["t1"])], do=wait)
    goal = await submitted(app)
    before: list[bytes] = []
    async with aclosing(stream_of(app, goal)) as first:  # type: ignore[type-var]
        async for frame in first:
            before.append(frame)
            if b"agent.step" in frame:
                break
    go_on.set()
    last = parsed(before)[-1][0]

    after = [frame async for frame in stream_of(app, goal, after=last)]

    numbers = [number for number, _ in parsed(before) + parsed(after)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert parsed(after)[-1][1] == "run.succeeded"


async def test_a_stream_goes_on_when_signals_are_lost(app: PlanningApp, settings: Settings) -> None:
    step = asyncio.Event()

    async def wait(assignment: Assignment) -> str:
        await step.wait()
        return "done"

    app.script([a_plan(t1=[])], do=wait)
    goal = await submitted(app)
    seen: list[bytes] = []

    async def follow() -> None:
        async for frame in stream_of(app, goal):
            seen.append(frame)
            if b"agent.step" in frame:
                async with redis.asyncio.Redis.from_url(settings.redis_url.get_secret_value()) as client:
                    await client.flushall()
                    await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                step.set()

    async with asyncio.timeout(10):
        await follow()

    assert parsed(seen)[-1][1] == "run.succeeded"


async def test_no_stream_is_left_watched_when_its_reader_goes_away(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])])
    goal = await submitted(app)

    async with aclosing(stream_of(app, goal)) as stream:  # type: ignore[type-var]
        await anext(stream)
        assert app.services.event_streams.feed.streams == 1

    assert app.services.event_streams.feed.streams == 0


async def test_over_http_a_page_is_json_and_a_stream_is_resumed_by_its_header(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])])
    goal = await submitted(app)
    _ = [frame async for frame in stream_of(app, goal)]

    first = (await app.client.get(goal["events_href"], params={"limit": 3})).json()
    rest = (await app.client.get(goal["events_href"], params={"after": first["next_after"], "limit": 200})).json()
    stream = await app.client.get(goal["events_href"], headers={"accept": "text/event-stream", "last-event-id": "3"})

    assert [event["seq"] for event in first["items"]] == [1, 2, 3]
    assert (first["is_final"], rest["is_final"]) == (False, True)
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [number for number, _ in parsed([part + b"\n" for part in stream.content.split(b"\n\n") if part])] == [
        event["seq"] for event in rest["items"]
    ]


async def test_a_number_beyond_the_end_is_the_end(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])])
    goal = await submitted(app)
    whole = await app.client.get(goal["events_href"], headers={"accept": "text/event-stream"})

    beyond = {"accept": "text/event-stream", "last-event-id": "99999"}
    told = await app.client.get(goal["events_href"], headers=beyond)

    assert told.text.strip() == whole.text.strip().rpartition("\n\n")[2]
    assert told.text.startswith("event: end")


async def test_a_bad_last_event_id_and_an_unknown_run_are_named(app: PlanningApp) -> None:
    app.script([a_plan(t1=[])])
    goal = await submitted(app)

    bad = await app.client.get(goal["events_href"], headers={"last-event-id": "yesterday"})
    unknown = await app.client.get(
        "/v1/runs/00000000-0000-7000-8000-000000000000/events", headers={"accept": "text/event-stream"}
    )

    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (400, "Last-Event-ID")
    assert unknown.status_code == 404
