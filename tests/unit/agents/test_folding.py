"""What no longer fits is summed up by a model call of its own, journaled, counted, and never asked for twice."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.fakes.agents_bench import Bench, a_tool, an_assignment
from tests.fakes.agents_gateway import calls, says

from cognitionos.agents.application.ports import ToolAnswer, ToolContext
from cognitionos.agents.domain.context_window import estimated_tokens, foldable, transcript
from cognitionos.agents.domain.role import Limits
from cognitionos.agents.domain.room import room_of
from cognitionos.agents.facade import AgentFailed, Assignment
from cognitionos.llm_gateway.facade import BudgetExhausted, ChatRequest, ChatResult, RequestRefused

WINDOW = 4_096
SUMMARY = "The first numbers were doubled; nothing failed."


async def long_answers(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
    return ToolAnswer(content={"text": str(arguments["n"]) * 1_500})


def an_agent(*, turns: int, summary: Any = SUMMARY) -> Any:
    """Calls the tool so many times, then is done; sums up as it is told (an exception: refuses to)."""
    made = iter([*(calls(("double", {"n": n % 10})) for n in range(turns)), says("done")])

    def answer(request: ChatRequest) -> ChatResult | Exception:
        if request.role == "summarizer":
            return summary if isinstance(summary, Exception) else says(summary)
        return next(made)

    return answer


def bench_of(*, turns: int, summary: Any = SUMMARY, window: int | None = WINDOW, **limits: Any) -> Bench:
    bench = Bench.of(
        *[an_agent(turns=turns, summary=summary)] * 99,
        tools=[a_tool(long_answers)],
        limits=Limits(**{"tool_calls": 50, "tokens": 900_000, **limits}),
    )
    bench.gateway.windows = window
    return bench


def asked_of(bench: Bench, role: str) -> list[ChatRequest]:
    return [request for request in bench.gateway.requests if request.role == role]


def with_tools(request: ChatRequest) -> int:
    return estimated_tokens(request.messages) + estimated_tokens([{"tool_calls": list(request.tools)}])


async def test_a_long_loop_keeps_under_the_window_of_its_model_and_its_steps_are_summed_up() -> None:
    bench, assignment = bench_of(turns=24), an_assignment()

    outcome = await bench.agents.perform(assignment)

    assert outcome.text == "done"
    assert all(with_tools(request) + (request.max_tokens or 0) <= WINDOW for request in bench.gateway.requests)
    summaries = [step for step in bench.counts.steps if step.key.startswith("summarizer/")]
    assert 2 <= len(summaries) == len(asked_of(bench, "summarizer")) < 24
    assert f"## Your earlier steps, summed up\n{SUMMARY}" in asked_of(bench, "executor")[-1].messages[1]["content"]
    assert summaries[1].content["covers"] > 0
    assert SUMMARY in asked_of(bench, "summarizer")[1].messages[1]["content"]
    assert outcome.prompt_versions == {"executor": "executor@2", "summarizer": "summarizer@2"}


async def test_what_is_summed_up_counts_against_the_limits_of_whom_it_is_for() -> None:
    plain, folded = bench_of(turns=8, window=None), bench_of(turns=8)

    without = await plain.agents.perform(an_assignment())
    outcome = await folded.agents.perform(an_assignment())

    number = len(asked_of(folded, "summarizer"))
    assert outcome.cost_nanousd == without.cost_nanousd + 7 * number
    with pytest.raises(AgentFailed, match=r"used|left"):
        await bench_of(turns=20, tokens=2_500, context_tokens=1_500, window=None).agents.perform(an_assignment())


async def test_a_worker_that_takes_over_does_not_have_the_same_steps_summed_up_again() -> None:
    bench, assignment = bench_of(turns=12), an_assignment()
    bench.gateway.lines[14:] = [BudgetExhausted("Nothing is left.", subject="x")]
    with pytest.raises(BudgetExhausted):
        await bench.agents.perform(assignment)
    done = len(asked_of(bench, "summarizer"))

    other = bench.another(
        *[an_agent(turns=2)] * 9, tools=[a_tool(long_answers)], limits=Limits(tool_calls=50, tokens=900_000)
    )
    other.gateway.windows = WINDOW
    outcome = await other.agents.perform(assignment)

    assert (outcome.text, done >= 1) == ("done", True)
    assert SUMMARY in asked_of(other, "executor")[0].messages[1]["content"]
    assert len(asked_of(other, "summarizer")) < done + 1


@pytest.mark.parametrize(
    "refusal", [BudgetExhausted("Nothing is left for it.", subject="x"), RequestRefused("Too long."), "  "]
)
async def test_where_nothing_can_be_summed_up_steps_become_lines_and_a_step_says_so(refusal: Any) -> None:
    bench = bench_of(turns=9, summary=refusal)

    outcome = await bench.agents.perform(an_assignment())

    shown = asked_of(bench, "executor")[-1].messages
    assert outcome.text == "done"
    assert "Your earlier steps, shortened to fit:\n1. you called double" in shown[1]["content"]
    assert all(with_tools(request) + (request.max_tokens or 0) <= WINDOW for request in bench.gateway.requests)
    assert len(asked_of(bench, "summarizer")) == 1
    if isinstance(refusal, Exception):
        [step] = [each for each in bench.counts.steps if each.content.get("shortened")]
        assert refusal.args[0] in step.content["text"] or str(refusal) in step.content["text"]


async def test_a_large_window_changes_nothing_and_says_nothing() -> None:
    bench = bench_of(turns=3, window=128_000)

    await bench.agents.perform(an_assignment())

    assert {step.kind.value for step in bench.counts.steps} == {"model", "tool"}
    assert {request.max_tokens for request in bench.gateway.requests} == {4_096}


async def test_results_of_earlier_tasks_are_clipped_to_a_small_window_and_say_so() -> None:
    bench = bench_of(turns=0)
    assignment: Assignment = an_assignment(inputs={"a": "x" * 20_000, "b": "y" * 20_000}, memories=("m" * 9_000,) * 5)

    await bench.agents.perform(assignment)

    [request] = bench.gateway.requests
    assert with_tools(request) + (request.max_tokens or 0) <= WINDOW
    assert "characters left out" in request.messages[1]["content"] or "[..." in request.messages[1]["content"]


async def test_a_task_that_no_window_holds_is_not_asked_and_the_limit_is_named() -> None:
    bench = bench_of(turns=0)

    with pytest.raises(AgentFailed, match="which reads 4096 tokens") as failed:
        await bench.agents.perform(an_assignment(instructions="x" * 20_000))

    assert failed.value.fields == {"limit": "context window"}
    assert bench.gateway.requests == []


@pytest.mark.parametrize(("window", "prompt", "completion"), [(None, 16_000, 4_096), (20_096, 16_000, 4_096)])
def test_a_window_that_is_large_enough_does_not_bound(window: int | None, prompt: int, completion: int) -> None:
    room = room_of(Limits(), window)

    assert (room.prompt, room.completion, room.window, room.characters) == (prompt, completion, None, None)


def test_a_small_window_is_shared_by_question_and_answer() -> None:
    room = room_of(Limits(), WINDOW)

    assert (room.prompt + room.completion, room.completion, room.characters) == (WINDOW, 1_024, 9_216)


def test_the_last_turn_is_never_summed_up() -> None:
    turn = [{"role": "assistant", "content": "x" * 3_000}, {"role": "user", "content": "y"}]

    assert foldable([], turn, limit=10) == 0
    assert foldable([], turn * 4, limit=10_000) == 0
    assert foldable([], turn * 4, limit=1_200) == 6


def test_a_transcript_keeps_to_its_limit_and_counts_what_it_leaves_out() -> None:
    text = transcript([{"role": "tool", "content": "z" * 9_000}] * 4, limit=1_000)

    assert len(text) < 3_000
    assert text.count("characters left out") == 4
