from cognitionos.llm_gateway.application.ports import TOGETHER
from cognitionos.llm_gateway.infrastructure.openai_stream import given_together, read_arrived

WORD = b'{"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}'
END = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
ERROR = b'{"error":{"message":"overloaded"}}'


def test_events_that_arrive_together_are_given_as_one_with_all_they_say() -> None:
    read = read_arrived([WORD, WORD, END, USAGE, b"[DONE]"], keep_usage=True)

    spoken, usage = given_together(read.chunks)

    assert spoken.data.split(TOGETHER) == [WORD, WORD, END]
    assert (spoken.text, spoken.tokens, spoken.finish_reason, spoken.plain) == ("word word ", 2, "stop", True)
    assert usage.bare_usage
    assert usage.usage is not None
    assert usage.usage.completion == 2
    assert read.is_last


def test_an_event_that_comes_alone_stays_as_it_is() -> None:
    (only,) = given_together(read_arrived([WORD], keep_usage=False).chunks)

    assert only.data == WORD


def test_usage_that_comes_alone_stays_apart() -> None:
    (only,) = given_together(read_arrived([USAGE, b"[DONE]"], keep_usage=False).chunks)

    assert only.bare_usage


def test_an_error_comes_after_the_words_that_arrived_with_it() -> None:
    read = read_arrived([WORD, ERROR, WORD], keep_usage=False)

    assert [each.text for each in read.chunks] == ["word "]
    assert read.failure is not None
    assert "overloaded" in str(read.failure)
