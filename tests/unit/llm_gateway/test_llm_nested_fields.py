"""Fields inside of messages, parts, calls, tools and formats on their way to another format: told, or refused."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.infrastructure.anthropic_schema import message_body
from cognitionos.llm_gateway.infrastructure.messages_schema import messages_request
from cognitionos.llm_gateway.infrastructure.messages_terms import check_words
from cognitionos.llm_gateway.infrastructure.openai_schema import chat_request
from cognitionos.llm_gateway.infrastructure.responses_schema import responses_request

HI = {"role": "user", "content": "hi"}
CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "t", "content": "r"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
URL = "https://a/b.png"


def to_anthropic(*messages: Any, **fields: Any) -> dict[str, Any]:
    return message_body(chat_request({"messages": list(messages)} | fields), model="m", max_tokens=9)


def from_messages(*messages: Any, **fields: Any) -> tuple[Any, ...]:
    asked = messages_request({"messages": list(messages), "max_tokens": 9} | fields)
    check_words(asked.native or {})
    return asked.messages


def image(**fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL} | fields}]}


def a_schema(**fields: Any) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}} | fields,
    }


TO_ANTHROPIC: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("messages.0.name", [{"role": "system", "content": "s", "name": "boss"}, HI], {}),
    ("messages.0.x", [HI | {"x": 1}], {}),
    ("messages.1.prefix", [HI, {"role": "assistant", "content": "x", "prefix": True}], {}),
    ("messages.1.reasoning_content", [HI, {"role": "assistant", "content": "x", "reasoning_content": "hm"}], {}),
    ("messages.2.name", [HI, CALLED, RESULT | {"name": "g"}], {}),
    ("messages.1.tool_calls.0.x", [HI, CALLED | {"tool_calls": [CALL | {"x": 1}]}], {}),
    ("messages.0.content.0.image_url.x", [image(x=1)], {}),
    ("tools.0.function.x", [HI], {"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}),
    ("response_format.json_schema.x", [HI], {"response_format": a_schema(x=1)}),
]
RESPONSES: list[tuple[str, dict[str, Any]]] = [
    ("input.0.x", {"input": [HI | {"x": 1}]}),
    ("input.0.content.0.x", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a", "x": 1}]}]}),
    ("tools.0.x", {"input": "a", "tools": [{"type": "function", "name": "f", "parameters": {}, "x": 1}]}),
    ("text.format.x", {"input": "a", "text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "x": 1}}}),
    ("stream_options.x", {"input": "a", "stream_options": {"x": 1}}),
]
MESSAGES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("messages.0.x", [HI | {"x": 1}], {}),
    ("messages.1.content.0.x", [HI, {"role": "assistant", "content": [USE | {"x": 1}]}], {}),
    (
        "messages.0.content.0.x",
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r", "x": 1}]}],
        {},
    ),
    ("tool_choice.x", [HI], {"tool_choice": {"type": "auto", "x": 1}}),
    ("output_config.format.x", [HI], {"output_config": {"format": {"type": "json_schema", "schema": {}, "x": 1}}}),
]


REFUSED: list[tuple[str, Callable[[], object]]] = [
    *((path, partial(to_anthropic, *messages, **fields)) for path, messages, fields in TO_ANTHROPIC),
    *((path, partial(responses_request, body)) for path, body in RESPONSES),
    *((path, partial(from_messages, *messages, **fields)) for path, messages, fields in MESSAGES),
]


@pytest.mark.parametrize(("path", "translated"), REFUSED, ids=lambda each: each if isinstance(each, str) else "")
def test_what_a_translation_has_nothing_for_is_refused_by_its_path(path: str, translated: Callable[[], object]) -> None:
    with pytest.raises(DomainError) as refusal:
        translated()
    assert list(refusal.value.fields) == [path]


def test_what_answers_carry_may_come_back() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    empty = {"refusal": None, "audio": None, "annotations": [], "function_call": None, "parsed": {"a": 1}, "name": None}
    said = {"role": "assistant", "content": "x", "reasoning_content": "hm", "thinking_blocks": [thought], **empty}

    _, turn = to_anthropic(HI, said)["messages"]

    assert turn["content"] == [thought, {"type": "text", "text": "x"}]


def test_refusals_names_of_called_tools_marks_and_descriptions_are_told() -> None:
    refused = {"role": "assistant", "content": None, "refusal": "no"}
    marked = HI | {"cache_control": {"type": "ephemeral"}}
    wanted = a_schema(description="A list.")

    body = to_anthropic(marked, refused, HI, CALLED, RESULT | {"name": "f"}, response_format=wanted)

    assert body["messages"][0]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert body["messages"][1]["content"] == [{"type": "text", "text": "no"}]
    assert body["messages"][4]["content"][0]["type"] == "tool_result"
    assert body["output_config"]["format"]["schema"]["description"] == "A list."


def test_a_field_that_nobody_knows_goes_on_inside_of_a_text() -> None:
    asked = from_messages(HI, system=[{"type": "text", "text": "s", "x": 1}])

    assert asked[0]["content"] == [{"type": "text", "text": "s", "x": 1}]
