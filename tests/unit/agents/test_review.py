"""The critic's loop and structured answers, over a scripted model."""

import json

import pytest
from tests.fakes.agents_bench import Bench, an_assignment
from tests.fakes.agents_gateway import calls, says, verdict

from cognitionos.agents.application.assignment import Question
from cognitionos.agents.facade import AgentFailed
from cognitionos.kernel.ids import new_id

SCHEMA = {"type": "object", "properties": {"t1": {"type": "object"}}, "required": ["t1"]}


def a_question(**changes: object) -> Question:
    """What planning asks its planner."""
    given: dict[str, object] = {
        "tenant_id": new_id(),
        "project_id": new_id(),
        "api_key_id": None,
        "user": None,
        "goal_id": new_id(),
        "run_id": new_id(),
        "task_id": new_id(),
        "task_key": "plan",
        "fence": 1,
        "role": "planner",
        "deadline_s": 30.0,
        "variables": {"goal": "Double 21", "memories": "", "max_tasks": "12"},
        "schema": SCHEMA,
    }
    return Question(**{**given, **changes})  # type: ignore[arg-type]


async def test_a_draft_sent_back_once_is_corrected_and_accepted() -> None:
    bench = Bench.of(says("41"), verdict("21 times 2 is 42"), says("42"), verdict())

    outcome = await bench.agents.perform(an_assignment(review=True, report=bench.recorder.report))

    assert (outcome.text, outcome.rounds, outcome.steps) == ("42", 2, 4)
    assert outcome.prompt_versions == {"executor": "executor@2", "critic": "critic@2"}
    assert bench.counts.verdicts == [False, True]
    revision = bench.gateway.requests[2].messages
    assert revision[-2]["content"] == "41"
    assert "- 21 times 2 is 42" in revision[-1]["content"]
    told = [data for kind, data in bench.recorder.events if kind == "agent.verdict"]
    assert told == [
        {"round": 1, "accepted": False, "reasons": ["21 times 2 is 42"]},
        {"round": 2, "accepted": True, "reasons": []},
    ]


async def test_three_rejections_fail_with_the_last_reason() -> None:
    bench = Bench.of(says("1"), verdict("no"), says("2"), verdict("still no"), says("3"), verdict("never"))

    with pytest.raises(AgentFailed, match="rejected the result of task 't1' 3 times; at last: never"):
        await bench.agents.perform(an_assignment(review=True))


async def test_the_critic_sees_the_task_the_result_and_what_the_tools_answered() -> None:
    bench = Bench.of(calls(("double", {"n": 21})), says("It is 42."), verdict())

    await bench.agents.perform(an_assignment(review=True, expected_output="a number"))

    system, shown = bench.gateway.requests[-1].messages
    assert system["content"].startswith("You are the critic of CognitionOS.")
    for part in ("Double 21.", "a number", "It is 42.", '{"doubled": 42}'):
        assert part in shown["content"]


async def test_a_verdict_that_does_not_fit_is_asked_for_once_more() -> None:
    bench = Bench.of(says("42"), says("Looks fine to me!"), verdict())

    outcome = await bench.agents.perform(an_assignment(review=True))

    assert outcome.rounds == 1
    assert "That does not fit: it is not JSON" in bench.gateway.requests[-1].messages[-1]["content"]


async def test_a_critic_who_cannot_be_understood_accepts_nothing() -> None:
    bench = Bench.of(says("42"), says("fine"), says('{"accepted": "yes", "reasons": []}'))

    with pytest.raises(AgentFailed, match="critic did not answer as asked: accepted must be of type boolean"):
        await bench.agents.perform(an_assignment(review=True))


async def test_a_question_is_answered_with_json_of_the_schema_asked_for() -> None:
    bench = Bench.of(says('Here it is:\n```json\n{"t1": {"title": "double"}}\n```'))

    answer = await bench.agents.ask(a_question())

    assert answer.value == {"t1": {"title": "double"}}
    assert (answer.prompt_version, answer.cost_nanousd) == ("planner@2", 7)
    request = bench.gateway.requests[0]
    assert request.response_format is not None
    assert request.response_format["json_schema"]["schema"] == SCHEMA
    assert "## Goal\nDouble 21" in request.messages[1]["content"]
    assert "Memories" not in request.messages[1]["content"]


async def test_an_objection_is_a_repair_round_that_shows_the_earlier_answer() -> None:
    bench = Bench.of(says("{}"), says('{"t1": {}}'))
    question = a_question()
    first = await bench.agents.ask(question)
    repair = a_question(
        run_id=question.run_id,
        task_id=question.task_id,
        tenant_id=question.tenant_id,
        previous=((first.text, "t1: a plan has at least one task"),),
    )

    second = await bench.agents.ask(repair)

    assert second.value == {"t1": {}}
    assert [each["content"] for each in bench.gateway.requests[1].messages[2:]] == [
        "{}",
        "t1: a plan has at least one task",
    ]
    assert second.cost_nanousd == 14


async def test_an_answer_that_is_no_json_is_given_with_its_fault_and_asked_for_once() -> None:
    bench = Bench.of(says("I will think about it"))

    answer = await bench.agents.ask(a_question())

    assert (answer.value, answer.text) == (None, "I will think about it")
    assert answer.fault == "it is not JSON (there is no JSON in the answer)"
    assert len(bench.gateway.requests) == 1


async def test_asking_again_answers_from_the_journal() -> None:
    bench = Bench.of(says(json.dumps({"t1": {}})))
    question = a_question()
    first = await bench.agents.ask(question)

    again = await bench.another().agents.ask(question)

    assert again == first
