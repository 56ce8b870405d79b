"""Recorded runs of several shapes, which every later version must keep replaying: same questions, same results.

A recording is made by `cognitionos export RUN > tests/replay/NAME.json`. One that diverges because of a wanted change
(of a prompt without a new version, of what agents are shown) is made anew, and the change is named in the changelog:
runs of users diverge in the same way.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.conftest import Run

from cognitionos.composition import build
from cognitionos.planning.application.replay import Replay, UnknownRecording
from cognitionos.platform.config import Settings

NOBODY = UUID(int=0)
RECORDINGS = sorted(path.stem for path in Path(__file__).parent.glob("*.json"))
Change = Callable[[dict[str, Any]], None]


def recorded(name: str) -> dict[str, Any]:
    """The recording of that name."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def replay(settings: Settings, run: Run) -> Iterator[Replay]:
    """As the product is wired; only the database is opened, for the agents of a tenant who has none of their own."""
    services = build(settings)
    run(services.base.database.open())
    yield services.planning.control.replay
    run(services.base.database.close())


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recorded_run_is_replayed_without_a_difference(replay: Replay, name: str) -> None:
    recording = recorded(name)

    report = await replay.run(recording, tenant_id=NOBODY)

    assert report.divergence is None
    assert report.replayed + report.recomputed + report.recorded + report.taken == len(recording["tasks"])
    assert report.replayed + report.recorded >= 2
    assert (report.model_calls, report.tool_calls) == (0, 0)


def another_answer(recording: dict[str, Any]) -> None:
    steps(recording, "t1")[0]["content"]["text"] = "Something else."


def another_result_of_a_tool(recording: dict[str, Any]) -> None:
    next(step for step in steps(recording, "t1") if step["kind"] == "tool")["content"]["result"] = '{"output": "7"}'


def another_opening(recording: dict[str, Any]) -> None:
    journal(recording, "t1")["opening"][1]["content"] += "\n\nAnd hurry."


def an_answer_too_few(recording: dict[str, Any]) -> None:
    steps(recording, "t1").pop()


def an_answer_too_many(recording: dict[str, Any]) -> None:
    last = copy.deepcopy(steps(recording, "t1")[-1])
    steps(recording, "t1").append({**last, "key": "executor/9/9"})


def another_output(recording: dict[str, Any]) -> None:
    next(task for task in recording["tasks"] if task["key"] == "t1")["output"]["text"] = "Something else."


def another_plan(recording: dict[str, Any]) -> None:
    answer = steps(recording, "plan")[0]["content"]
    answer["text"] = answer["text"].replace('"title": "', '"title": "Other ', 1)


def another_new_plan(recording: dict[str, Any]) -> None:
    answer = steps(recording, "t2.plan")[0]["content"]
    answer["text"] = answer["text"].replace("Count.", "Weigh.")


def another_new_task(recording: dict[str, Any]) -> None:
    task(recording, "t2.n1")["spec"]["role"] = "researcher"


def a_missing_new_task(recording: dict[str, Any]) -> None:
    recording["tasks"].remove(task(recording, "t2.n2"))


def a_failure_that_no_plan_helps(recording: dict[str, Any]) -> None:
    task(recording, "t2")["error"]["type"] = "/problems/budget-exhausted"


def another_failure(recording: dict[str, Any]) -> None:
    task(recording, "t2")["error"]["detail"] = "Something else went wrong."


def another_argument(recording: dict[str, Any]) -> None:
    task(recording, "read")["spec"]["arguments"]["name"] = "b.txt"


def another_file_read(recording: dict[str, Any]) -> None:
    task(recording, "read")["output"]["text"] = "eight"


def no_address(recording: dict[str, Any]) -> None:
    task(recording, "fetch")["spec"]["url"] = {"$ref": "tasks.write.output.nothing"}


@pytest.mark.parametrize(
    ("name", "change", "task", "step", "field"),
    [
        ("one_task_goal", another_answer, "t1", "critic/0/0", "request.messages."),
        ("goal_with_tools_and_critic", another_result_of_a_tool, "t1", "executor/0/1", "request.messages."),
        ("goal_with_tools_and_critic", another_opening, "t1", "executor/0/0", "request.messages.1"),
        ("goal_with_tools_and_critic", an_answer_too_few, "t1", "after the last step", "step"),
        ("goal_with_tools_and_critic", an_answer_too_many, "t1", "executor/9/9", "step"),
        ("goal_with_tools_and_critic", another_output, "t1", None, "output.text"),
        ("goal_with_tools_and_critic", another_plan, "plan", None, "output.tasks"),
        ("replanned_goal", another_new_plan, "t2.plan", None, "output.tasks"),
        ("replanned_goal", another_new_task, "t2.plan", None, "tasks.t2.n1.role"),
        ("replanned_goal", a_missing_new_task, "t2.plan", None, "tasks.t2.n2"),
        ("replanned_goal", a_failure_that_no_plan_helps, "t2", None, "planned again"),
        ("replanned_goal", another_failure, "t2.plan", None, "input.replan"),
        ("workflow_with_http_and_tools", another_argument, "read", "executor/tool.0", "arguments"),
        ("workflow_with_http_and_tools", another_file_read, "read", None, "output.text"),
        ("workflow_with_http_and_tools", no_address, "fetch", None, "status"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_the_first_difference_is_named(
    replay: Replay, name: str, change: Change, task: str, step: str | None, field: str
) -> None:
    recording = recorded(name)
    change(recording)

    found = (await replay.run(recording, tenant_id=NOBODY)).divergence

    assert found is not None
    assert (found.task, found.step) == (task, step)
    assert found.field.startswith(field)
    assert found.expected != found.actual


async def test_a_pure_task_is_computed_again(replay: Replay) -> None:
    recording = recorded("workflow_with_map_condition_and_review")
    recording["run"]["input"]["names"][0] = "Name a sea"

    found = (await replay.run(recording, tenant_id=NOBODY)).divergence

    assert found is not None
    assert (found.task, found.field) == ("list", "output")


async def test_a_plan_that_earlier_versions_asked_for_twice_within_a_round_is_replayed(replay: Replay) -> None:
    recording = recorded("one_task_goal")
    [first, *_] = steps(recording, "plan")
    again = {**copy.deepcopy(first), "key": "planner/0/1"}
    again["content"]["request"]["messages"] += ["the answer", "that it is no JSON"]
    first["content"]["text"] = "I would look it up."
    steps(recording, "plan").append(again)

    report = await replay.run(recording, tenant_id=NOBODY)

    assert report.divergence is None


async def test_a_format_that_nobody_knows_is_refused(replay: Replay) -> None:
    with pytest.raises(UnknownRecording, match="format 99"):
        await replay.run({"format": 99}, tenant_id=NOBODY)


def task(recording: dict[str, Any], key: str) -> dict[str, Any]:
    """A task."""
    found: dict[str, Any] = next(each for each in recording["tasks"] if each["key"] == key)
    return found


def journal(recording: dict[str, Any], key: str) -> dict[str, Any]:
    """The journal of a task."""
    found: dict[str, Any] = next(each for each in recording["journals"] if each["task_key"] == key)
    return found


def steps(recording: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The steps of a task's journal."""
    found: list[dict[str, Any]] = journal(recording, key)["steps"]
    return found
