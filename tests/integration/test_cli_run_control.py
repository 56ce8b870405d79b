"""Run control from the terminal, as a process against a real stack."""

import json
from collections.abc import Iterator

import pytest
from tests.servers import scratch_dir
from tests.stacks import RunningStack, running_stack


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with scratch_dir() as folder, running_stack(folder / "data") as running:
        yield running


@pytest.fixture(scope="module")
def run_id(stack: RunningStack) -> str:
    """The run of a goal that has succeeded."""
    return str(json.loads(stack.cognitionos("run", "Name a river", "--json").stdout)["run_id"])


def test_a_run_is_explained_by_what_was_stored(stack: RunningStack, run_id: str) -> None:
    told = stack.as_json("explain", run_id)
    shown = stack.cognitionos("explain", run_id).stdout

    first = told["decisions"][0]
    assert (first["role"], first["task"], first["call"]["simulated"]) == ("planner", "plan", True)
    assert first["prompt"].startswith("planner@")
    assert first["call"]["why"]
    assert (told["budget_usd"], first["budget_left_usd"]) == ("1", "1")
    assert first["budget_subject"].startswith("goal:")
    assert {each["role"] for each in told["decisions"]} >= {"planner", "executor"}
    assert "plan  planner/0/0  planner (planner@" in shown


def test_the_critical_path_of_a_goal_begins_with_its_plan(stack: RunningStack, run_id: str) -> None:
    path = stack.as_json("critical-path", run_id)
    shown = stack.cognitionos("critical-path", run_id).stdout

    assert [task["key"] for task in path["tasks"]] == ["plan", "t1"]
    assert "is the longest chain" in shown


def test_a_replay_finds_no_difference_and_the_recording_can_be_exported(stack: RunningStack, run_id: str) -> None:
    report = stack.as_json("replay", run_id)
    shown = stack.cognitionos("replay", run_id)
    recording = stack.as_json("export", run_id)

    assert (report["divergence"], report["replayed"], report["model_calls"]) == (None, 2, 0)
    assert (shown.returncode, "no model was called" in shown.stdout) == (0, True)
    assert (recording["format"], len(recording["journals"])) == (1, 2)


def test_a_run_is_forked_from_a_task_and_from_a_snapshot(stack: RunningStack, run_id: str) -> None:
    named = stack.cognitionos("snapshot", run_id, "done")
    fork = stack.as_json("fork", run_id, "--from", "t1")
    nothing = stack.cognitionos("fork", run_id, "--snapshot", "done")

    assert "snapshot 'done' holds the run after event" in named.stdout
    assert (fork["forked_from"], fork["reused_tasks"]) == (run_id, 1)
    assert nothing.returncode == 1
    assert "from which task on" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pause", "{run}"], "succeeded already"),
        (["resume", "{run}"], "not paused"),
        (["retry", "{run}"], "fork it instead"),
        (["fork", "{run}", "--change", "t1"], "TASK=JSON"),
        (["fork", "{run}", "--input", "{"], "--input must be JSON"),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_why(
    stack: RunningStack, run_id: str, arguments: list[str], told: str
) -> None:
    refused = stack.cognitionos(*(argument.replace("{run}", run_id) for argument in arguments))

    assert refused.returncode == 1
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr
