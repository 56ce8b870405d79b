"""Streams that follow an identical one, over fakes: what each of them hears, whatever the first one's client does."""

import asyncio
import gc
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.builders_llm_gateway import a_request
from tests.fakes.llm_gateway_provider import ScriptedProvider
from tests.unit.llm_gateway.test_llm_steps import CALLER, COST, Bench
from tests.waiting import eventually

from cognitionos.llm_gateway.application.flow import Flow
from cognitionos.llm_gateway.application.listening import Listening
from cognitionos.llm_gateway.application.ports import TOGETHER, Chunk
from cognitionos.llm_gateway.application.single_flight import Flight
from cognitionos.llm_gateway.application.streaming import ChatStream
from cognitionos.llm_gateway.domain.chat import ChatRequest, Usage, tool
from cognitionos.llm_gateway.domain.errors import ProviderFailure, StreamBroken
from cognitionos.llm_gateway.infrastructure.openai_schema import decode_object, encode


def a_chunk(**delta: object) -> Chunk:
    data = encode({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    more, text = delta.keys() - {"role", "content"}, str(delta.get("content") or "")
    return Chunk(data=data, text=text, tokens=int(bool(text or more)), plain=not more, shared="tool_calls" not in delta)


ROLE, ONE, TWO = a_chunk(role="assistant", content=""), a_chunk(content="one "), a_chunk(content="two")
THOUGHT, MORE = a_chunk(reasoning_content="Hm, "), a_chunk(reasoning_content="two?")
CALL = a_chunk(tool_calls=[{"index": 0, "id": "x"}])


def likely(index: int, text: str) -> Chunk:
    """A word of a choice with its log probability."""
    choice = {"index": index, "delta": {"content": text}, "logprobs": {"content": [{"token": text, "logprob": -1.0}]}}
    data = encode({"id": "c", "model": "m", "choices": [choice | {"finish_reason": None}]})
    return Chunk(data=data, text=text, tokens=1, plain=False)


def ending(index: int) -> Chunk:
    data = encode({"id": "c", "model": "m", "choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]})
    return Chunk(data=data, finish_reason="stop", plain=index == 0)


STOP = replace(ending(0), usage=Usage(prompt=10, completion=5))


async def events_of(stream: ChatStream) -> AsyncGenerator[dict[str, Any], None]:
    async for event in stream.events:
        yield decode_object(event)


@dataclass
class PacedProvider(ScriptedProvider):
    """Says what is put into `says`, when it is put there; an error is raised, None ends it."""

    says: "asyncio.Queue[Chunk | Exception | None]" = field(default_factory=asyncio.Queue)

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        self.asked.append((model, request))
        while (said := await self.says.get()) is not None:
            if isinstance(said, Exception):
                raise said
            yield said

    def say(self, *chunks: Chunk | Exception | None) -> None:
        for chunk in chunks:
            self.says.put_nowait(chunk)


@pytest.fixture
def provider() -> PacedProvider:
    return PacedProvider("first")


@pytest.fixture
def bench(provider: PacedProvider) -> Bench:
    return Bench(first=provider, fallback=False)


async def heard(stream: ChatStream, into: list[bytes] | None = None) -> str:
    """All words of a stream."""
    text = ""
    async for event in stream.events:
        if into is not None:
            into.append(event)
        choices = decode_object(event)["choices"]
        text += (choices[0]["delta"].get("content") or "") if choices else ""
    return text


async def test_a_client_that_does_not_read_holds_up_nobody(bench: Bench, provider: PacedProvider) -> None:
    provider.say(ROLE, ONE)
    slow = await bench.streaming.open(CALLER, a_request())
    following = asyncio.create_task(bench.streaming.open(CALLER, a_request()))
    provider.say(TWO, STOP, None)

    assert await heard(await following) == "one two"
    assert await heard(slow) == "one two"
    rows = list(bench.store.ledger.values())
    assert sorted((row.cost_nanousd, row.saved_nanousd, row.cache) for row in rows) == [
        (0, COST, "coalesced"),
        (COST, 0, "none"),
    ]


def flows() -> int:
    """How many streams are in memory, those included that nothing but the collector would take out of it."""
    return sum(isinstance(each, Flow | Flight) for each in gc.get_objects())


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("followed", [False, True])
async def test_a_stream_that_is_over_leaves_nothing_to_the_collector(
    bench: Bench, provider: PacedProvider, *, followed: bool
) -> None:
    before = flows()
    provider.say(ROLE, ONE)
    stream = await bench.streaming.open(CALLER, a_request())
    following = asyncio.create_task(bench.streaming.open(CALLER, a_request())) if followed else None
    provider.say(TWO, STOP, None)
    if following is not None:
        assert await heard(await following) == "one two"
    assert await heard(stream) == "one two"

    del stream, following

    assert await eventually(lambda: flows() == before)


@pytest.mark.usefixtures("no_collector")
async def test_a_stream_that_is_left_leaves_nothing_to_the_collector(bench: Bench, provider: PacedProvider) -> None:
    before = flows()
    provider.say(ROLE, ONE)
    stream = await bench.streaming.open(CALLER, a_request())
    await stream.events.aclose()

    del stream

    assert await eventually(lambda: flows() == before)


async def test_events_given_together_are_parted_for_who_wants_them_one_by_one(
    bench: Bench, provider: PacedProvider
) -> None:
    provider.say(ROLE)
    first = await bench.streaming.open(CALLER, a_request(together=True))
    following = asyncio.create_task(bench.streaming.open(CALLER, a_request()))
    provider.say(replace(ONE, data=TOGETHER.join((ONE.data, TWO.data)), text="one two"), STOP, None)
    whole = asyncio.create_task(anext(first.events))

    events: list[bytes] = []
    assert await heard(await following, events) == "one two"
    assert [ONE.data, TWO.data] == events[1:3]
    await whole
    await first.events.aclose()


async def test_a_follower_that_got_no_words_asks_when_the_first_one_fails(
    bench: Bench, provider: PacedProvider
) -> None:
    provider.say(ROLE)
    first = await bench.streaming.open(CALLER, a_request())
    broken = asyncio.create_task(heard(first))
    following = asyncio.create_task(bench.streaming.open(CALLER, a_request()))
    await eventually(lambda: first.released is not None and provider.says.empty())
    provider.say(ProviderFailure("gone"), ROLE, TWO, STOP, None)

    late = await following
    assert await heard(late) == "two"
    with pytest.raises(StreamBroken):
        await broken
    assert len(provider.asked) == 2
    assert late.ended.usage.completion > 0  # what it asked for itself, it knows the price of


async def test_a_tool_call_after_words_goes_to_who_has_them_and_nobody_else_waits_for_it(
    bench: Bench, provider: PacedProvider
) -> None:
    provider.say(ROLE, ONE)
    first = await bench.streaming.open(CALLER, a_request())
    begun = await bench.streaming.open(CALLER, a_request())
    whole = asyncio.create_task(bench.completion.complete(CALLER, a_request()))
    provider.say(CALL, STOP, None)

    events: list[bytes] = []
    await asyncio.gather(heard(first), heard(begun, events))

    assert CALL.data in events
    alone = await whole
    assert (alone.cache, alone.text) == ("none", "hello")


@pytest.mark.parametrize("counted", [True, False])
async def test_who_waits_for_the_whole_of_a_stream_that_is_cut_short_gets_it_and_it_is_not_kept(
    bench: Bench, provider: PacedProvider, *, counted: bool
) -> None:
    provider.say(ROLE, ONE)
    first = await bench.streaming.open(CALLER, a_request())
    whole = asyncio.create_task(bench.completion.complete(CALLER, a_request()))
    reading = asyncio.create_task(heard(first))
    end = replace(STOP, finish_reason="length", usage=STOP.usage if counted else None)
    provider.say(TWO, end, None)

    answer = await whole
    assert (await reading, answer.text, answer.finish_reason) == ("one two", "one two", "length")
    assert (answer.cache, "usage" in answer.wire) == ("coalesced", counted)
    provider.say(ROLE, ONE, STOP, None)
    later = await bench.streaming.open(CALLER, a_request())
    assert (later.cache, await heard(later)) == ("none", "one ")


async def test_a_stream_that_follows_says_who_answers(bench: Bench, provider: PacedProvider) -> None:
    failing = ScriptedProvider("first", script=deque([ProviderFailure("down")]))
    bench = Bench(first=failing, second=replace(provider, name="second"))
    provider.say(ROLE, ONE)
    first = await bench.streaming.open(CALLER, a_request())
    following = await bench.streaming.open(CALLER, a_request())
    provider.say(STOP, None)
    await asyncio.gather(heard(first), heard(following))

    assert (following.provider, following.model) == ("second", "second/m")
    assert following.route == "reason=default, second/m=followed"
    rows = {row.cache: (row.provider, row.route_reason) for row in bench.store.ledger.values()}
    assert rows == {"none": ("second", "fallback"), "coalesced": ("second", "fallback")}


async def test_thoughts_are_heard_as_they_come_and_the_whole_answer_is_kept_with_them(
    bench: Bench, provider: PacedProvider
) -> None:
    provider.say(ROLE, THOUGHT)
    first = await bench.streaming.open(CALLER, a_request())
    reading = asyncio.create_task(heard(first))
    provider.say(MORE)
    whole = asyncio.create_task(bench.completion.complete(CALLER, a_request()))
    begun = await bench.streaming.open(CALLER, a_request())
    thoughts = ""
    while thoughts != "Hm, two?":
        delta = decode_object(await anext(begun.events))["choices"][0]["delta"]
        thoughts += delta.get("reasoning_content") or ""
    provider.say(TWO, STOP, None)

    assert [await reading, await heard(begun), (await whole).text] == ["two", "two", "two"]
    for answer in (await whole, await bench.completion.complete(CALLER, a_request())):
        assert answer.wire["choices"][0]["message"]["reasoning_content"] == "Hm, two?"
    again = await bench.streaming.open(CALLER, a_request())
    deltas = [event["choices"][0]["delta"] async for event in events_of(again) if event["choices"]]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Hm, two?"
    assert len(provider.asked) == 1


async def test_with_tools_on_offer_thoughts_are_not_followed_before_words_for_a_call_may_come_of_them(
    bench: Bench, provider: PacedProvider
) -> None:
    asked = a_request(tools=(tool("f", "", {"type": "object"}),))
    provider.say(ROLE, THOUGHT)
    first = await bench.streaming.open(CALLER, asked)
    reading = asyncio.create_task(heard(first))
    other = asyncio.create_task(bench.streaming.open(CALLER, asked))
    await eventually(provider.says.empty)
    provider.say(CALL, STOP, None)
    await reading
    provider.say(ROLE, ONE, STOP, None)

    assert await heard(await other) == "one "
    assert len(provider.asked) == 2


async def test_log_probabilities_and_further_choices_are_told_to_who_comes_later(
    bench: Bench, provider: PacedProvider
) -> None:
    provider.say(ROLE, likely(0, "a "), likely(1, "b "))
    first = await bench.streaming.open(CALLER, a_request())
    reading = asyncio.create_task(heard(first))
    await eventually(provider.says.empty)
    begun = await bench.streaming.open(CALLER, a_request())
    provider.say(likely(0, "c"), ending(1), STOP, None)

    events = [event async for event in events_of(begun)]
    for index, text in enumerate(["a c", "b "]):
        choices = [each for event in events for each in event["choices"] if each["index"] == index]
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == text
        tokens = [each["token"] for choice in choices for each in (choice.get("logprobs") or {}).get("content", ())]
        assert "".join(tokens) == text
    await reading
    kept = await bench.completion.complete(CALLER, a_request())
    assert [each["message"]["content"] for each in kept.wire["choices"]] == ["a c", "b "]
    assert [len(each["logprobs"]["content"]) for each in kept.wire["choices"]] == [2, 1]
    assert len(provider.asked) == 1


async def test_leaving_in_the_middle_of_a_read_waits_for_those_who_depend_on_it(
    bench: Bench, provider: PacedProvider
) -> None:
    provider.say(ROLE, ONE)
    first = await bench.streaming.open(CALLER, a_request())
    events: list[bytes] = []
    reading = asyncio.create_task(heard(first, events))
    await eventually(lambda: len(events) == 2)
    begun = await bench.streaming.open(CALLER, a_request())
    assert first.released is not None
    released = asyncio.create_task(first.released())  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not released.done()

    provider.say(TWO)
    await released
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    provider.say(STOP, None)

    assert await heard(begun) == "one two"
    assert {row.outcome for row in bench.store.ledger.values()} == {"ok"}


async def test_a_listener_that_is_cancelled_in_the_middle_of_a_read_breaks_off_nobody(
    bench: Bench, provider: PacedProvider
) -> None:
    words: list[str] = []
    provider.say(ROLE, ONE)
    listening = asyncio.create_task(Listening(streaming=bench.streaming).complete(CALLER, a_request(), words.append))
    await eventually(lambda: words == ["one "])  # and reads on: the provider is silent
    begun = await bench.streaming.open(CALLER, a_request())
    assert "one " in (await anext(begun.events)).decode()

    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening  # at once, though nothing has come since
    provider.say(TWO, STOP, None)

    assert await heard(begun) == "two"
    assert words == ["one "]
    await eventually(lambda: len(bench.store.ledger) == 2)
    assert {row.outcome for row in bench.store.ledger.values()} == {"ok"}


async def test_a_listener_that_is_cancelled_while_nobody_follows_ends_the_providers_stream(
    bench: Bench, provider: PacedProvider
) -> None:
    words: list[str] = []
    provider.say(ROLE, ONE)
    listening = asyncio.create_task(Listening(streaming=bench.streaming).complete(CALLER, a_request(), words.append))
    await eventually(lambda: words == ["one "])

    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening

    await eventually(lambda: bench.store.ledger)
    assert [(row.outcome, row.usage.completion) for row in bench.store.ledger.values()] == [("aborted", 1)]
