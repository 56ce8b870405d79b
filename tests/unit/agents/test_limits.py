"""What one agent run may use, at the border: exactly the limit, one above, side by side, handed on, judged, resumed."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.fakes.agents_bench import Bench, Recorder, a_tool, an_assignment
from tests.fakes.agents_gateway import ScriptedGateway, calls, says, verdict
from tests.waiting import eventually

from cognitionos.agents.application.ports import ToolAnswer, ToolContext
from cognitionos.agents.domain.context_window import estimated_tokens
from cognitionos.agents.domain.role import AgentDefinition, Limits
from cognitionos.agents.domain.tool import CallOutcome
from cognitionos.agents.facade import AgentFailed
from cognitionos.llm_gateway.facade import ChatRequest, ChatResult, Usage


def doubling(number: int) -> ChatResult:
    return calls(*[("double", {"n": each}) for each in range(number)])


def an_agent(name: str, *hand_off_to: str, **limits: Any) -> AgentDefinition:
    return AgentDefinition(
        role=name,
        description=name,
        prompt_name="executor",
        tools=("double",),
        hand_off_to=hand_off_to,
        limits=Limits(**limits),
    )


def to(agent: str) -> ChatResult:
    return calls(("hand_off", {"agent": agent, "reason": "go on"}))


@pytest.mark.parametrize("wanted", [9, 10, 11, 12])
async def test_of_many_calls_in_one_answer_the_limit_is_made_and_the_rest_refused(wanted: int) -> None:
    bench = Bench.of(doubling(wanted), says("done"))

    await bench.agents.perform(an_assignment())

    assert len(bench.recorder.calls) == min(wanted, 10)
    outcomes = [outcome for _, outcome in bench.counts.tools]
    assert outcomes.count(CallOutcome.REFUSED) == max(0, wanted - 10)
    assert bench.gateway.requests[1].tool_choice == (None if wanted < 10 else "none")
    shown = [each for each in bench.gateway.requests[1].messages if each["role"] == "tool"]
    assert len(shown) == wanted


async def test_calls_over_several_answers_are_counted_together() -> None:
    bench = Bench.of(doubling(6), doubling(6), doubling(1), says("done"))

    await bench.agents.perform(an_assignment())

    assert len(bench.recorder.calls) == 10


async def test_taking_up_a_broken_batch_makes_no_call_beyond_the_limit() -> None:
    made = asyncio.Event()

    async def waits_at_first(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        recorder.calls.append((context.idempotency_key, dict(arguments)))
        if arguments["n"] == 0:
            made.set()
            await asyncio.Event().wait()
        return ToolAnswer(content={"doubled": 0})

    recorder, assignment = Recorder(), an_assignment()
    limits = Limits(tool_calls=3)
    first = Bench.of(doubling(9), tools=[a_tool(waits_at_first)], limits=limits, recorder=recorder)
    broken = asyncio.create_task(first.agents.perform(assignment))
    await made.wait()

    async def others_ended() -> bool:
        return len(first.counts.tools) == 8

    await eventually(others_ended)
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)
    again = first.another(says("done"), limits=limits)

    await again.agents.perform(assignment)

    assert sorted(call[1]["n"] for call in recorder.calls) == [0, 0, 1, 2]


async def test_who_takes_over_goes_on_with_what_is_left() -> None:
    desk, writer = an_agent("desk", "writer"), an_agent("writer", "desk")
    bench = Bench.of(
        doubling(6), to("writer"), doubling(6), to("desk"), doubling(6), says("done"), agents=(desk, writer)
    )

    outcome = await bench.agents.perform(an_assignment(role="desk"))

    assert outcome.text == "done"
    assert len(bench.recorder.calls) + 1 == 10  # one hand-off was a call too


async def test_a_small_agent_may_hand_on_to_a_larger_one() -> None:
    clerk, writer = an_agent("clerk", "writer", tool_calls=1, tokens=2_000), an_agent("writer", tool_calls=5)
    bench = Bench.of(to("writer"), doubling(9), says("done"), agents=(clerk, writer))

    await bench.agents.perform(an_assignment(role="clerk"))

    assert len(bench.recorder.calls) == 4


async def test_tokens_are_not_multiplied_by_handing_on() -> None:
    limits = {"tokens": 2_000, "tool_calls": 30}
    desk, writer = an_agent("desk", "writer", **limits), an_agent("writer", "desk", **limits)
    used = says("", usage=Usage(prompt=800, completion=100))
    lines = [ChatResult(**{**_fields(line), "usage": used.usage}) for line in (to("writer"), to("desk"), says("done"))]
    bench = Bench.of(*lines, agents=(desk, writer))

    with pytest.raises(AgentFailed) as failed:
        await bench.agents.perform(an_assignment(role="desk"))

    assert failed.value.fields == {"limit": "tokens"}
    assert len(bench.gateway.requests) == 2


@pytest.mark.parametrize("spent", [1_999, 2_000, 2_001])
async def test_an_answer_that_uses_the_last_token_counts_and_nothing_is_asked_after_it(spent: int) -> None:
    final = says("done", usage=Usage(prompt=spent - 10, completion=10))
    bench = Bench.of(final, limits=Limits(tokens=2_000))

    outcome = await bench.agents.perform(an_assignment())

    assert (outcome.text, len(bench.gateway.requests)) == ("done", 1)
    more = doubling(1)
    over = Bench.of(
        ChatResult(**{**_fields(more), "usage": final.usage}), says("never asked"), limits=Limits(tokens=2_000)
    )
    with pytest.raises(AgentFailed) as failed:
        await over.agents.perform(an_assignment())
    assert failed.value.fields == {"limit": "tokens"}
    assert len(over.gateway.requests) == 1


async def test_no_answer_may_be_longer_than_what_is_left() -> None:
    bench = Bench.of(doubling(1), says("done"), limits=Limits(tokens=2_000))

    await bench.agents.perform(an_assignment())

    first, second = (request.max_tokens for request in bench.gateway.requests)
    assert first is not None
    assert second is not None
    assert second <= 2_000 - 110 < 2_000


async def test_critics_side_by_side_share_what_their_role_has() -> None:
    there = asyncio.Event()

    class Slow(ScriptedGateway):
        async def complete(self, caller: Any, request: ChatRequest) -> ChatResult:
            if request.role == "critic":
                self.requests.append(request)
                await there.wait()
                return verdict()
            return await super().complete(caller, request)

    gateway = Slow(lines=[says("It is 42. " * 150)])
    bench = Bench.of(gateway=gateway, limits=Limits(tokens=2_000))
    working = asyncio.create_task(bench.agents.perform(an_assignment(review=True, critics=("critic",) * 6)))

    async def all_were_asked_or_refused() -> bool:
        return len(gateway.requests) > 1 and len(asyncio.all_tasks()) < 6

    await eventually(all_were_asked_or_refused)
    there.set()
    await asyncio.gather(working, return_exceptions=True)

    asked = [request for request in gateway.requests if request.role == "critic"]
    assert sum(estimated_tokens(request.messages) for request in asked) <= 2_000
    assert 0 < len(asked) < 6


async def test_rounds_with_a_critic_share_the_limits_of_one_performance() -> None:
    bench = Bench.of(
        doubling(5), says("one"), verdict("no"), doubling(5), says("two"), verdict("no"), doubling(5), says("three"),
        verdict(),
    )  # fmt: skip

    outcome = await bench.agents.perform(an_assignment(review=True))

    assert (outcome.rounds, len(bench.recorder.calls)) == (3, 10)


def _fields(result: ChatResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in result.__dataclass_fields__}
