"""Whatever was said, what a model is shown of it is whole: no answer without its call, no call without its answer, and
what is left out says so. For three sizes of models.
"""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitionos.agents.domain.context_window import estimated_tokens, foldable, pack, with_summary
from cognitionos.agents.domain.conversation import Exchange, opening_of_turn
from cognitionos.llm_gateway.facade import ToolCall, assistant, system, tool_result, user

LIMITS = (1_024, 4_096, 16_000)
OPENING = [system("You are the executor."), user("## Your task\nDo it.")]
LEFT_OUT = re.compile(r"characters left out|shortened to fit|summed up")


@st.composite
def rests(draw: st.DrawFn) -> list[Any]:
    """What an agent and its tools said: answers with up to four calls, with texts, and what it was told."""
    said: list[Any] = []
    for number in range(draw(st.integers(1, 12))):
        sizes = draw(st.lists(st.sampled_from([0, 30, 900, 9_000]), max_size=4))
        calls = tuple(
            ToolCall(
                id=f"c{number}.{each}",
                name="read_file",
                arguments=json.dumps({"n": "a" * draw(st.sampled_from([1, 700]))}),
            )
            for each in range(len(sizes))
        )
        said.append(
            assistant(draw(st.sampled_from(["", "I look.", "word " * 400])) if calls else "Done.", tool_calls=calls)
        )
        said += [
            tool_result(call.id, json.dumps({"text": f"<{number}>" + "x" * size}))
            for call, size in zip(calls, sizes, strict=True)
        ]
        if not calls:
            said.append(user(draw(st.sampled_from(["Go on.", "why " * 500]))))
    return said


def is_whole(messages: list[Any]) -> bool:
    """Whether each answer follows its call, and each call has its answer, as providers demand."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return False
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return False
        else:
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
    return not waiting


@pytest.mark.parametrize("limit", LIMITS)
@settings(deadline=None, max_examples=60)
@given(rest=rests())
def test_what_is_shown_is_whole_and_what_is_left_out_says_so(limit: int, rest: list[Any]) -> None:
    packed = pack(OPENING, rest, limit=limit)

    assert is_whole(packed)
    assert [message["role"] for message in packed[:2]] == ["system", "user"]
    assert packed[0] == OPENING[0]
    assert packed[1]["content"].startswith(OPENING[1]["content"])
    assert {message["role"] for message in packed[2:3]} <= {"assistant"}
    if estimated_tokens([*OPENING, *rest]) <= limit:
        assert packed == [*OPENING, *rest]
    else:
        assert LEFT_OUT.search(json.dumps(packed))
    shown = json.dumps(packed)
    for message in rest:
        if message not in packed and message["role"] == "tool":
            assert LEFT_OUT.search(shown)


@pytest.mark.parametrize("limit", LIMITS)
@settings(deadline=None, max_examples=60)
@given(rest=rests())
def test_what_is_summed_up_ends_between_turns_and_the_summary_is_marked(limit: int, rest: list[Any]) -> None:
    number = foldable(OPENING, rest, limit=limit)

    folded = [*with_summary(OPENING, "It was read."), *rest[number:]] if number else [*OPENING, *rest]

    assert is_whole(folded)
    assert number < len(rest)
    assert bool(number) <= ("summed up" in folded[1]["content"])
    assert is_whole(pack(folded[:2], folded[2:], limit=limit))


@pytest.mark.parametrize("limit", LIMITS)
@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 6_000)), max_size=30), last=st.integers(1, 9_000))
def test_a_conversation_keeps_its_last_message_whole(limit: int, sizes: list[tuple[int, int]], last: int) -> None:
    earlier = tuple(("q" * asked, "a" * answered) for asked, answered in sizes)
    shown = opening_of_turn(system("You talk."), Exchange(message="m" * last, earlier=earlier), limit=limit)

    assert shown[0]["role"] == "system"
    assert "m" * last in shown[-1]["content"]
    assert shown[-1]["role"] == "user"
    roles = [message["role"] for message in shown[1:]]
    assert all(a != b for a, b in pairwise(roles))
    if len(shown) < 2 + 2 * len(earlier):
        assert "shortened to fit" in json.dumps(shown)
