"""The agent's loop over a scripted model: steps, tools, what goes wrong, limits."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.agents_bench import Bench, a_tool, an_assignment
from tests.fakes.agents_gateway import calls, says

from cognitionos.agents.application.ports import ToolAnswer, ToolContext
from cognitionos.agents.domain.role import Limits
from cognitionos.agents.domain.tool import CallOutcome
from cognitionos.agents.facade import AgentFailed, AgentNotFound, LeaseLost
from cognitionos.kernel.errors import Invalid
from cognitionos.llm_gateway.facade import BudgetExhausted, ProviderUnavailable


def tool_answers(bench: Bench) -> list[dict[str, Any]]:
    """What the model was last shown of its tools' answers."""
    return [json.loads(each["content"]) for each in bench.gateway.requests[-1].messages if each["role"] == "tool"]


async def test_an_agent_calls_a_tool_and_answers_with_what_it_saw() -> None:
    bench = Bench.of(calls(("double", {"n": 21})), says("It is 42."))

    outcome = await bench.agents.perform(an_assignment(report=bench.recorder.report))

    assert outcome.text == "It is 42."
    assert (outcome.model, outcome.steps, outcome.rounds) == ("scripted/model", 3, 0)
    assert (outcome.cost_nanousd, outcome.prompt_tokens, outcome.completion_tokens) == (14, 200, 20)
    assert outcome.prompt_versions == {"executor": "executor@2"}
    assert tool_answers(bench) == [{"doubled": 42}]
    assert [kind for kind, _ in bench.recorder.events] == ["agent.answered", "agent.tool_called", "agent.answered"]


async def test_the_agent_is_shown_its_prompt_and_everything_it_needs_for_the_task() -> None:
    bench = Bench.of(says("done"))
    assignment = an_assignment(
        expected_output="a number", inputs={"t1": "the number is 21"}, memories=("Doubling is adding to itself.",)
    )
    await bench.files.put_input(
        assignment.tenant_id, assignment.run_id, name="n.csv", media_type="text/csv", content=b"n"
    )

    await bench.agents.perform(assignment)

    system, task = bench.gateway.requests[0].messages
    assert system["content"].startswith("You are the executor of CognitionOS.")
    for part in ("Know the double of 21", "Double 21.", "a number", "the number is 21", "n.csv", "adding to itself"):
        assert part in task["content"]


async def test_every_model_call_names_the_goal_the_task_and_the_agent_run() -> None:
    bench = Bench.of(says("done"))
    assignment = an_assignment()

    await bench.agents.perform(assignment)

    caller = bench.gateway.callers[0]
    assert (caller.tenant_id, caller.goal_id, caller.run_id, caller.task_id) == (
        assignment.tenant_id,
        assignment.goal_id,
        assignment.run_id,
        assignment.task_id,
    )
    assert bench.gateway.budgets == {f"agent_run:{caller.agent_run_id}": 1_000_000_000}


async def test_calls_of_one_answer_run_side_by_side_and_answer_in_order() -> None:
    both_there = asyncio.Barrier(2)

    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        await both_there.wait()
        return ToolAnswer(content={"doubled": arguments["n"] * 2})

    bench = Bench.of(calls(("double", {"n": 1}), ("double", {"n": 2})), says("2 and 4"), tools=[a_tool(run)])

    await bench.agents.perform(an_assignment())

    assert tool_answers(bench) == [{"doubled": 2}, {"doubled": 4}]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (("double", "{not json"), "not a JSON object"),
        (("double", "[1]"), "not a JSON object"),
        (("double", {"n": "one"}), "n must be of type integer"),
        (("double", {}), "n is missing"),
        (("double", {"n": 1, "m": 2}), "m is not known"),
        (("format_disk", {}), "There is no tool 'format_disk'. There are: double"),
    ],
)
async def test_a_call_that_does_not_fit_is_told_to_the_model_and_not_run(wanted: tuple[str, Any], told: str) -> None:
    bench = Bench.of(calls(wanted), says("sorry"))

    outcome = await bench.agents.perform(an_assignment())

    assert outcome.text == "sorry"
    assert told in tool_answers(bench)[0]["error"]
    assert bench.recorder.calls == []
    assert [ended for _, ended in bench.counts.tools] == [CallOutcome.REFUSED]


async def test_a_tool_s_refusal_is_told_to_the_model() -> None:
    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        raise Invalid("too odd", fields={"n": "odd"})

    bench = Bench.of(calls(("double", {"n": 1})), says("then not"), tools=[a_tool(run)])

    await bench.agents.perform(an_assignment())

    assert tool_answers(bench) == [{"error": "too odd", "fields": {"n": "odd"}}]


async def test_a_tool_that_does_not_end_is_given_up_and_the_model_told() -> None:
    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        await asyncio.Event().wait()
        raise AssertionError("never")

    bench = Bench.of(calls(("double", {"n": 1})), says("too slow"), tools=[a_tool(run, timeout_s=0.01)])

    await bench.agents.perform(an_assignment())

    assert "did not end within 0.01 s" in tool_answers(bench)[0]["error"]


