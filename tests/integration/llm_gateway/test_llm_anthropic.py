"""OpenAI's shapes against a strict Messages API: what is said in other words, what is refused, what comes back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.anthropic_upstream import AnthropicUpstream, Tell, running_anthropic
from tests.builders_llm_gateway import a_request
from tests.conftest import Run

from cognitionos.kernel.clock import utc_now
from cognitionos.llm_gateway.domain.chat import (
    ChatRequest,
    ToolCall,
    Usage,
    assistant,
    json_schema,
    system,
    tool,
    tool_result,
    user,
)
from cognitionos.llm_gateway.domain.errors import ModelMissing, ProviderFailure, RequestRefused
from cognitionos.llm_gateway.infrastructure.anthropic_provider import AnthropicProvider
from cognitionos.platform.http import HttpClient

CLAUDE = "claude-haiku-4-5"
WEATHER = tool("weather", "The weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}})
BERN = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
ROME = {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Rome"}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 50,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 3},
}


@pytest.fixture(scope="module")
def http(run: Run) -> Iterator[HttpClient]:
    client = HttpClient()
    run(client.open())
    yield client
    run(client.close())


@pytest.fixture(scope="module")
def running(run: Run) -> Iterator[AnthropicUpstream]:
    context = running_anthropic()
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture
def upstream(running: AnthropicUpstream) -> AnthropicUpstream:
    running.reset()
    return running


@pytest.fixture
def claude(http: HttpClient, upstream: AnthropicUpstream) -> AnthropicProvider:
    return AnthropicProvider(
        http,
        name="anthropic",
        api_key=upstream.api_key,
        base_url=upstream.base_url,
        now=utc_now,
        longest_answer={CLAUDE: 64_000, "small": 2048}.get,
    )


async def sent(claude: AnthropicProvider, upstream: AnthropicUpstream, request: ChatRequest) -> dict[str, Any]:
    await claude.chat(request, model=CLAUDE)
    return upstream.calls[-1]


async def test_a_conversation_with_tools_is_told_in_turns(
    claude: AnthropicProvider, upstream: AnthropicUpstream
) -> None:
    calls = [ToolCall(id=each["id"], name="weather", arguments=json.dumps(each["input"])) for each in (BERN, ROME)]
    messages = (
        system("Be brief."),
        user("Weather?"),
        assistant("", tool_calls=calls),
        tool_result("toolu_1", "sun"),
        tool_result("toolu_2", "rain"),
        user("And tomorrow?"),
    )

    body = await sent(claude, upstream, a_request(messages=messages, tools=(WEATHER,), max_tokens=9))

    assert body["system"] == [{"type": "text", "text": "Be brief."}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [BERN, ROME]
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "tool_result", "text"]
    assert body["tools"] == [
        {
            "name": "weather",
            "description": "The weather of a city",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    ]
    assert body["max_tokens"] == 9


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", True, {"type": "none"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "weather"}}, None, {"type": "tool", "name": "weather"}),
    ],
)
async def test_the_choice_of_tools_is_said_in_anthropics_words(
    claude: AnthropicProvider,
    upstream: AnthropicUpstream,
    choice: Any,
    parallel: bool | None,  # noqa: FBT001 - a column of the table
    expected: dict[str, Any],
) -> None:
    request = a_request(tools=(WEATHER,), tool_choice=choice, extra={"parallel_tool_calls": parallel})

    assert (await sent(claude, upstream, request))["tool_choice"] == expected


async def test_images_and_documents_are_sent_inline_or_by_address(
    claude: AnthropicProvider, upstream: AnthropicUpstream
) -> None:
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    images = user("What?", images=["data:image/png;base64,iVBORw0KGgo=", "https://example.com/a.png"])
    message = {**images, "content": [*images["content"], pdf]}

    body = await sent(claude, upstream, a_request(messages=(message,)))

    _, inline, by_address, document = body["messages"][0]["content"]
    assert inline["source"] == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert by_address["source"] == {"type": "url", "url": "https://example.com/a.png"}
    assert document["source"] == {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert document["title"] == "a.pdf"


async def test_sampling_stops_users_and_effort_have_their_own_names_and_other_fields_pass(
    claude: AnthropicProvider, upstream: AnthropicUpstream
) -> None:
    extra = {"stop": "END", "user": "u-1", "top_p": 0.9, "top_k": 5, "reasoning_effort": "low", "n": 1, "seed": None}

    body = await sent(claude, upstream, a_request(temperature=0.5, extra=extra | {"service_tier": "default"}))

    assert body["stop_sequences"] == ["END"]
    assert body["metadata"] == {"user_id": "u-1"}
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.5, 0.9, 5)
    assert body["output_config"] == {"effort": "low"}
    assert body["service_tier"] == "standard_only"
    assert "seed" not in body


async def test_without_a_limit_the_models_own_is_asked_for_within_reason(
    claude: AnthropicProvider, upstream: AnthropicUpstream
) -> None:
    for model in (CLAUDE, "small", "unheard-of"):
        await claude.chat(a_request(), model=model)

    assert [body["max_tokens"] for body in upstream.calls] == [16_384, 2048, 4096]


async def test_json_of_a_schema_is_asked_for_with_the_schema_closed(
    claude: AnthropicProvider, upstream: AnthropicUpstream
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2},
            "age": {"type": ["integer", "null"], "minimum": 0},
            "kind": {"type": ["string", "null"], "enum": ["a", None]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
        },
        "required": ["name"],
        "$defs": {"tag": {"oneOf": [{"type": "object", "properties": {}}, {"type": "string"}]}},
    }
    upstream.then(Tell(text='{"name":"Ada"}'))

    answer = await claude.chat(a_request(response_format=json_schema("person", schema)), model=CLAUDE)

    asked = upstream.calls[0]["output_config"]["format"]
    assert asked["type"] == "json_schema"
    assert asked["schema"]["additionalProperties"] is False
    properties = asked["schema"]["properties"]
    assert properties["name"] == {"type": "string", "description": '{"minLength":2}'}
    assert [each["type"] for each in properties["age"]["anyOf"]] == ["integer", "null"]
    assert properties["kind"] == {"enum": ["a", None]}
    assert asked["schema"]["$defs"]["tag"]["anyOf"][0]["additionalProperties"] is False
    assert answer.wire["choices"][0]["message"]["content"] == '{"name":"Ada"}'


AN_OPEN_SCHEMA = json_schema("x", {"type": "object", "additionalProperties": {"type": "string"}})
AUDIO = {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}
AN_IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a", "detail": "low"}}
DETAILED = {"role": "user", "content": [AN_IMAGE]}
BY_ID = {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}
MALFORMED = assistant("", tool_calls=[ToolCall(id="c", name="weather", arguments='{"city":')])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"extra": {"n": 2}}, "n"),
        ({"extra": {"seed": 7}}, "seed"),
        ({"extra": {"logprobs": True}}, "logprobs"),
        ({"extra": {"frequency_penalty": 0.5}}, "frequency_penalty"),
        ({"messages": ({"role": "user", "content": "x", "name": "Ada"},)}, "messages.0.name"),
        (
            {"messages": ({"role": "assistant", "content": "", "function_call": {"name": "f"}},)},
            "messages.0.function_call",
        ),
        ({"extra": {"store": True}}, "store"),
        ({"extra": {"metadata": {"topic": "x"}}}, "metadata"),
        ({"extra": {"service_tier": "flex"}}, "service_tier"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": AN_OPEN_SCHEMA}, "response_format.json_schema.schema"),
        ({"tools": (WEATHER,), "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"messages": (AUDIO,)}, "messages.0.content.0.type"),
        ({"messages": (DETAILED,)}, "messages.0.content.0.image_url.detail"),
        ({"messages": (BY_ID,)}, "messages.0.content.0.file"),
        ({"messages": (user("x"), MALFORMED)}, "messages.1.tool_calls.0.function.arguments"),
        ({"messages": (system("only"),)}, "messages"),
        ({"messages": ({"role": "function", "name": "f", "content": "x"},)}, "messages.0.role"),
    ],
)
async def test_what_anthropic_has_nothing_for_is_refused_by_name_and_not_dropped(
    claude: AnthropicProvider, upstream: AnthropicUpstream, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        await claude.chat(a_request(**changes), model=CLAUDE)

    assert list(refused.value.fields) == [field]
    assert field in refused.value.detail
    assert upstream.calls == []


async def test_a_field_nobody_knows_is_refused_in_anthropics_words(claude: AnthropicProvider) -> None:
    with pytest.raises(RequestRefused, match="refuse_me: Extra inputs are not permitted") as refused:
        await claude.chat(a_request(extra={"refuse_me": 1}), model=CLAUDE)

    assert list(refused.value.fields) == ["refuse_me"]


async def test_usage_counts_the_cache_into_the_prompt(claude: AnthropicProvider, upstream: AnthropicUpstream) -> None:
    upstream.then(Tell(text="x", usage=USAGE), Tell(text="x", usage=USAGE))
    expected = Usage(prompt=160, completion=7, cached=100, cache_write=50, reasoning=3)

    answer = await claude.chat(a_request(), model=CLAUDE)
    chunks = [chunk async for chunk in claude.stream(a_request(), model=CLAUDE)]

    assert answer.usage == expected
    assert [chunk.usage for chunk in chunks if chunk.usage and not chunk.usage.estimated] == [expected]
    assert answer.wire["usage"]["prompt_tokens_details"] == {"cached_tokens": 100}


async def test_thinking_and_parallel_calls_come_back_whole_and_streamed_and_may_be_sent_again(
    claude: AnthropicProvider, upstream: AnthropicUpstream
) -> None:
    said = [THOUGHT, {"type": "text", "text": "Let me look."}, BERN, ROME]
    upstream.then(Tell(content=said), Tell(content=said))
    request = a_request("Weather?", tools=(WEATHER,))

    message = (await claude.chat(request, model=CLAUDE)).wire["choices"][0]["message"]
    deltas = [
        json.loads(chunk.data)["choices"][0]["delta"]
        async for chunk in claude.stream(request, model=CLAUDE)
        if not chunk.bare_usage
    ]

    assert (message["content"], message["reasoning_content"]) == ("Let me look.", "Hm.")
    assert [json.loads(call["function"]["arguments"])["city"] for call in message["tool_calls"]] == ["Bern", "Rome"]
    assert "".join(delta.get("content") or "" for delta in deltas) == "Let me look."
    assert [delta["thinking_blocks"] for delta in deltas if "thinking_blocks" in delta] == [[{"index": 0} | THOUGHT]]
    pieces = [call for delta in deltas for call in delta.get("tool_calls", ())]
    arguments = ["".join(each["function"]["arguments"] for each in pieces if each["index"] == at) for at in (0, 1)]
    assert [json.loads(each)["city"] for each in arguments] == ["Bern", "Rome"]
    results = (tool_result("toolu_1", "sun"), tool_result("toolu_2", "rain"))
    await claude.chat(a_request(messages=(user("Weather?"), message, *results), tools=(WEATHER,)), model=CLAUDE)
    assert upstream.calls[-1]["messages"][1]["content"] == said


@pytest.mark.parametrize(
    ("stop_reason", "expected"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("refusal", "content_filter"), ("stop_sequence", "stop")],
)
async def test_the_end_has_openais_name(
    claude: AnthropicProvider, upstream: AnthropicUpstream, stop_reason: str, expected: str
) -> None:
    upstream.then(Tell(text="x", stop_reason=stop_reason))

    answer = await claude.chat(a_request(), model=CLAUDE)

    assert answer.wire["choices"][0]["finish_reason"] == expected


@pytest.mark.parametrize(
    ("tell", "kind", "again", "retry_after_s"),
    [
        (Tell(status=529, headers={"retry-after": "3"}), ProviderFailure, True, 3.0),
        (Tell(status=429, headers={"retry-after": "7"}), ProviderFailure, True, 7.0),
        (Tell(status=500), ProviderFailure, True, None),
        (Tell(status=402, kind="billing_error"), ProviderFailure, False, None),
        (Tell(status=403), ProviderFailure, False, None),
        (Tell(status=404), ModelMissing, False, None),
        (Tell(status=413), RequestRefused, None, None),
    ],
)
async def test_a_status_says_whether_to_try_again(
    claude: AnthropicProvider,
    upstream: AnthropicUpstream,
    tell: Tell,
    kind: type[Exception],
    again: bool | None,  # noqa: FBT001 - a column of the table
    retry_after_s: float | None,
) -> None:
    upstream.then(tell)

    with pytest.raises(kind) as raised:
        await claude.chat(a_request(), model=CLAUDE)

    assert getattr(raised.value, "again", None) is again
    if isinstance(raised.value, ProviderFailure):
        assert raised.value.retry_after_s == retry_after_s


@pytest.mark.parametrize("tell", [Tell(text="one two", cut_after=4), Tell(text="one two", error_after=4)])
async def test_a_stream_that_does_not_end_is_a_failure(
    claude: AnthropicProvider, upstream: AnthropicUpstream, tell: Tell
) -> None:
    upstream.then(tell)

    with pytest.raises(ProviderFailure, match=r"no answer|cut|Overloaded"):
        [chunk async for chunk in claude.stream(a_request(), model=CLAUDE)]


async def test_models_are_listed_and_embeddings_are_not_to_be_had(claude: AnthropicProvider) -> None:
    assert await claude.models() == ["claude-haiku-4-5"]
    with pytest.raises(ModelMissing):
        await claude.embed(["x"], model=CLAUDE, extra={})
