"""Streams on the wire: signs of life while a provider is silent, and none while it speaks."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.builders_llm_gateway import a_request
from tests.unit.llm_gateway.test_llm_steps import CALLER, Bench

from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.flow import Ended
from cognitionos.llm_gateway.application.ports import Answer
from cognitionos.llm_gateway.application.streaming import ChatStream
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import RequestRefused
from cognitionos.llm_gateway.facade import Begun
from cognitionos.llm_gateway.infrastructure.event_stream import Events, EventStream
from cognitionos.llm_gateway.infrastructure.messages_answer import MessageEvents

PING_S = 0.02


class Client:
    """Takes what a stream sends; `pinged` is set when a sign of life came. Leaves when `left` is set."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.pinged, self.left, self.asked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def refusing(self, _request: ChatRequest, *, model: str) -> Answer:
        """A provider that refuses once its silence was heard."""
        self.asked.set()
        await self.pinged.wait()
        raise RequestRefused("too late")

    async def send(self, message: Any) -> None:
        body = message.get("body", b"")
        if message["type"] == "http.response.body":
            self.bodies.append(body)
        if b"ping" in body:
            self.pinged.set()


def a_stream(events: AsyncGenerator[bytes, None]) -> ChatStream:
    return ChatStream(
        call_id=new_id(),
        provider="openai",
        model="openai/m",
        cache="none",
        attempts=1,
        route="named; openai/m",
        simulated=False,
        limit_lowered=False,
        cost_nanousd=None,
        events=events,
    )


def opened(stream: ChatStream, **how: Any) -> EventStream:
    """A stream whose first piece is there at once."""

    async def open_(_begun: Begun) -> ChatStream:
        return stream

    return EventStream(Events(open_, **how))


async def sent(stream: EventStream, client: Client) -> bytes:
    await asyncio.wait_for(stream.to_asgi_response(None, None)({}, client.receive, client.send), timeout=5)  # type: ignore[arg-type]
    return b"".join(client.bodies)


class Held(asyncio.Future[Any]):
    """A server's own future, which does not let go of who listens to it."""

    def add_done_callback(self, *listeners: Any, **context: Any) -> None:
        self.listeners = listeners
        super().add_done_callback(*listeners, **context)


async def test_nothing_is_left_of_a_stream_that_ended_for_the_collector_to_find() -> None:
    class Owner:
        async def released(self) -> None: ...

    async def speak() -> AsyncGenerator[bytes, None]:
        yield b"{}"

    client, owner = Client(), Owner()
    client.receive = Held  # type: ignore[method-assign]
    left = weakref.ref(owner)
    gc.disable()
    try:
        await sent(opened(replace(a_stream(speak()), released=owner.released)), client)
        await asyncio.sleep(0)  # what was cancelled has heard of it
        del owner

        assert left() is None
    finally:
        gc.enable()


async def test_what_is_at_hand_of_a_stream_whose_end_is_known_goes_out_at_once() -> None:
    ended = Ended()

    async def speak() -> AsyncGenerator[bytes, None]:
        yield b"1"
        ended.known = True
        yield b"2"
        yield b"3"

    client = Client()
    await sent(opened(replace(a_stream(speak()), ended=ended)), client)

    assert client.bodies == [b"data: 1\n\n", b"data: 2\n\ndata: 3\n\ndata: [DONE]\n\n"]


async def test_a_silent_provider_is_covered_by_pings_and_then_goes_on() -> None:
    client = Client()

    async def speak() -> AsyncGenerator[bytes, None]:
        yield b"{}"
        await client.pinged.wait()
        yield b"[]"

    text = await sent(opened(a_stream(speak()), ping_s=PING_S), client)

    assert text.startswith(b"data: {}\n\n: ping\n\n")
    assert text.endswith(b"data: []\n\ndata: [DONE]\n\n")


async def test_a_stream_that_speaks_needs_no_ping() -> None:
    async def speak() -> AsyncGenerator[bytes, None]:
        for _ in range(5):
            yield b"{}"

    text = await sent(opened(a_stream(speak())), Client())

    assert b"ping" not in text


async def test_anthropics_ping_is_an_event() -> None:
    client = Client()

    async def speak() -> AsyncGenerator[bytes, None]:
        yield b'{"model":"m","choices":[{"index":0,"delta":{"content":"Hi"}}]}'
        await client.pinged.wait()

    framing = MessageEvents("msg_1")
    text = await sent(opened(a_stream(speak()), framing=lambda _: framing, ping_s=PING_S), client)

    assert b'event: ping\ndata: {"type": "ping"}\n\n' in text
    assert text.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


async def test_what_cannot_be_opened_is_raised_while_nothing_was_said() -> None:
    async def refuse(_begun: Begun) -> ChatStream:
        raise RequestRefused("no")

    client = Client()

    with pytest.raises(RequestRefused):
        await sent(EventStream(Events(refuse)), client)
    assert client.bodies == []


async def test_after_signs_of_life_it_is_an_error_inside_of_the_stream() -> None:
    client, bench = Client(), Bench(fallback=False)
    bench.first.chat = client.refusing  # type: ignore[method-assign]

    events = Events(partial(bench.streaming.open, CALLER, a_request()), ping_s=PING_S)
    text = await sent(EventStream(events), client)

    assert text.startswith(b": ping\n\n")
    assert b'"message":"too late"' in text
    assert b"[DONE]" not in text
    assert bench.row.outcome == "error"


async def test_a_client_that_leaves_before_the_first_piece_stops_the_call_and_others_ask_themselves() -> None:
    client, bench = Client(), Bench(fallback=False)
    bench.first.chat = client.refusing  # type: ignore[method-assign]
    events = Events(partial(bench.streaming.open, CALLER, a_request()))
    sending = asyncio.create_task(sent(EventStream(events), client))
    await client.asked.wait()
    del bench.first.chat
    following = asyncio.create_task(bench.streaming.open(CALLER, a_request()))

    client.left.set()
    await sending
    other = [event async for event in (await following).events]
    await bench.budgets.settled()

    assert client.bodies == []
    assert other
    assert sorted(row.outcome for row in bench.store.ledger.values()) == ["aborted", "ok"]
    assert bench.store.holds == {}
