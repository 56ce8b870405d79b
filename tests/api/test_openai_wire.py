"""The official `openai` SDK: one suite against the upstream directly and against us, with the same shapes."""

from collections.abc import Iterator
from dataclasses import dataclass

import openai
import pytest
from openai import AsyncOpenAI
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import DIMENSIONS, Say, Upstream

from cognitionos.platform.config import Settings

MODEL = "gpt-4o-mini"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
CALL_2 = {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}


@dataclass
class Side:
    """One way to the model: `direct` or `ours`."""

    name: str
    client: AsyncOpenAI


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, "wire"))
    return made


@pytest.fixture(params=["direct", "ours"])
def side(request: pytest.FixtureRequest, upstream: Upstream, url: str, caller: Caller, run: Run) -> Iterator[Side]:
    upstream.reset()
    base_url, key = (upstream.base_url, upstream.api_key) if request.param == "direct" else (f"{url}/v1", caller.key)
    client = AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)
    yield Side(request.param, client)
    run(client.close())


async def test_a_plain_call_is_answered_with_text_and_usage(side: Side, upstream: Upstream) -> None:
    upstream.then(Say(text="It is 42."))

    answer = await side.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": f"What is it? ({side.name})"}],
        temperature=0.2,
        max_tokens=50,
    )

    assert answer.choices[0].message.content == "It is 42."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert upstream.calls[0]["temperature"] == 0.2
    assert upstream.calls[0]["max_tokens"] == 50


async def test_a_stream_comes_in_pieces_without_usage_unless_asked(side: Side, upstream: Upstream) -> None:
    upstream.then(Say(text="one two three"))

    stream = await side.client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"Count ({side.name})"}], stream=True
    )
    chunks = [chunk async for chunk in stream]

    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "one ", "two ", "three", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


async def test_a_stream_carries_usage_in_its_last_chunk_when_asked(side: Side, upstream: Upstream) -> None:
    upstream.then(Say(text="one two"))

    stream = await side.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": f"Count with usage ({side.name})"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_parallel_tool_calls_and_their_results_pass_through(side: Side, upstream: Upstream) -> None:
    upstream.then(Say(tool_calls=[CALL, CALL_2]), Say(text="Sunny."))
    messages: list = [{"role": "user", "content": f"Weather? ({side.name})"}]

    asked = await side.client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    calls = asked.choices[0].message.tool_calls or []
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in calls]
    messages += [asked.choices[0].message.model_dump(exclude_none=True), *results]
    answer = await side.client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])

    assert asked.choices[0].finish_reason == "tool_calls"
    assert [call.function.arguments for call in calls] == ['{"city":"Bern"}', '{"city":"Rome"}']
    assert answer.choices[0].message.content == "Sunny."


async def test_tool_calls_are_streamed(side: Side, upstream: Upstream) -> None:
    upstream.then(Say(tool_calls=[CALL]))

    stream = await side.client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"Stream ({side.name})"}], tools=[WEATHER], stream=True
    )
    deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]
    pieces = [piece.function for delta in deltas for piece in delta.tool_calls or [] if piece.function]

    assert pieces[0].name == "weather"
    assert "".join(piece.arguments or "" for piece in pieces) == '{"city":"Bern"}'


async def test_json_schema_images_and_unknown_fields_reach_the_provider(side: Side, upstream: Upstream) -> None:
    upstream.then(Say(text='{"colour":"red"}'))
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}

    await side.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": [{"type": "text", "text": f"Colour? {side.name}"}, image]}],
        response_format={"type": "json_schema", "json_schema": {"name": "colour", "schema": schema, "strict": True}},
        seed=7,
        extra_body={"top_k": 40},
    )

    sent = upstream.calls[0]
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert sent["messages"][0]["content"][1] == image
    assert (sent["seed"], sent["top_k"]) == (7, 40)


async def test_the_providers_refusal_is_a_bad_request_with_its_words(side: Side) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await side.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": side.name}], extra_body={"refuse_me": 1}
        )

    assert "refuse_me" in refused.value.message
    assert refused.value.param == "refuse_me"
    assert refused.value.type == "invalid_request_error"


async def test_a_bad_key_is_an_authentication_error(side: Side) -> None:
    client = side.client.with_options(api_key="cog_wrong")

    with pytest.raises(openai.AuthenticationError):
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}])


async def test_an_unknown_role_is_a_bad_request(side: Side) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await side.client.chat.completions.create(model=MODEL, messages=[{"role": "wizard", "content": "x"}])  # type: ignore[list-item, misc]

    assert refused.value.param is not None
    assert refused.value.param.endswith("role")


async def test_embeddings_come_back_whatever_the_encoding(side: Side) -> None:
    as_base64 = await side.client.embeddings.create(model="text-embedding-3-small", input=["a", "bcd"])
    as_floats = await side.client.embeddings.create(
        model="text-embedding-3-small", input=["a", "bcd"], encoding_format="float"
    )

    assert [len(each.embedding) for each in as_base64.data] == [DIMENSIONS] * 2
    assert [each.embedding for each in as_base64.data] == [each.embedding for each in as_floats.data]
    assert as_base64.usage.total_tokens > 0
    assert {as_base64.model, as_floats.model} == {"text-embedding-3-small"}


async def test_models_are_listed(side: Side) -> None:
    listed = [model.id async for model in side.client.models.list()]

    assert any(name.endswith(MODEL) for name in listed)
    assert (await side.client.models.retrieve(MODEL)).id.endswith(MODEL)


async def test_a_stream_cut_in_the_middle_is_an_error_not_an_end(side: Side, upstream: Upstream) -> None:
    upstream.then(Say(text="one two three four", cut_after=3))

    stream = await side.client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": f"Cut ({side.name})"}], stream=True
    )

    with pytest.raises((openai.APIError, Exception), match=r"incomplete|stopped in the middle|closed"):
        [chunk async for chunk in stream]
