"""Agents whose answers are looked up: recorded, shown to the critic, sent back once, put before a person, replayed."""

from typing import Any

import pytest
from tests.fakes.agents_bench import Bench, Recorder, an_assignment
from tests.fakes.agents_gateway import calls, says, verdict

from cognitionos.agents.domain.grounding import Grounding
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.facade import AgentFailed, NeedsApproval, ToolDecision

WRONG, RIGHT = "It is 43 and Oslo agrees.", "It is 42."


def an_auditor(grounding: Grounding, **changes: Any) -> AgentDefinition:
    given: dict[str, Any] = {
        "role": "auditor",
        "description": "Audits.",
        "prompt_name": "executor",
        "tools": ("double",),
    }
    return AgentDefinition(**{**given, "grounding": grounding, **changes})


def a_bench(grounding: Grounding, *lines: Any, **changes: Any) -> Bench:
    return Bench.of(calls(("double", {"n": 21})), *lines, agents=[an_auditor(grounding)], **changes)


def claims(content: Any) -> list[str]:
    return [each["text"] for each in content["unsupported"]]


async def test_a_report_records_what_nothing_supports_and_asks_nobody() -> None:
    bench = a_bench(Grounding.REPORT, says(WRONG))

    outcome = await bench.agents.perform(an_assignment(role="auditor", report=bench.recorder.report))

    assert (outcome.text, len(bench.gateway.requests), outcome.model) == (WRONG, 2, "scripted/model")
    assert claims(outcome.figures["grounding"]) == ["43", "Oslo"]
    [told] = [data for kind, data in bench.recorder.events if kind == "agent.checked"]
    assert (told["draft"], told["checked"], claims(told)) == (1, 2, ["43", "Oslo"])
    [step] = [step for step in bench.counts.steps if step.key == "grounding/0"]
    assert step.content["text"] == "2 of 2 claims are in nothing that the agent was given: 43; Oslo"


async def test_without_the_setting_nothing_is_looked_up() -> None:
    bench = a_bench(Grounding.OFF, says(WRONG))

    outcome = await bench.agents.perform(an_assignment(role="auditor"))

    assert outcome.check is None
    assert "grounding" not in outcome.figures


async def test_in_a_review_an_agent_without_a_critic_is_asked_once_more() -> None:
    bench = a_bench(Grounding.REVIEW, says(WRONG), says(RIGHT))

    outcome = await bench.agents.perform(an_assignment(role="auditor"))

    assert (outcome.text, outcome.rounds, outcome.figures["grounding"]["unsupported"]) == (RIGHT, 0, [])
    asked = bench.gateway.requests[-1].messages[-1]["content"]
    assert "- number: 43\n- name: Oslo" in asked


async def test_an_agent_that_insists_is_believed_and_its_claims_stay_on_record() -> None:
    bench = a_bench(Grounding.REVIEW, says(WRONG), says(WRONG))

    outcome = await bench.agents.perform(an_assignment(role="auditor"))

    assert (outcome.text, claims(outcome.figures["grounding"])) == (WRONG, ["43", "Oslo"])


async def test_a_critic_is_told_and_sends_back() -> None:
    bench = a_bench(Grounding.REVIEW, says(WRONG), verdict("43 is wrong"), says(RIGHT), verdict())

    outcome = await bench.agents.perform(an_assignment(role="auditor", review=True))

    assert (outcome.text, outcome.rounds) == (RIGHT, 2)
    first, second = (bench.gateway.requests[number].messages[-1]["content"] for number in (2, 4))
    assert "- number: 43\n- name: Oslo" in first
    assert "in nothing it was given" not in second


async def test_the_stricter_of_two_agents_counts_when_a_task_is_handed_on() -> None:
    giver = an_auditor(Grounding.REPORT, hand_off_to=("executor",))
    handing = calls(("hand_off", {"agent": "executor", "reason": "Yours."}))
    bench = Bench.of(handing, says(WRONG), agents=[giver])

    outcome = await bench.agents.perform(an_assignment(role="auditor"))

    assert claims(outcome.figures["grounding"]) == ["43", "Oslo"]


async def test_what_remains_waits_for_a_person_who_may_let_it_pass() -> None:
    bench = a_bench(Grounding.APPROVE, says(WRONG), says(WRONG))
    task = an_assignment(role="auditor")
    with pytest.raises(NeedsApproval) as needed:
        await bench.agents.perform(task)
    [asked] = needed.value.requests
    assert asked.arguments["answer"] == WRONG

    passed = await _decided(bench, task, asked.key, ToolDecision(approved=True, by="ada"))

    assert passed.text == WRONG
    assert bench.gateway.lines == []


async def test_an_answer_that_a_person_rejects_fails_the_task_with_their_words() -> None:
    bench = a_bench(Grounding.APPROVE, says(WRONG), says(WRONG))
    task = an_assignment(role="auditor")
    with pytest.raises(NeedsApproval) as needed:
        await bench.agents.perform(task)

    decision = ToolDecision(approved=False, by="ada", comment="never heard of it")
    with pytest.raises(AgentFailed, match=r"not accepted by ada \(never heard of it\): 43; Oslo"):
        await _decided(bench, task, needed.value.requests[0].key, decision)


async def test_a_supported_answer_waits_for_nobody() -> None:
    bench = a_bench(Grounding.APPROVE, says(RIGHT))

    assert (await bench.agents.perform(an_assignment(role="auditor"))).text == RIGHT


async def _decided(bench: Bench, task: Any, key: str, decision: ToolDecision) -> Any:
    """The task taken up by another worker, which asks no model: everything is in the journal."""
    again = bench.another(agents=[an_auditor(Grounding.APPROVE)], recorder=Recorder())
    given = {name: getattr(task, name) for name in ("tenant_id", "project_id", "goal_id", "run_id", "task_id")}
    return await again.agents.perform(an_assignment(role="auditor", fence=2, approvals={key: decision}, **given))