async def test_a_long_tool_answer_is_clipped_and_says_so() -> None:
    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        return ToolAnswer(content={"text": "x" * 100_000})

    bench = Bench.of(calls(("double", {"n": 1})), says("long"), tools=[a_tool(run)])

    await bench.agents.perform(an_assignment())

    shown = tool_answers(bench)[0]
    assert shown["characters"] > 100_000
    assert "characters left out" in shown["clipped"]


async def test_calls_beyond_the_limit_are_refused_and_tools_no_longer_offered() -> None:
    bench = Bench.of(
        calls(("double", {"n": 1}), ("double", {"n": 2}), ("double", {"n": 3})),
        says("2, 4"),
        limits=Limits(tool_calls=2),
    )

    await bench.agents.perform(an_assignment())

    assert "No more tool calls" in tool_answers(bench)[2]["error"]
    assert len(bench.recorder.calls) == 2
    assert [request.tool_choice for request in bench.gateway.requests] == [None, "none"]


async def test_an_agent_that_never_answers_fails() -> None:
    lines = [calls(("double", {"n": number})) for number in range(10)]
    bench = Bench.of(*lines, limits=Limits(tool_calls=1))

    with pytest.raises(AgentFailed, match="came to no result within its 1 tool calls"):
        await bench.agents.perform(an_assignment())

    assert len(bench.recorder.calls) == 1


async def test_an_agent_out_of_tokens_fails_before_its_next_call() -> None:
    bench = Bench.of(calls(("double", {"n": 1})), says("never asked"), limits=Limits(tokens=300))

    with pytest.raises(AgentFailed, match="has 190 of its 300 tokens left; its next question alone is about") as failed:
        await bench.agents.perform(an_assignment())

    assert failed.value.fields == {"limit": "tokens"}

    assert len(bench.gateway.requests) == 1


async def test_an_agent_out_of_time_fails() -> None:
    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        await asyncio.Event().wait()
        raise AssertionError("never")

    bench = Bench.of(calls(("double", {"n": 1})), tools=[a_tool(run)])

    with pytest.raises(AgentFailed, match=r"did not end within 0\.02 s"):
        await bench.agents.perform(an_assignment(deadline_s=0.02))


async def test_an_empty_answer_is_asked_for_once_more() -> None:
    bench = Bench.of(says("  "), says("here"))

    outcome = await bench.agents.perform(an_assignment())

    assert outcome.text == "here"
    assert "gave no answer" in bench.gateway.requests[1].messages[-1]["content"]


async def test_an_answer_that_was_cut_says_so() -> None:
    bench = Bench.of(says("half of i", finish_reason="length"))

    outcome = await bench.agents.perform(an_assignment())

    assert outcome.text.startswith("half of i\n\n[The answer was cut")


@pytest.mark.parametrize(
    "error", [BudgetExhausted("spent", subject="goal:1"), ProviderUnavailable("nobody answers")], ids=["money", "gone"]
)
async def test_what_the_gateway_refuses_passes_through_unchanged(error: Exception) -> None:
    bench = Bench.of(error)

    with pytest.raises(type(error)) as raised:
        await bench.agents.perform(an_assignment())

    assert raised.value is error


async def test_a_simulated_answer_is_named_as_such() -> None:
    bench = Bench.of(says("words", simulated=True, model="simulated/scenarios"))

    outcome = await bench.agents.perform(an_assignment())

    assert outcome.simulated
    assert outcome.model == "simulated/scenarios"


async def test_an_unknown_role_is_not_found() -> None:
    with pytest.raises(AgentNotFound, match="'wizard'"):
        await Bench.of().agents.perform(an_assignment(role="wizard"))


async def test_a_lease_lost_while_calls_run_side_by_side_is_told_as_that_and_not_as_a_group() -> None:
    assignment = an_assignment()

    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        if arguments["n"] == 1:
            await bench.another(says("mine")).agents.perform(replace(assignment, fence=2))
        return ToolAnswer(content={})

    bench = Bench.of(calls(("double", {"n": 1}), ("double", {"n": 2})), says("never"), tools=[a_tool(run)])

    with pytest.raises(LeaseLost):
        await bench.agents.perform(assignment)

    assert len(bench.gateway.requests) == 1


async def test_a_cancelled_agent_asks_and_runs_nothing_more() -> None:
    has_begun, was_stopped = asyncio.Event(), asyncio.Event()

    async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_stopped.set()
        raise AssertionError("never")

    bench = Bench.of(calls(("double", {"n": 1})), says("never"), tools=[a_tool(run)])
    working = asyncio.create_task(bench.agents.perform(an_assignment()))
    await has_begun.wait()

    working.cancel()

    with pytest.raises(asyncio.CancelledError):
        await working
    assert was_stopped.is_set()
    assert len(bench.gateway.requests) == 1
