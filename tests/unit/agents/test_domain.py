"""Rules of agents: what fits a schema, what fits a window, what a file may be called."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.agents.domain.agent_run import idempotency_key
from cognitionos.agents.domain.context_window import estimated_tokens, pack
from cognitionos.agents.domain.prompt import prompt_of
from cognitionos.agents.domain.structured import json_in
from cognitionos.agents.domain.tool import clipped
from cognitionos.agents.domain.verdict import VERDICT_SCHEMA, verdict_of
from cognitionos.agents.domain.workspace import BadFileName, NewFile, WorkspaceLimit, check_sizes, file_name
from cognitionos.agents.infrastructure.prompt_files import load_prompts
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.json_schema import faults_of
from cognitionos.kernel.json_text import storable

OPENING = [{"role": "system", "content": "You are."}, {"role": "user", "content": "Do it."}]


def a_turn(number: int, size: int) -> list[dict[str, Any]]:
    """An assistant that calls a tool, and the tool's answer of `size` characters."""
    call = {"id": f"c{number}", "type": "function", "function": {"name": "look", "arguments": f'{{"n": {number}}}'}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": f"{number}:" + "x" * size},
    ]


def test_a_conversation_that_fits_is_left_alone() -> None:
    rest = [*a_turn(1, 100), *a_turn(2, 100)]

    assert pack(OPENING, rest, limit=1_000) == [*OPENING, *rest]


def test_older_turns_become_a_line_each_and_the_newest_stays_whole() -> None:
    rest = [message for number in range(1, 6) for message in a_turn(number, 900)]

    packed = pack(OPENING, rest, limit=900)

    assert packed[-2:] == rest[-2:]
    note = packed[1]["content"]
    assert note.startswith('Do it.\n\nYour earlier steps, shortened to fit:\n1. you called look with {"n": 1}')
    assert "characters left out" in note
    assert estimated_tokens(packed) <= 900


def test_a_last_answer_too_large_for_the_window_is_clipped_with_a_note() -> None:
    packed = pack(OPENING, a_turn(1, 100_000), limit=2_000)

    assert "characters left out" in packed[-1]["content"]
    assert estimated_tokens(packed) <= 2_000


@given(st.lists(st.integers(0, 5_000), max_size=12), st.integers(500, 20_000))
def test_packing_never_parts_an_answer_from_its_call_and_keeps_roles_alternating(sizes: list[int], limit: int) -> None:
    rest = [message for number, size in enumerate(sizes) for message in a_turn(number, size)]

    packed = pack(OPENING, rest, limit=limit)

    assert [message["role"] for message in packed[:2]] == ["system", "user"]
    for before, after in pairwise(packed):
        if after["role"] == "tool":
            assert before["tool_calls"][0]["id"] == after["tool_call_id"]


@pytest.mark.parametrize(
    ("value", "schema", "faults"),
    [
        ({"a": 1}, {"type": "object", "properties": {"a": {"type": "integer"}}}, {}),
        (True, {"type": "integer"}, {"$": "must be of type integer"}),
        (None, {"type": ["string", "null"]}, {}),
        ("c", {"enum": ["a", "b"]}, {"$": "must be one of 'a', 'b'"}),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, {"1": "must be of type integer"}),
        ({"a": {"b": ""}}, {"properties": {"a": {"required": ["c"]}}}, {"a.c": "is missing"}),
        ("", {"minLength": 1}, {"$": "must be at least 1 characters"}),
        (3, {"anyOf": [{"type": "string"}, {"maximum": 2}]}, {"$": "fits none of the allowed forms"}),
        ({}, {"required": ["a"]}, {"a": "is missing"}),
        (3, {"oneOf": [{"minimum": 1}, {"minimum": 2}]}, {"$": "fits none of the allowed forms, or more than one"}),
        ({"a": {"b": 1}}, {"additionalProperties": {"required": ["c"]}}, {"a.c": "is missing"}),
        (1.0, {"type": "integer"}, {"$": "must be of type integer"}),
        ({"b": 1}, {"properties": {"a": {}}, "additionalProperties": False}, {"b": "is not known; known are a"}),
        ([0.07, 0.29, 4.35, 19.99, 100, -0.1], {"items": {"multipleOf": 0.01}}, {}),
        ([0.075, 10**400 + 1], {"items": {"multipleOf": 0.25}}, {"0": "must be a multiple of 0.25"}),
        ([True, 1e300, 3], {"items": {"multipleOf": 2}}, {"2": "must be a multiple of 2"}),
    ],
)  # fmt: skip
def test_a_value_is_checked_against_its_schema(value: Any, schema: dict[str, Any], faults: dict[str, str]) -> None:
    assert faults_of(value, schema) == faults


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'Sure:\n```json\n{"a": 1}\n```',
        'The answer is {"a": 1}. Good luck!',
        '```\n{"a": 1}\n```',
        '```json\n{"a": 1}',
        '{"a": 1,}',
        'See [the task]: {"a": 1, } and [2].',
        '<think>Perhaps {"a": 2}?</think>\n{"a": 1}',
    ],
    ids=["bare", "fenced", "talk", "fenced without a name", "fence left open", "comma", "brackets", "thoughts"],
)
def test_json_is_found_in_what_a_model_says(text: str) -> None:
    assert json_in(text) == {"a": 1}


def test_a_rejection_without_a_reason_is_still_one() -> None:
    answer = {"accepted": False, "reasons": [" "]}

    verdict = verdict_of(answer)

    assert faults_of(answer, VERDICT_SCHEMA) == {}
    assert not verdict.accepted
    assert verdict.reasons == ("The critic gave no reason; check the result against the task.",)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a/", "a\x00b", "x" * 300, "a\nb", "."])
def test_a_name_that_leaves_the_workspace_or_cannot_be_kept_is_refused(name: str) -> None:
    with pytest.raises(BadFileName):
        file_name(name)


def test_a_name_has_one_form() -> None:
    assert file_name("./out//report.md") == "out/report.md"


def test_a_file_beyond_the_run_s_share_is_refused() -> None:
    with pytest.raises(WorkspaceLimit):
        check_sizes(NewFile(name="a", content=b"x"), {"b": 64 * 2**20})


def test_the_key_of_a_call_is_the_same_for_every_attempt_and_for_no_other_call() -> None:
    run, task = new_id(), new_id()

    keys = {idempotency_key(run, task, "executor/0/1.0"), idempotency_key(run, task, "executor/0/1.0")}

    assert len(keys) == 1
    assert idempotency_key(run, task, "executor/0/1.1") not in keys


def test_text_that_postgresql_cannot_hold_is_replaced() -> None:
    assert storable({"a": ["x\x00y", "\ud800"]}) == {"a": ["x\ufffdy", "\ufffd"]}


def test_clipping_keeps_both_ends_and_counts_what_is_between() -> None:
    assert clipped("a" * 90 + "b" * 30, 30) == "a" * 20 + "\n[... 90 characters left out ...]\n" + "b" * 10


def test_a_prompt_s_version_is_in_its_file_s_name() -> None:
    assert prompt_of("executor.v2.md", "text\n").name == "executor@2"
    with pytest.raises(ValueError, match="no prompt"):
        prompt_of("executor.md", "text")


def test_every_shipped_prompt_begins_with_its_role_and_is_short() -> None:
    for prompt in load_prompts():
        assert prompt.text.startswith(f"You are the {prompt.role} of CognitionOS.\n")
        assert len(prompt.text) < 1_500
