"""What a prompt can cost at most: by its bytes, by its images, and where neither says it by what the model takes."""

from typing import Any

import pytest
from tests.builders_llm_gateway import a_request

from cognitionos.llm_gateway.domain.budget import exposure
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import CallUnbounded, InvalidChatRequest
from cognitionos.llm_gateway.domain.price import FREE
from cognitionos.llm_gateway.domain.price_sheet import price_of_sheet
from cognitionos.llm_gateway.domain.prompt_bound import TOKENS_PER_IMAGE
from cognitionos.llm_gateway.infrastructure.messages_schema import messages_request
from cognitionos.llm_gateway.infrastructure.openai_schema import chat_request, encode

WINDOW = 200_000
SHEET = {"input_usd_per_million": "1", "output_usd_per_million": "1"}
KNOWN, UNKNOWN = price_of_sheet(SHEET | {"max_input_tokens": WINDOW}), price_of_sheet(SHEET)
PDF = "data:application/pdf;base64," + "A" * 4000


def sending(part: dict[str, Any], **message: Any) -> ChatRequest:
    return chat_request(
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Sum up."}, part]} | message]}
    )


def to_anthropic(*blocks: dict[str, Any], **fields: Any) -> ChatRequest:
    return messages_request({"max_tokens": 5, "messages": [{"role": "user", "content": list(blocks)}], **fields})


def prompt(request: ChatRequest) -> int:
    return exposure(request, [KNOWN], encode=encode).bounds[0].prompt


PLACE = "messages.0.content.1"
REFERENCES = [
    (sending({"type": "file", "file": {"file_id": "file-1"}}), PLACE),
    (sending({"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}), PLACE),
    (sending({"type": "video_url", "video_url": {"url": "https://x.example/a.mp4"}}), PLACE),
    (sending({"type": "image_url", "image_url": {"url": PDF}}), PLACE),
    (sending({"type": "image_url", "image_url": {"url": "https://x.example/a.mp4"}}), PLACE),
    (sending({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "flac"}}), PLACE),
    (sending({"type": "nobody-knows", "id": "1"}), PLACE),
    (chat_request({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}), "messages.0.audio"),
    (to_anthropic({"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}), "messages"),
    (to_anthropic({"type": "document", "source": {"type": "file", "file_id": "file_1"}}), "messages"),
    (
        to_anthropic({"type": "document", "source": {"type": "url", "url": "https://x.example/a", "data": "a"}}),
        "messages",
    ),
    (
        to_anthropic({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}),
        "messages",
    ),
    (
        to_anthropic(
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": {"type": "url"}}]}
        ),
        "messages",
    ),
    (
        to_anthropic(
            {
                "type": "web_fetch_tool_result",
                "tool_use_id": "t",
                "content": {"type": "web_fetch_result", "content": {"type": "document", "source": {"type": "base64"}}},
            }
        ),
        "messages",
    ),
    (to_anthropic({"type": "container_upload", "file_id": "file_1"}), "messages"),
    (to_anthropic({"type": "text", "text": "x"}, container="container_1"), "container"),
]


@pytest.mark.parametrize(("request_", "place"), REFERENCES)
def test_what_has_no_bound_by_its_bytes_is_held_at_what_the_model_takes(request_: ChatRequest, place: str) -> None:
    assert prompt(request_) == WINDOW
    with pytest.raises(CallUnbounded, match="max_input_tokens") as raised:
        exposure(request_, [KNOWN, UNKNOWN], encode=encode)
    assert set(raised.value.fields or {}) == {place}
    assert exposure(request_, [FREE], encode=encode).amount_nanousd == 0


@pytest.mark.parametrize(
    "request_",
    [
        sending({"type": "refusal", "refusal": "x" * 1000}),
        sending({"type": "input_audio", "input_audio": {"data": "A" * 1000, "format": "wav"}}),
        sending({"type": "file", "file": {"file_data": "data:text/plain;base64," + "A" * 1000}}),
        sending({"type": "text", "text": ""}, reasoning_content="x" * 1000, role="assistant"),
        to_anthropic({"type": "document", "source": {"type": "text", "data": "x" * 1000}}),
        to_anthropic(
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x" * 1000}]}}
        ),
        to_anthropic({"type": "search_result", "content": [{"type": "text", "text": "x" * 1000}]}),
        chat_request({"messages": [{"role": "user", "content": "x"}], "documents": [{"text": "x" * 1000}]}),
    ],
)
def test_words_and_whole_sound_are_bounded_by_their_bytes(request_: ChatRequest) -> None:
    assert 1000 < prompt(request_) < 2000


def test_images_within_a_result_of_a_tool_are_images() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}

    assert (
        TOKENS_PER_IMAGE < prompt(to_anthropic({"type": "tool_result", "content": [image]})) < TOKENS_PER_IMAGE + 1000
    )
    assert (
        prompt(to_anthropic({"type": "document", "source": {"type": "content", "content": [image]}})) > TOKENS_PER_IMAGE
    )


def test_a_prediction_may_be_paid_for_as_if_it_were_the_answer() -> None:
    said = {"type": "content", "content": "a " * 20_000}
    request = a_request(max_tokens=5, extra={"prediction": said})

    most = exposure(request, [KNOWN], encode=encode)

    assert most.amount_nanousd >= (5 + 40_000) * 1000
    lowered = exposure(a_request(max_tokens=500, extra={"prediction": said}), [KNOWN], encode=encode).lowered_to(
        most.amount_nanousd + 50_000
    )
    assert lowered is not None
    assert lowered.amount_nanousd <= most.amount_nanousd + 50_000


@pytest.mark.parametrize("kind", ["computer_20250124", "text_editor_20250728", "bash_20250124"])
def test_a_tool_whose_schema_its_provider_knows_has_room_for_it(kind: str) -> None:
    without = prompt(a_request())

    assert prompt(a_request(tools=({"type": kind, "name": "t"},))) - without > 804 + 735 + 499


def test_as_many_answers_as_the_best_is_taken_of_are_held_for() -> None:
    once, five = (
        exposure(a_request(max_tokens=100, extra=extra), [KNOWN], encode=encode) for extra in ({}, {"best_of": 5})
    )

    assert five.bounds[0].answers == 5 * once.bounds[0].answers


@pytest.mark.parametrize("field", ["n", "best_of", "max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("said", ["5", 5.0, True, 0, [5]])
def test_a_count_that_is_no_number_is_refused_by_its_name(field: str, said: object) -> None:
    with pytest.raises(InvalidChatRequest) as raised:
        chat_request({"messages": [{"role": "user", "content": "x"}], field: said})

    assert set(raised.value.fields or {}) == {field}
