"""What Anthropic's SDK documents inside a body: told in OpenAI's words, or refused by its place."""

import typing
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import ToolUnionParam
from anthropic.types.beta import BetaContentBlockParam, BetaToolUnionParam
from anthropic.types.tool_result_block_param import Content as ResultBlock

from cognitionos.llm_gateway.domain.errors import RequestRefused
from cognitionos.llm_gateway.infrastructure.anthropic_answer import StreamReader
from cognitionos.llm_gateway.infrastructure.messages_schema import messages_request
from cognitionos.llm_gateway.infrastructure.messages_terms import check_words
from cognitionos.llm_gateway.infrastructure.openai_schema import encode

TOLD = {"text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"}
"""Blocks that OpenAI's format has words for, or that are left out as earlier thinking is."""
MINE = {"type": "custom", "name": "f", "input_schema": {"type": "object"}}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}


def kinds(union: Any) -> Iterator[str]:
    """The values of `type` in a union of the SDK's."""
    for each in typing.get_args(union):
        if hasattr(each, "__annotations__"):
            yield from (kind for kind in literals(typing.get_type_hints(each)["type"]) if kind)


def literals(hint: Any) -> Iterator[str | None]:
    for each in typing.get_args(hint):
        if typing.get_origin(each) is typing.Literal:
            yield from literals(each)
        elif isinstance(each, str):
            yield each


def body(block: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    return {"max_tokens": 5, "messages": [{"role": "user", "content": [block]}]} | fields


def told(block: dict[str, Any]) -> Any:
    asked = body(block)
    check_words(asked)
    return messages_request(asked).messages[0]["content"]


def test_no_tool_of_anthropics_reaches_another_provider() -> None:
    found = {*kinds(ToolUnionParam), *kinds(BetaToolUnionParam)} - {"custom"}

    assert len(found) > 20
    for kind in found:
        with pytest.raises(RequestRefused) as refusal:
            check_words(body("hi", tools=[MINE, {"type": kind, "name": "x"}]))
        assert list(refusal.value.fields) == ["tools.1.type"]


def test_no_block_of_anthropics_alone_reaches_another_provider() -> None:
    found = {*kinds(BetaContentBlockParam), *kinds(ResultBlock)} - TOLD

    assert len(found) > 15
    for kind in found:
        with pytest.raises(RequestRefused) as refusal:
            check_words(body({"type": "tool_result", "tool_use_id": "t", "content": [{"type": kind}]}))
        assert list(refusal.value.fields) == ["messages.0.content.0.content.0.type"]


@pytest.mark.parametrize(
    ("block", "place"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "source"),
        ({"type": "image", "source": PDF, "transformations": {"oversize": "resize"}}, "transformations"),
        ({"type": "document", "source": {"type": "url", "url": "https://a.test/a.pdf"}}, "source"),
        ({"type": "document", "source": PDF, "context": "a letter"}, "context"),
        ({"type": "document", "source": PDF, "citations": {"enabled": True}}, "citations"),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}}, "source"),
    ],
)
def test_what_a_block_asks_for_beside_its_content_is_refused(block: dict[str, Any], place: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        check_words(body(block))

    assert list(refusal.value.fields) == [f"messages.0.content.0.{place}"]


def test_a_document_of_plain_text_is_told_with_its_title() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Dear Sir"}

    assert told({"type": "document", "source": source, "title": "Letter", "citations": {"enabled": False}}) == (
        "Letter\n\nDear Sir"
    )
    assert told({"type": "document", "source": {"type": "content", "content": "Dear Sir"}}) == "Dear Sir"
    assert told({"type": "document", "source": PDF, "title": "a.pdf"}) == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    ]


def test_a_tool_that_failed_says_so_whatever_it_gave() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://a.test/a.png"}}

    (result,) = messages_request(
        body({"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": [image]})
    ).messages

    assert result["content"][0] == {"type": "text", "text": "Error:"}


def test_what_nobody_documents_goes_on() -> None:
    assert told({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}) == [
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    ]


def test_what_a_stream_says_beside_words_is_measured() -> None:
    reader = StreamReader(created=0, native=True)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
        {"type": "content_block_start", "content_block": {"type": "thinking"}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "x" * 400}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t", "name": "f" * 40}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "x" * 4000}},
        {"type": "content_block_start", "content_block": {"type": "server_tool_use", "id": "s", "name": "code"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "x" * 40_000}},
    ]

    chunks = [reader.read(encode(event)) for event in events]

    assert sum(chunk.beside for chunk in chunks if chunk is not None) == 44_440
