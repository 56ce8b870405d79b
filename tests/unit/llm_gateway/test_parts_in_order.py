"""Calls that a server tells in turns, at once or without numbers come out one after another, whole."""

import pytest

from cognitionos.llm_gateway.domain.errors import StreamBroken
from cognitionos.llm_gateway.infrastructure.chat_chunk import Function, ToolCall
from cognitionos.llm_gateway.infrastructure.parts_in_order import PartsInOrder, Step, Told


def call(
    index: int | None, arguments: str | None = None, *, id_: str | None = None, name: str | None = None
) -> ToolCall:
    return ToolCall(index=index, id=id_, function=Function(name=name, arguments=arguments))


def told(*pieces: ToolCall | tuple[str, str]) -> list[tuple[str, str, str]]:
    """What came of the parts, in order: name or kind, id, words. Fails for one that begins before another is over."""
    parts, steps = PartsInOrder(), Told()
    for piece in pieces:
        steps += parts.words(*piece) if isinstance(piece, tuple) else parts.call(piece)
    steps += parts.end()
    said: list[tuple[str, str, str]] = []
    is_open = False
    for step, part, text in steps:
        assert is_open == (step is not Step.BEGUN)
        is_open = step is not Step.OVER
        if step is Step.BEGUN:
            said.append((part.name or part.kind, part.id, ""))
        said[-1] = (*said[-1][:2], said[-1][2] + text)
    return said


F, G = ("f", "a", '{"x":1}'), ("g", "b", '{"y":2}')
PIECES = {
    "in turns": [
        call(0, "", id_="a", name="f"),
        call(1, "", id_="b", name="g"),
        call(0, '{"x"'),
        call(1, '{"y"'),
        call(0, ":1}"),
        call(1, ":2}"),
    ],
    "the second first": [
        call(0, "", id_="a", name="f"),
        call(1, '{"y":2}', id_="b", name="g"),
        call(0, '{"x":1}'),
    ],
    "without numbers": [call(None, '{"x":1}', id_="a", name="f"), call(None, '{"y":2}', id_="b", name="g")],
    "without numbers in pieces": [
        call(None, '{"x"', id_="a", name="f"),
        call(None, ":1}"),
        call(None, "", id_="b", name="g"),
        call(None, '{"y":2}'),
    ],
    "both number 0": [call(0, '{"x":1}', id_="a", name="f"), call(0, '{"y":2}', id_="b", name="g")],
    "the id with each piece": [
        call(0, '{"x"', id_="a", name="f"),
        call(0, ":1}", id_="a", name="f"),
        call(1, '{"y":2}', id_="b", name="g"),
    ],
    "the name later": [
        call(0, "", id_="a"),
        call(0, '{"x":1}', name="f"),
        call(1, '{"y":2}', id_="b", name="g"),
    ],
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_calls_come_one_after_another(pieces: list[ToolCall]) -> None:
    assert told(*pieces) == [F, G]


def test_nameless_numberless_calls_are_told_apart_by_their_ends() -> None:
    pieces = [call(None, '{"x":1}', name="f"), call(None, '{"y":2}', name="f")]

    assert told(*pieces) == [("f", "", '{"x":1}'), ("f", "", '{"y":2}')]


def test_words_come_where_they_were_said() -> None:
    pieces = [("thinking", "hm"), ("text", "o"), ("text", "k"), call(0, "", id_="a", name="f"), ("text", "then")]

    assert told(*pieces) == [("thinking", "", "hm"), ("text", "", "ok"), ("f", "a", ""), ("text", "", "then")]


def test_one_call_after_another_is_told_as_it_comes() -> None:
    parts = PartsInOrder()
    parts.call(call(0, '{"x":1}', id_="a", name="f"))

    steps = [step for step, _, _ in parts.call(call(1, '{"y"', id_="b", name="g"))]

    assert steps == [Step.OVER, Step.BEGUN, Step.MORE]


def test_a_call_that_goes_on_after_its_end_breaks_the_stream() -> None:
    parts = PartsInOrder()
    parts.call(call(0, '{"x":1}', id_="a", name="f"))
    parts.call(call(1, '{"y":2}', id_="b", name="g"))

    with pytest.raises(StreamBroken):
        parts.call(call(0, '{"more":1}'))
