"""The official `openai` SDK's responses against us: stateless, over any provider of chat."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream

from cognitionos.platform.config import Settings

MODEL = "gpt-4o-mini"
CALLS = [
    {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
    for city in ("Bern", "Rome")
]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "name": "weather", "description": "d", "parameters": PARAMETERS, "strict": True}
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 40},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


class Person(BaseModel):
    name: str


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, "responses"))
    return made


@pytest.fixture
def client(upstream: Upstream, url: str, caller: Caller, run: Run) -> Iterator[AsyncOpenAI]:
    upstream.reset()
    made = AsyncOpenAI(base_url=f"{url}/v1", api_key=caller.key, max_retries=0)
    yield made
    run(made.close())


async def test_text_is_answered_with_text_and_usage(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.then(Say(text="It is 42.", usage=USAGE))

    answer = await client.responses.create(
        model=MODEL,
        instructions="Be brief.",
        input="What is it?",
        max_output_tokens=50,
        reasoning={"effort": "low"},
        metadata={"topic": "numbers"},
        store=False,
    )

    assert (answer.output_text, answer.status, answer.model) == ("It is 42.", "completed", MODEL)
    assert (answer.instructions, answer.metadata) == ("Be brief.", {"topic": "numbers"})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (100, 10, 110)
    assert answer.usage.input_tokens_details.cached_tokens == 40
    assert answer.usage.output_tokens_details.reasoning_tokens == 4
    sent = upstream.calls[0]
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert (sent["max_tokens"], sent["reasoning_effort"]) == (50, "low")
    assert sent.keys() == {"model", "messages", "max_tokens", "reasoning_effort"}


async def test_a_stream_has_openais_events_in_their_order(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.then(Say(text="one two", usage=USAGE))

    stream = await client.responses.create(model=MODEL, input="Count", stream=True)
    events = [event async for event in stream]

    assert [event.type.removeprefix("response.") for event in events] == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == "one two"
    assert events[-1].response.usage.total_tokens == 110


async def test_parallel_calls_and_their_outputs_go_back_and_forth(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.then(Say(text="Let me look.", tool_calls=CALLS), Say(text="Sunny."))
    question: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}]

    asked = await client.responses.create(model=MODEL, input=question, tools=[WEATHER], tool_choice="required")
    outputs = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "sun"}
        for item in asked.output
        if item.type == "function_call"
    ]
    items = [item.model_dump(exclude_none=True) for item in asked.output]
    answer = await client.responses.create(model=MODEL, input=[*question, *items, *outputs], tools=[WEATHER])

    assert [item.type for item in asked.output] == ["message", "function_call", "function_call"]
    assert answer.output_text == "Sunny."
    first, second = upstream.calls
    assert first["tools"][0]["function"]["parameters"] == PARAMETERS
    assert first["tools"][0]["function"]["strict"] is True
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool", "tool"]
    assert second["messages"][1] == {"role": "assistant", "content": "Let me look.", "tool_calls": CALLS}


async def test_the_sdks_own_stream_puts_calls_together(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.then(Say(tool_calls=CALLS))

    async with client.responses.stream(model=MODEL, input="Weather in two?", tools=[WEATHER]) as stream:
        kinds = [event.type async for event in stream]
        answer = await stream.get_final_response()

    assert [json.loads(item.arguments)["city"] for item in answer.output if item.type == "function_call"] == [
        "Bern",
        "Rome",
    ]
    assert kinds.count("response.function_call_arguments.done") == 2
    assert kinds[-1] == "response.completed"


async def test_json_of_a_schema_is_asked_for_and_parsed(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.then(Say(text='{"name":"Ada"}'))

    answer = await client.responses.parse(model=MODEL, input="Who?", text_format=Person)

    assert answer.output_parsed == Person(name="Ada")
    asked = upstream.calls[0]["response_format"]["json_schema"]
    assert (asked["name"], asked["strict"]) == ("Person", True)
    assert asked["schema"]["required"] == ["name"]


async def test_images_and_files_are_sent_inline(client: AsyncOpenAI, upstream: Upstream) -> None:
    parts: Any = [
        {"type": "input_text", "text": "What?"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
    ]

    await client.responses.create(model=MODEL, input=[{"role": "user", "content": parts}])

    text, image, file = upstream.calls[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "What?"}
    assert image["image_url"] == {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}
    assert file["file"]["filename"] == "a.pdf"


async def test_an_answer_cut_short_is_incomplete(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.then(Say(text="one", finish_reason="length"), Say(text="one", finish_reason="length"))

    whole = await client.responses.create(model=MODEL, input="Cut", max_output_tokens=1)
    stream = await client.responses.create(model=MODEL, input="Cut it", max_output_tokens=1, stream=True)
    events = [event async for event in stream]

    assert (whole.status, whole.incomplete_details and whole.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert events[-1].type == "response.incomplete"


async def test_what_a_coding_agent_sends_with_each_request_is_taken(client: AsyncOpenAI, upstream: Upstream) -> None:
    asked: dict[str, Any] = {
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "parallel_tool_calls": False,
        "prompt_cache_key": f"session {uuid4()}",
        "truncation": "auto",
    }

    answer = await client.responses.create(model=MODEL, input="x", **asked)

    assert (answer.status, answer.truncation, answer.reasoning and answer.reasoning.summary) == (
        "completed",
        "auto",
        "auto",
    )
    assert (upstream.calls[0]["reasoning_effort"], upstream.calls[0]["parallel_tool_calls"]) == ("medium", False)
    assert not upstream.calls[0].keys() & {"reasoning", "truncation", "include", "store"}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"truncation": "middle"}, "truncation"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input.0.content.0"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input.0.role"),
        ({"input": []}, "input"),
    ],
)
async def test_what_needs_state_or_other_tools_is_refused_with_a_remedy(
    client: AsyncOpenAI, upstream: Upstream, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(**{"model": MODEL, "input": "x"} | changes)

    assert refused.value.param == param
    assert upstream.calls == []


async def test_a_provider_that_breaks_off_is_an_error_of_the_stream(client: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.then(Say(text="one two three four", cut_after=3))

    stream = await client.responses.create(model=MODEL, input="Break", stream=True)

    with pytest.raises(openai.APIError, match="stopped in the middle"):
        [event async for event in stream]


async def test_the_headers_say_who_answered_and_a_second_call_is_kept(url: str, caller: Caller) -> None:
    async with httpx.AsyncClient(base_url=url, headers=caller.headers) as client:
        asked = {"model": MODEL, "input": "Keep this"}
        first = await client.post("/v1/responses", json=asked | {"max_output_tokens": 7.0})
        again = await client.post("/v1/responses", json=asked | {"max_output_tokens": 7})

    assert (first.headers["x-cognitionos-cache"], again.headers["x-cognitionos-cache"]) == ("none", "exact")
    assert first.json()["output"][0]["content"] == again.json()["output"][0]["content"]
    assert first.json()["id"] != again.json()["id"]
