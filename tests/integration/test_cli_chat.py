"""`cognitionos chat` as a process against a real stack."""

import json
from collections.abc import Iterator

import pytest
from tests.servers import scratch_dir
from tests.stacks import RunningStack, running_stack


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with scratch_dir() as folder, running_stack(folder / "data") as running:
        yield running


def test_a_question_is_answered_on_standard_output_and_gone_on_with(stack: RunningStack) -> None:
    first = stack.cognitionos("chat", "Which river is the longest?", "--title", "Rivers")
    talk = first.stderr.split()[1]
    second = stack.cognitionos("chat", "And the second?", "--conversation", talk, "--json")
    status, messages = stack.get(f"/v1/conversations/{talk}/messages")

    assert (first.returncode, second.returncode, status) == (0, 0, 200), first.stderr + second.stderr
    assert first.stdout.strip() == messages["items"][0]["answer"]
    assert "SIMULATED" in first.stderr
    events = [json.loads(line) for line in second.stdout.splitlines()]
    assert [events[0]["event"], events[-1]["event"], events[-1]["id"]] == ["conversation", "message", "2.end"]
    words = "".join(each["data"]["text"] for each in events if each["event"] == "agent.delta")
    assert words.strip() == events[-1]["data"]["answer"] == messages["items"][1]["answer"]


def test_what_cannot_be_asked_is_said_in_a_line(stack: RunningStack) -> None:
    nobody = stack.cognitionos("chat", "Hello", "--agent", "nobody")
    nowhere = stack.cognitionos("chat", "Hello", "--conversation", "0193a1f2-0000-7000-8000-000000000000")

    assert [each.returncode for each in (nobody, nowhere)] == [1, 1]
    assert "nobody" in nobody.stderr
    assert "conversation-not-found" in nowhere.stderr
    assert all(each.stderr.count("\n") == 1 for each in (nobody, nowhere))
