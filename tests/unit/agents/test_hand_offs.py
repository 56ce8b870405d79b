"""An agent gives its task to another: recorded, taken up again after a crash, at most three times."""

import pytest
from tests.fakes.agents_bench import Bench, an_assignment
from tests.fakes.agents_gateway import calls, says, verdict

from cognitionos.agents.domain.agent_run import StepKind
from cognitionos.agents.domain.role import AgentDefinition

DESK = AgentDefinition(
    role="desk", description="Sorts.", prompt_name="executor", tools=("double",), hand_off_to=("writer", "desk")
)
WRITER = AgentDefinition(role="writer", description="Writes.", prompt_name="researcher", hand_off_to=("desk",))
TO_WRITER = calls(("hand_off", {"agent": "writer", "reason": "It wants prose: mind the tone."}))
TO_DESK = calls(("hand_off", {"agent": "desk", "reason": "No prose after all."}))


def a_bench(*lines: object) -> Bench:
    return Bench.of(*lines, agents=(DESK, WRITER))


async def test_another_agent_ends_the_task_and_knows_why_and_what_was_done() -> None:
    bench = a_bench(calls(("double", {"n": 21})), TO_WRITER, says("Forty-two it is."))

    outcome = await bench.agents.perform(an_assignment(role="desk", report=bench.recorder.report))

    assert outcome.text == "Forty-two it is."
    assert outcome.prompt_versions == {"desk": "executor@1", "writer": "researcher@1"}
    system, shown = bench.gateway.requests[-1].messages
    assert system["content"].startswith("You are the researcher")
    for part in ("Double 21.", "Handed over by desk", "mind the tone", "you called double with", '{"doubled": 42}'):
        assert part in shown["content"]
    told = [data for kind, data in bench.recorder.events if kind == "agent.handed_off"]
    assert told == [{"from": "desk", "to": "writer", "reason": "It wants prose: mind the tone.", "depth": 1}]


async def test_a_hand_off_is_only_possible_to_agents_that_are_named() -> None:
    bench = a_bench(calls(("hand_off", {"agent": "critic", "reason": "why not"})), says("alone then"))

    outcome = await bench.agents.perform(an_assignment(role="desk"))

    assert outcome.text == "alone then"
    assert "agent must be one of 'writer', 'desk'" in bench.gateway.requests[1].messages[-1]["content"]


async def test_after_three_hand_offs_there_is_no_fourth() -> None:
    bench = a_bench(TO_WRITER, TO_DESK, TO_WRITER, TO_DESK, says("the writer, then"))

    outcome = await bench.agents.perform(an_assignment(role="desk"))

    offered = [request.offered_tools for request in bench.gateway.requests]
    assert outcome.text == "the writer, then"
    assert ["hand_off" in tools for tools in offered] == [True, True, True, False, False]
    assert "There is no tool 'hand_off'" in bench.gateway.requests[-1].messages[-1]["content"]


async def test_a_draft_that_is_sent_back_goes_to_who_took_over() -> None:
    bench = a_bench(TO_WRITER, says("short"), verdict("longer"), says("longer text"), verdict())

    outcome = await bench.agents.perform(an_assignment(role="desk", review=True))

    assert (outcome.text, outcome.rounds) == ("longer text", 2)
    assert bench.gateway.requests[3].role == "writer"


async def test_a_hand_off_is_not_repeated_when_the_task_is_taken_up_again() -> None:
    bench = a_bench(TO_WRITER, ConnectionError("gone"))
    task = an_assignment(role="desk")
    with pytest.raises(ConnectionError):
        await bench.agents.perform(task)
    second = bench.another(says("done"), agents=(DESK, WRITER))

    outcome = await second.agents.perform(task)

    assert outcome.text == "done"
    assert [request.role for request in second.gateway.requests] == ["writer"]
    [run] = bench.journal.runs.values()  # type: ignore[attr-defined]
    assert [step.kind for step in run.steps.values()] == [
        StepKind.MODEL,
        StepKind.TOOL,
        StepKind.DECISION,
        StepKind.MODEL,
    ]
