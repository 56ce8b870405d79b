"""What the terminal shows of a goal: one line for each event, within 80 columns where the words are ours."""

import pytest

from cognitionos.cli import watching
from cognitionos.cli.client import StreamEvent
from cognitionos.cli.watching import Watcher


def shown(capsys: pytest.CaptureFixture[str], kind: str, **data: object) -> str:
    """The terminal's text for an event."""
    event = {"data": data, "task": "t1", "at": "2026-11-21T12:00:00+00:00"}
    Watcher(as_json=False).event(StreamEvent("1", kind, event))
    return capsys.readouterr().out


def python_said(capsys: pytest.CaptureFixture[str], result: str, *files: str) -> str:
    return shown(capsys, "agent.tool_called", tool="python", outcome="ok", result=result, files=list(files))


def test_what_python_printed_is_shown_without_json_and_with_the_files_it_wrote(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = python_said(capsys, '{"output": "The \\"sum\\" is\\n42\\n", "files_written": ["sum.csv"]}', "sum.csv")

    assert "* python: The 'sum' is 42 -> sum.csv" in line


def test_a_long_answer_of_python_keeps_the_names_of_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    cut = '{"output": {"lines": "' + "word " * 40 + "\n[... 900 characters left out ...]\n" + 'x"]}'

    line = python_said(capsys, cut, "page.md")

    assert "python: lines: word word" in line
    assert line.rstrip().endswith("… -> page.md")


def test_what_was_remembered_is_counted_and_begun(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, "memory.recalled", memories=["Nordwind is the choice.", "Another."])

    assert "remembers 2 memories: Nordwind is the choice." in line


def test_a_plan_that_is_sent_back_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    line = shown(capsys, "plan.rejected", errors={"t2": "must be an object"})

    assert "the plan is sent back: t2: must be an object" in line


def test_claims_that_nothing_supports_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = [{"kind": "number", "text": "1,840", "start": 0, "end": 5}]

    flagged = shown(capsys, "agent.checked", draft=1, checked=9, unsupported=found)
    passed = shown(capsys, "agent.checked", draft=2, checked=9, unsupported=[])

    assert "~ draft 1: 1 of 9 claims are in nothing it was given: 1,840" in flagged
    assert "+ draft 2: all 9 claims are in what the agent was given" in passed


def test_the_words_about_the_simulated_model_fit_into_80_columns() -> None:
    assert max(len(line) for line in watching._SIMULATED.splitlines()) <= 78


def test_a_plan_that_waits_for_approval_is_shown_with_how_to_answer(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [{"key": "t1", "title": "Compare", "depends_on": []}, {"key": "t2", "title": "Tell", "depends_on": ["t1"]}]

    plan = shown(capsys, "plan.proposed", tasks=tasks)
    asked = shown(capsys, "approval.requested", prompt="May this plan of 2 tasks run?", approval_id="0193")
    answered = shown(capsys, "approval.decided", decision="approved", by="ann", comment="go")

    assert "proposed plan" in plan
    assert "(after t1)" in plan
    assert "cognitionos approve 0193 (or reject): May this plan of 2 tasks run?" in asked
    assert "approved by ann: go" in answered


def test_a_new_plan_says_what_it_replaces_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    failed = {"detail": "t2 cannot be done this way"}

    again = shown(capsys, "run.replanned", number=1, by="t2.plan", error=failed)
    plan = shown(capsys, "run.planned", tasks=[{"key": "t2.n1", "title": "Smaller", "depends_on": []}], replaces="t2")

    assert "planned anew (time 1), after: t2 cannot be done this way" in again
    assert "plan in place of t2" in plan


@pytest.mark.parametrize(
    ("price", "says"),
    [("public", ""), ("own", ""), ("free", "it counts as free"), ("unknown", "cognitionos prices set openai/b-own ")],
)
def test_a_default_model_that_nobody_knows_the_price_of_is_named_before_the_goal_starts(price: str, says: str) -> None:
    note = watching.price_note({"model": "openai/b-own", "price": price})

    assert says in note if says else note == ""
