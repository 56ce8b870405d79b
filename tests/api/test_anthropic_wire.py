"""The official `anthropic` SDK: one suite against the upstream directly and against us, with the same shapes."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.waiting import eventually

from cognitionos.platform.config import Settings

MODEL = "claude-haiku-4-5"
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
BERN = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
ROME = {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Rome"}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
USAGE = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50, "output_tokens": 7}


@dataclass
class Side:
    """One way to the model: `direct` or `ours`."""

    name: str
    client: AsyncAnthropic


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, "messages"))
    return made


@pytest.fixture(scope="module")
def environment(anthropic_only: dict[str, str]) -> dict[str, str]:
    return anthropic_only


@pytest.fixture(params=["direct", "ours"])
def side(
    request: pytest.FixtureRequest, claude: AnthropicUpstream, url: str, caller: Caller, run: Run
) -> Iterator[Side]:
    claude.reset()
    base_url, key = (claude.base_url, claude.api_key) if request.param == "direct" else (url, caller.key)
    client = AsyncAnthropic(base_url=base_url, api_key=key, max_retries=0)
    yield Side(request.param, client)
    run(client.close())


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": text}]} | fields


async def test_a_plain_call_is_answered_with_text_and_usage(side: Side, claude: AnthropicUpstream) -> None:
    claude.then(Tell(text="It is 42.", usage=USAGE))

    answer = await side.client.messages.create(
        **asking(
            f"What is it? ({side.name})",
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            stop_sequences=["END"],
            metadata={"user_id": "u-1"},
            service_tier="auto",
        )
    )

    assert [(block.type, block.text) for block in answer.content] == [("text", "It is 42.")]
    assert (answer.stop_reason, answer.role, answer.model) == ("end_turn", "assistant", MODEL)
    assert answer.usage.model_dump(exclude_none=True) == USAGE
    sent = claude.calls[0]
    assert sent["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert (sent["stop_sequences"], sent["metadata"], sent["max_tokens"]) == (["END"], {"user_id": "u-1"}, 50)


async def test_events_spread_over_many_lines_are_read_whole(side: Side, claude: AnthropicUpstream) -> None:
    claude.then(Tell(content=[{"type": "text", "text": "one\n\ntwo"}, BERN], usage=USAGE, spread=True))

    asked = asking(f"Spread it ({side.name})", tools=[WEATHER])
    async with side.client.messages.stream(**asked) as stream:
        answer = await stream.get_final_message()

    assert [block.type for block in answer.content] == ["text", "tool_use"]
    assert (answer.content[0].text, answer.content[1].input) == ("one\n\ntwo", {"city": "Bern"})
    assert answer.usage.output_tokens == 7


async def test_a_stream_has_anthropics_events_in_their_order(side: Side, claude: AnthropicUpstream) -> None:
    claude.then(Tell(text="one two", usage=USAGE))

    stream = await side.client.messages.create(**asking(f"Count ({side.name})"), stream=True)
    events = [event async for event in stream]

    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0].message.usage.input_tokens == 10
    assert events[0].message.usage.cache_read_input_tokens == 100
    assert events[-2].usage.output_tokens == 7
    assert events[-2].delta.stop_reason == "end_turn"


async def test_the_sdks_own_stream_puts_parallel_calls_together(side: Side, claude: AnthropicUpstream) -> None:
    claude.then(Tell(content=[THOUGHT, {"type": "text", "text": "Let me look."}, BERN, ROME]))

    async with side.client.messages.stream(**asking(f"Weather? ({side.name})", tools=[WEATHER])) as stream:
        message = await stream.get_final_message()

    thought, text, bern, rome = message.content
    assert (thought.type, thought.signature, text.text) == ("thinking", "c2ln", "Let me look.")
    assert [(call.id, call.input) for call in (bern, rome)] == [("toolu_1", BERN["input"]), ("toolu_2", ROME["input"])]
    assert message.stop_reason == "tool_use"


async def test_tool_calls_thinking_and_results_go_back_and_forth(side: Side, claude: AnthropicUpstream) -> None:
    claude.then(Tell(content=[THOUGHT, BERN, ROME]), Tell(text="Sunny."))
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    question = {"role": "user", "content": f"Weather? ({side.name})"}

    asked = await side.client.messages.create(
        model=MODEL, max_tokens=2000, messages=[question], tools=[WEATHER], thinking=thinking
    )
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no such city", "is_error": True},
    ]
    said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in asked.content]}
    answer = await side.client.messages.create(
        model=MODEL,
        max_tokens=2000,
        messages=[question, said, {"role": "user", "content": results}],
        tools=[WEATHER],
        thinking=thinking,
    )

    assert answer.content[0].text == "Sunny."
    assert claude.calls[1]["messages"][1]["content"] == [THOUGHT, BERN, ROME]
    assert claude.calls[1]["messages"][2]["content"] == results
    assert claude.calls[1]["thinking"] == thinking


async def test_images_formats_and_betas_reach_the_provider(side: Side, claude: AnthropicUpstream) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}, "additionalProperties": False}
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    claude.then(Tell(text='{"colour":"red"}'))

    await side.client.messages.create(
        model=MODEL,
        max_tokens=50,
        messages=[{"role": "user", "content": [image, {"type": "text", "text": side.name}]}],
        output_config=config,
        extra_headers={"anthropic-beta": "some-beta-2026-01-01"},
    )

    assert claude.calls[0]["messages"][0]["content"][0] == image
    assert claude.calls[0]["output_config"] == config
    assert claude.headers[0]["anthropic-beta"] == "some-beta-2026-01-01"


async def test_a_stop_sequence_is_named(side: Side, claude: AnthropicUpstream) -> None:
    tell = Tell(text="one", stop_reason="stop_sequence", stop_sequence="END")
    claude.then(tell, tell)

    answer = await side.client.messages.create(**asking(f"Stop ({side.name})", stop_sequences=["END"]))
    stream = await side.client.messages.create(**asking(f"Stop ({side.name})", stop_sequences=["END"]), stream=True)
    events = [event async for event in stream]

    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "END")
    assert events[-2].delta.stop_sequence == "END"


async def test_the_callers_version_decides_what_is_taken(side: Side) -> None:
    asked = asking(f"Version ({side.name})", extra_body={"temperature": 0.2})

    with pytest.raises(anthropic.BadRequestError, match="temperature: Extra inputs are not permitted"):
        await side.client.messages.create(**asked)
    answer = await side.client.messages.create(**asked, extra_headers={"anthropic-version": "2023-06-01"})

    assert answer.content[0].text == f"Hello from {MODEL}."


async def test_the_providers_refusal_is_a_bad_request_with_its_words(side: Side) -> None:
    with pytest.raises(anthropic.BadRequestError, match="refuse_me: Extra inputs are not permitted") as refused:
        await side.client.messages.create(**asking(side.name), extra_body={"refuse_me": 1})

    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"messages": []}, anthropic.BadRequestError),
        ({"messages": [{"role": "wizard", "content": "x"}]}, anthropic.BadRequestError),
        ({"max_tokens": -1}, anthropic.BadRequestError),
        ({"model": "no-such-model"}, anthropic.NotFoundError),
    ],
)
async def test_what_is_wrong_has_the_same_error(side: Side, changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        await side.client.messages.create(**asking(side.name) | changes)

    assert raised.value.body["type"] == "error"  # type: ignore[attr-defined]


async def test_a_bad_key_is_an_authentication_error(side: Side) -> None:
    with pytest.raises(anthropic.AuthenticationError) as refused:
        await side.client.with_options(api_key="cog_wrong").messages.create(**asking("x"))

    assert refused.value.type == "authentication_error"


async def test_an_error_in_a_stream_is_raised(side: Side, claude: AnthropicUpstream) -> None:
    claude.then(Tell(text="one two three", error_after=4))

    stream = await side.client.messages.create(**asking(f"Break ({side.name})"), stream=True)

    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        [event async for event in stream]


async def test_identical_streams_of_a_model_that_thinks_share_one_call(
    url: str, caller: Caller, claude: AnthropicUpstream
) -> None:
    claude.reset()
    gate = asyncio.Event()
    claude.then(Tell(content=[THOUGHT, {"type": "text", "text": "one two"}], gates={5: gate}))
    thoughts = ["", ""]

    async def message(client: AsyncAnthropic, number: int) -> Any:
        asked: Any = {"model": f"anthropic/{MODEL}", "messages": [{"role": "user", "content": "think"}]}
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        async with client.messages.stream(**asked, max_tokens=2000, thinking=thinking) as stream:
            async for event in stream:
                if event.type == "thinking":
                    thoughts[number] += event.thinking
            return await stream.get_final_message()

    async with AsyncAnthropic(base_url=url, api_key=caller.key, max_retries=0) as client:
        leader = asyncio.create_task(message(client, 0))
        await eventually(lambda: thoughts[0] == "Hm.")
        follower = asyncio.create_task(message(client, 1))
        await eventually(lambda: thoughts[1] == "Hm.")
        gate.set()
        first, second = await asyncio.gather(leader, follower)

    assert len(claude.calls) == 1
    assert first.content == second.content
    assert (first.content[0].signature, first.content[1].text) == ("c2ln", "one two")
