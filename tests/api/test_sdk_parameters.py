"""Every parameter that the official SDKs know: sent through us it reaches the provider as it does directly, or it is
refused by name; nothing is dropped. The SDKs' own list decides: one more in a new version fails until it is here.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic.resources.messages import AsyncMessages
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.embeddings import AsyncEmbeddings
from openai.resources.responses import AsyncResponses
from pydantic import BaseModel
from tests.anthropic_upstream import Tell
from tests.api.sdk_bench import CLAUDE, GPT, Bench, Case, Door, running_bench
from tests.conftest import Run
from tests.shapes import shape
from tests.upstream import Say

from cognitionos.platform.config import Settings

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA}
TOOLS = [{"type": "function", "function": FUNCTION}]
CLAUDES_TOOLS = [{"name": "f", "description": "d", "input_schema": SCHEMA}]
NOT_SENT = {"self", "extra_headers", "extra_query", "extra_body", "timeout", "model", "messages", "input", "stream"}

CHAT: dict[str, dict[str, Any]] = {
    "audio": {"audio": {"voice": "alloy", "format": "mp3"}, "modalities": ["text", "audio"]},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "function_call": {"function_call": "none", "functions": [FUNCTION]},
    "functions": {"functions": [FUNCTION]},
    "logit_bias": {"logit_bias": {"50256": -100}},
    "logprobs": {"logprobs": True},
    "max_completion_tokens": {"max_completion_tokens": 40},
    "max_tokens": {"max_tokens": 40},
    "metadata": {"metadata": {"a": "b"}},
    "modalities": {"modalities": ["text"]},
    "moderation": {"moderation": {"model": "omni-moderation-latest"}},
    "n": {"n": 2},
    "parallel_tool_calls": {"parallel_tool_calls": False, "tools": TOOLS},
    "prediction": {"prediction": {"type": "content", "content": "x"}},
    "presence_penalty": {"presence_penalty": -0.5},
    "prompt_cache_key": {"prompt_cache_key": "k"},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "explicit"}},
    "prompt_cache_retention": {"prompt_cache_retention": "24h"},
    "reasoning_effort": {"reasoning_effort": "low"},
    "response_format": {"response_format": {"type": "json_object"}},
    "safety_identifier": {"safety_identifier": "s"},
    "seed": {"seed": 7},
    "service_tier": {"service_tier": "flex"},
    "stop": {"stop": ["x", "y"]},
    "store": {"store": True},
    "stream_options": {"stream_options": {"include_usage": True, "include_obfuscation": False}},
    "temperature": {"temperature": 0.0},
    "tool_choice": {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": TOOLS},
    "tools": {"tools": TOOLS},
    "top_logprobs": {"logprobs": True, "top_logprobs": 2},
    "top_p": {"top_p": 0.9},
    "user": {"user": "somebody"},
    "verbosity": {"verbosity": "low"},
    "web_search_options": {"web_search_options": {}},
}
MESSAGES: dict[str, dict[str, Any]] = {
    "cache_control": {"cache_control": {"type": "ephemeral"}},
    "container": {"container": "c"},
    "diagnostics": {"diagnostics": {"previous_message_id": "msg_1"}},
    "inference_geo": {"inference_geo": "us"},
    "max_tokens": {"max_tokens": 41},
    "metadata": {"metadata": {"user_id": "u"}},
    "output_config": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "service_tier": {"service_tier": "standard_only"},
    "speed": {"speed": "fast"},
    "stop_sequences": {"stop_sequences": ["x"]},
    "system": {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
    "thinking": {"thinking": {"type": "disabled"}},
    "tool_choice": {"tool_choice": {"type": "tool", "name": "f"}, "tools": CLAUDES_TOOLS},
    "tools": {"tools": CLAUDES_TOOLS},
    "user_profile_id": {"user_profile_id": "p"},
    "workspace_id": {"workspace_id": "w"},
}
RESPONSES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "background": ({"background": True}, None),
    "context_management": ({"context_management": [{"type": "compaction"}]}, None),
    "conversation": ({"conversation": "c"}, None),
    "include": ({"include": ["file_search_call.results"]}, None),
    "instructions": ({"instructions": "Be brief."}, {"messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "about instructions"}
    ]}),
    "max_output_tokens": ({"max_output_tokens": 40}, {"max_tokens": 40}),
    "max_tool_calls": ({"max_tool_calls": 2}, None),
    "metadata": ({"metadata": {"a": "b"}}, {}),
    "moderation": ({"moderation": {"model": "m"}}, {"moderation": {"model": "m"}}),
    "parallel_tool_calls": ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    "previous_response_id": ({"previous_response_id": "resp_1"}, None),
    "prompt": ({"prompt": {"id": "p"}}, None),
    "prompt_cache_key": ({"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
    "prompt_cache_options": (
        {"prompt_cache_options": {"mode": "explicit"}}, {"prompt_cache_options": {"mode": "explicit"}}
    ),
    "prompt_cache_retention": ({"prompt_cache_retention": "24h"}, {"prompt_cache_retention": "24h"}),
    "reasoning": ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
    "safety_identifier": ({"safety_identifier": "s"}, {"safety_identifier": "s"}),
    "service_tier": ({"service_tier": "flex"}, {"service_tier": "flex"}),
    "store": ({"store": True}, None),
    "stream_options": ({"stream_options": {"include_obfuscation": False}}, {}),
    "temperature": ({"temperature": 0.5}, {"temperature": 0.5}),
    "text": ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
    "tool_choice": (
        {"tool_choice": {"type": "function", "name": "f"}, "tools": [{"type": "function", "strict": None} | FUNCTION]},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": TOOLS},
    ),
    "tools": ({"tools": [{"type": "web_search"}]}, None),
    "top_logprobs": ({"top_logprobs": 2}, None),
    "top_p": ({"top_p": 0.9}, {"top_p": 0.9}),
    "truncation": ({"truncation": "auto"}, {}),
    "user": ({"user": "somebody"}, {"user": "somebody"}),
}  # fmt: skip
"""What is sent, and what the provider gets of it in the words of chat completions; None: refused."""
EMBEDDINGS: dict[str, dict[str, Any]] = {
    "dimensions": {"dimensions": 4},
    "encoding_format": {"encoding_format": "float"},
    "user": {"user": "somebody"},
}


@pytest.fixture(scope="module")
def bench(settings: Settings, run: Run) -> Iterator[Bench]:
    context = running_bench(settings)
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


def parameters(create: Any) -> set[str]:
    return set(inspect.signature(create).parameters) - NOT_SENT


def test_the_sdks_take_no_parameter_that_is_not_tried_here() -> None:
    assert parameters(AsyncCompletions.create) == CHAT.keys()
    assert parameters(AsyncMessages.create) == MESSAGES.keys()
    assert parameters(AsyncResponses.create) == RESPONSES.keys()
    assert parameters(AsyncEmbeddings.create) == EMBEDDINGS.keys()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_parameter_of_chats_reaches_the_provider_as_it_is(bench: Bench, *, streamed: bool) -> None:
    async def use(door: Door, name: str) -> Any:
        messages: Any = [{"role": "user", "content": f"{name} {streamed}"}]
        asked: Any = {"model": door.model or GPT, "messages": messages} | ({"stream": True} if streamed else {})
        answer: Any = await door.openai.chat.completions.create(**asked, **CHAT[name])
        return [each async for each in answer] if streamed else answer

    names = [name for name in CHAT if streamed or name != "stream_options"]
    direct = await each_of(names, bench, use, bench.direct())
    ours = await each_of(names, bench, use, bench.ours(f"openai/{GPT}"))

    assert {name: _plain(sent) for name, (_, sent) in ours.items()} == {
        name: _plain(sent) for name, (_, sent) in direct.items()
    }
    assert {name: shape(answer) for name, (answer, _) in ours.items()} == {
        name: shape(answer) for name, (answer, _) in direct.items()
    }


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_parameter_of_messages_reaches_the_provider_as_it_is(bench: Bench, *, streamed: bool) -> None:
    """Those that the stand-in refuses, as it does without their beta, are refused through us by the same status."""

    async def use(door: Door, name: str) -> Any:
        messages: Any = [{"role": "user", "content": f"{name} {streamed}"}]
        asked: Any = {"model": door.model or CLAUDE, "max_tokens": 40, "messages": messages, "stream": streamed}
        try:
            answer: Any = await door.anthropic.messages.create(**asked | MESSAGES[name])
        except anthropic.APIStatusError as error:
            return {"status": error.status_code}
        return [each async for each in answer] if streamed else answer

    direct = await each_of(MESSAGES, bench, use, bench.direct())
    ours = await each_of(MESSAGES, bench, use, bench.ours(f"anthropic/{CLAUDE}"))

    assert {name: _plain(sent) for name, (_, sent) in ours.items()} == {
        name: _plain(sent) for name, (_, sent) in direct.items()
    }
    refused = {name for name, (answer, _) in direct.items() if isinstance(answer, dict)}
    for name, (answer, _) in ours.items():
        expected = direct[name][0]
        assert answer == expected if name in refused else shape(answer) == shape(expected), name
    assert len(refused) < len(MESSAGES) / 2


async def test_a_parameter_of_responses_reaches_the_provider_or_is_refused_by_name(bench: Bench) -> None:
    async def use(door: Door, name: str) -> Any:
        try:
            return await door.openai.responses.create(model=door.model, input=f"about {name}", **RESPONSES[name][0])
        except openai.BadRequestError as error:
            return str(error)

    for name, (answer, sent) in (await each_of(RESPONSES, bench, use, bench.ours(f"openai/{GPT}"))).items():
        expected = RESPONSES[name][1]
        if expected is None:
            assert name in answer
            assert sent is None, name
        else:
            assert answer.output_text == "one two", name
            told = {"messages": [{"role": "user", "content": f"about {name}"}]}
            assert _plain(sent) == told | expected, name


async def test_a_parameter_of_embeddings_reaches_the_provider_as_it_is(bench: Bench) -> None:
    async def use(door: Door, name: str) -> Any:
        return await door.openai.embeddings.create(model=door.model or "e", input=["text"], **EMBEDDINGS[name])

    direct = await each_of(EMBEDDINGS, bench, use, bench.direct())
    ours = await each_of(EMBEDDINGS, bench, use, bench.ours("openai/e"))

    for name, (answer, sent) in ours.items():
        assert _plain(sent, "encoding_format") == _plain(direct[name][1], "encoding_format"), name
        assert answer.data == direct[name][0].data, name


class City(BaseModel):
    """What is parsed."""

    city: str


async def parsed_chat(door: Door) -> Any:
    messages: Any = [{"role": "user", "content": "parse"}]
    return await door.openai.chat.completions.parse(model=door.model or GPT, messages=messages, response_format=City)


async def streamed_chat(door: Door) -> Any:
    messages: Any = [{"role": "user", "content": "helper"}]
    asked: Any = {"model": door.model or GPT, "messages": messages, "response_format": City}
    async with door.openai.chat.completions.stream(**asked) as stream:
        events = [event.type async for event in stream]
        return [sorted(set(events)), await stream.get_final_completion()]


async def raw_chat(door: Door) -> Any:
    asked: Any = {"model": door.model or GPT, "messages": [{"role": "user", "content": "raw"}]}
    raw = await door.openai.chat.completions.with_raw_response.create(**asked)
    async with door.openai.chat.completions.with_streaming_response.create(**asked) as response:
        lines = [line async for line in response.iter_lines()]
    return [raw.status_code, raw.headers["content-type"].partition(";")[0], raw.parse(), bool(lines)]


async def parsed_message(door: Door) -> Any:
    asked: Any = {"model": door.model or CLAUDE, "messages": [{"role": "user", "content": "parse"}], "max_tokens": 40}
    return await door.anthropic.messages.parse(**asked, output_format=City)


async def streamed_message(door: Door) -> Any:
    asked: Any = {"model": door.model or CLAUDE, "messages": [{"role": "user", "content": "helper"}], "max_tokens": 40}
    async with door.anthropic.messages.stream(**asked) as stream:
        words = [text async for text in stream.text_stream]
        return ["".join(words), await stream.get_final_message()]


async def raw_message(door: Door) -> Any:
    asked: Any = {"model": door.model or CLAUDE, "messages": [{"role": "user", "content": "raw"}], "max_tokens": 40}
    raw = await door.anthropic.messages.with_raw_response.create(**asked)
    async with door.anthropic.messages.with_streaming_response.create(**asked) as response:
        lines = [line async for line in response.iter_lines()]
    return [raw.status_code, raw.headers["content-type"].partition(";")[0], await raw.parse(), bool(lines)]


@pytest.mark.parametrize("helper", [parsed_chat, streamed_chat, raw_chat])
async def test_the_helpers_of_openais_sdk_give_what_they_give_directly(bench: Bench, helper: Any) -> None:
    says = [Say(text='{"city":"Bern"}')] * 2

    direct = await bench.used(Case(name="helper", use=helper, says=says), bench.direct())
    ours = await bench.used(Case(name="helper", use=helper, says=says), bench.ours(f"openai/{GPT}"))

    assert shape(ours) == shape(direct)


@pytest.mark.parametrize("helper", [parsed_message, streamed_message, raw_message])
async def test_the_helpers_of_anthropics_sdk_give_what_they_give_directly(bench: Bench, helper: Any) -> None:
    tells = [Tell(text='{"city":"Bern"}')] * 2

    direct = await bench.used(Case(name="helper", use=helper, tells=tells), bench.direct())
    ours = await bench.used(Case(name="helper", use=helper, tells=tells), bench.ours(f"anthropic/{CLAUDE}"))

    assert shape(ours) == shape(direct)


async def test_responses_are_parsed_and_streamed_by_the_sdks_helpers(bench: Bench) -> None:
    async def use(door: Door) -> Any:
        parsed = await door.openai.responses.parse(model=door.model, input="parse", text_format=City)
        async with door.openai.responses.stream(model=door.model, input="stream", text_format=City) as stream:
            async for _ in stream:
                pass
            return parsed, await stream.get_final_response()

    case = Case(name="responses", use=use, says=[Say(text='{"city":"Bern"}')] * 2)

    parsed, streamed = await bench.used(case, bench.ours(f"openai/{GPT}"))

    assert parsed.output_parsed == streamed.output_parsed == City(city="Bern")


async def each_of(
    names: Iterable[str], bench: Bench, use: Callable[[Door, str], Awaitable[Any]], door: Door
) -> dict[str, tuple[Any, dict[str, Any] | None]]:
    """By parameter: what the SDK gives there, and what the provider was sent."""
    found: dict[str, tuple[Any, dict[str, Any] | None]] = {}
    async with door.openai, door.anthropic:
        for name in names:
            bench.gpt.reset()
            bench.claude.reset()
            bench.gpt.then(Say(text="one two"))
            bench.claude.then(Tell(text="one two"))
            answer = await use(door, name)
            sent = [*bench.gpt.calls, *bench.claude.calls]
            found[name] = answer, sent[-1] if sent else None
    return found


def _plain(body: dict[str, Any] | None, *without: str) -> dict[str, Any] | None:
    """A body without what is ours to say: the model's own name, that it is streamed, and that usage is wanted then."""
    if body is None:
        return None
    options = {name: value for name, value in body.get("stream_options", {}).items() if name != "include_usage"}
    ours = {"model", "stream", "stream_options", *without}
    plain = {name: value for name, value in body.items() if name not in ours}
    return plain | ({"stream_options": options} if options else {})
