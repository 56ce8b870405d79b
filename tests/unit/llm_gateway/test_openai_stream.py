import contextlib
from collections.abc import Callable

import msgspec
import pytest

from cognitionos.llm_gateway.application.ports import TOGETHER
from cognitionos.llm_gateway.infrastructure.openai_schema import _ChunkDelta, _more
from cognitionos.llm_gateway.infrastructure.openai_stream import Arrived, read_arrived, read_together

WORD = b'{"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}'
END = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
ERROR = b'{"error":{"message":"overloaded"}}'


def test_events_that_arrive_together_are_given_as_one_with_all_they_say() -> None:
    read = read_together([WORD, WORD, END, USAGE, b"[DONE]"], keep_usage=True)

    spoken, usage = read.chunks

    assert spoken.data.split(TOGETHER) == [WORD, WORD, END]
    assert (spoken.text, spoken.tokens, spoken.finish_reason, spoken.plain) == ("word word ", 2, "stop", True)
    assert usage.bare_usage
    assert usage.usage is not None
    assert usage.usage.completion == 2
    assert read.is_last


def test_an_event_that_comes_alone_stays_as_it_is() -> None:
    (only,) = read_together([WORD], keep_usage=False).chunks

    assert only.data == WORD


def test_usage_that_comes_alone_stays_apart() -> None:
    (only,) = read_together([USAGE, b"[DONE]"], keep_usage=False).chunks

    assert only.bare_usage


@pytest.mark.parametrize("read_events", [read_arrived, read_together])
def test_an_error_comes_after_the_words_that_arrived_with_it(read_events: Callable[..., Arrived]) -> None:
    read = read_events([WORD, ERROR, WORD], keep_usage=False)

    assert [each.text for each in read.chunks] == ["word "]
    assert read.failure is not None
    assert "overloaded" in str(read.failure)


NULLED = b'{"choices":[{"index":0,"delta":{"content":"word, \\",\\"usage\\":null"},"finish_reason":null}],"usage":null}'
SHAPES = {
    "words": WORD,
    "the end": END,
    "usage alone": USAGE,
    "usage that is null": NULLED,
    "usage beside words": WORD[:-1] + b',"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}',
    "a tool call": b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]},"finish_reason":null}]}',
    "a second choice": WORD.replace(b'"index":0', b'"index":1'),
    "two choices": b'{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}',
    "log probabilities": b'{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[]}}]}',
    "thoughts": b'{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}',
    "thoughts by another name": b'{"choices":[{"index":0,"delta":{"content":"a","reasoning":"hm"}}]}',
    "thoughts in parts": b'{"choices":[{"index":0,"delta":{"content":"a","reasoning_details":[{"text":"hm"}]}}]}',
    "a call as it once was": b'{"choices":[{"index":0,"delta":{"content":"a","function_call":{"name":"f"}}}]}',
    "sound": b'{"choices":[{"index":0,"delta":{"content":"a","audio":{"id":"x"}}}]}',
    "a refusal": b'{"choices":[{"index":0,"delta":{"refusal":"no"}}]}',
    "no choice": b'{"choices":[]}',
    "no delta": b'{"choices":[{"index":0,"finish_reason":"length"}]}',
    "a dialect": b'{"choices":[{"index":"0","delta":"words"}]}',
    "an error": ERROR,
    "no JSON": b"oops",
    "no UTF-8": WORD.replace(b"word", b"w\xffrd"),
    "two in one": WORD + b"," + WORD,
}


def sums(read: Arrived) -> tuple[object, ...]:
    """What all chunks together say."""
    chunks = read.chunks
    return (
        [data for each in chunks for data in each.data.split(TOGETHER)],
        "".join(each.text for each in chunks),
        sum(each.tokens for each in chunks),
        [each.finish_reason for each in chunks if each.finish_reason],
        [each.usage for each in chunks if each.usage],
        (all(each.plain for each in chunks), all(each.shared for each in chunks)),
        [each.data for each in chunks if each.bare_usage],
        read.is_last,
        str(read.failure),
    )


@pytest.mark.parametrize("keep_usage", [True, False])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_read_at_once_is_what_is_read_one_by_one(shape: bytes, *, place: int, keep_usage: bool) -> None:
    events = [WORD, NULLED]
    events.insert(place, shape)
    events.append(b"[DONE]")

    at_once, by_one = (sums(read(events, keep_usage=keep_usage)) for read in (read_together, read_arrived))

    assert at_once == by_one


def test_every_field_of_a_delta_but_its_words_is_known_to_be_more() -> None:
    names = set(_ChunkDelta.__struct_fields__) - {"content"}

    assert all(_more(msgspec.convert({name: value_of(name)}, _ChunkDelta)) for name in names)


def value_of(name: str) -> object:
    """Something that the field may hold."""
    for said in ("words", [{}], {"a": 1}):
        with contextlib.suppress(msgspec.ValidationError):
            msgspec.convert({name: said}, _ChunkDelta)
            return said
    raise AssertionError(name)


def test_words_are_one_chunk_until_something_else_comes() -> None:
    read = read_together([WORD, WORD, SHAPES["a tool call"], WORD], keep_usage=False)

    assert [(each.text, each.plain) for each in read.chunks] == [("word word ", True), ("word ", False)]
