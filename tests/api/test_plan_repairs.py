"""A plan that is none gets one repair call, whatever is wrong with it; then its goal fails. The real planner asks."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.api.agent_stage import Stage, a_stage_for, fields_wanted, goal_of
from tests.conftest import Run
from tests.upstream import Say

from cognitionos.platform.config import Settings

GOOD = {"title": "Look", "instructions": "Look it up."}
FIRST_ANSWERS = {
    "words": ("I would look it up first.", "it is not JSON (there is no JSON in the answer)"),
    "nothing": ("", "it is not JSON (there is no JSON in the answer)"),
    "half": ('{"t1": {"title": "Lo', "it is not JSON (there is no JSON in the answer)"),
    "list": ("[1, 2]", "The answer must be a JSON object"),
    "type": (json.dumps({"t1": {**GOOD, "review": [1]}}), "t1.review: must be true or false"),
    "lost": (json.dumps({"t1": {**GOOD, "depends_on": ["t7x"]}}), "t1.depends_on: names 't7x'"),
    "cycle": (
        json.dumps({"t1": {**GOOD, "depends_on": ["t2"]}, "t2": {**GOOD, "depends_on": ["t1"]}}),
        "the dependencies go round: t1 -> t2 -> t1",
    ),
}
"""What the planner says first, by a word of the goal, and what it is told of it."""


def speak(body: dict[str, Any]) -> Say:
    """Answers as the goal's first word says; asked again, with a plan where its second is `then`."""
    wanted = fields_wanted(body)
    if "t1" not in wanted:
        return Say(text="It is 7.")
    name, also = body["messages"][1]["content"].split("## Goal\n")[1].split()[:2]
    if len(body["messages"]) == 2 or also == "always":
        return Say(text=FIRST_ANSWERS[name][0])
    return Say(text=json.dumps({**dict.fromkeys(wanted), "t1": GOOD}))


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[Stage]:
    stack = AsyncExitStack()
    yield run(a_stage_for(stack, settings, speak))
    run(stack.aclose())


def planner_calls(stage: Stage, statement: str) -> list[list[dict[str, Any]]]:
    """The messages of each call that asked for a plan of this goal."""
    asked = [each["messages"] for each in stage.upstream.calls if "t1" in fields_wanted(each)]
    return [each for each in asked if statement in each[1]["content"]]


@pytest.mark.parametrize("name", FIRST_ANSWERS)
async def test_the_second_call_is_told_what_was_wrong_and_is_the_last(stage: Stage, name: str) -> None:
    statement = f"{name} then something better"

    goal = await goal_of(stage.client, statement)

    assert goal["status"] == "succeeded", goal["error"]
    _, repair = planner_calls(stage, statement)
    answered, told = repair[2:]
    assert answered["content"] == (FIRST_ANSWERS[name][0] or "(nothing)")
    assert FIRST_ANSWERS[name][1] in told["content"]
    replayed = (await stage.client.post(f"/v1/runs/{goal['run_id']}/replay")).json()
    assert (replayed["divergence"], replayed["model_calls"]) == (None, 0)


@pytest.mark.parametrize("name", FIRST_ANSWERS)
async def test_after_it_the_goal_fails_and_its_problem_names_what_is_wrong(stage: Stage, name: str) -> None:
    statement = f"{name} always the same"

    goal = await goal_of(stage.client, statement)

    assert len(planner_calls(stage, statement)) == 2
    assert (goal["status"], goal["error"]["type"]) == ("failed", "/problems/invalid-plan")
    assert FIRST_ANSWERS[name][1] in goal["error"]["detail"]
    assert "gpt-4o-mini" in goal["error"]["detail"]
