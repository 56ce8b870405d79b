"""Several critics: two thirds of them accept, by a deadline, each apart from the others."""

import asyncio
from typing import Any

import pytest
from tests.fakes.agents_bench import Bench, an_assignment
from tests.fakes.agents_gateway import ScriptedGateway, says, verdict

from cognitionos.agents.domain.consensus import Consensus
from cognitionos.agents.domain.verdict import Verdict
from cognitionos.agents.facade import AgentFailed
from cognitionos.llm_gateway.facade import Caller, ChatRequest, ChatResult

THREE = ("critic",) * 3
YES, NO = Verdict(accepted=True, reasons=()), Verdict(accepted=False, reasons=("no",))


class SilentCritics(ScriptedGateway):
    """Some critics never answer."""

    async def complete(self, caller: Caller, request: ChatRequest) -> ChatResult:
        if any(f"critic {number} of" in str(request.messages[0]["content"]) for number in self.silent):
            await asyncio.Event().wait()
        return await super().complete(caller, request)

    silent: tuple[int, ...] = ()


def with_silent(silent: tuple[int, ...], *lines: Any) -> Bench:
    gateway = SilentCritics(list(lines))
    gateway.silent = silent
    return Bench.of(gateway=gateway)


@pytest.mark.parametrize(
    ("critics", "votes", "accepted"),
    [(3, [YES, YES, NO], True), (3, [YES, NO, NO], False), (3, [YES, YES], True), (4, [YES, YES, NO, NO], False)],
)
def test_two_thirds_of_those_asked_must_accept(critics: int, votes: list[Verdict], *, accepted: bool) -> None:
    assert Consensus(critics=critics, votes=dict(enumerate(votes))).is_accepted is accepted


async def test_critics_judge_apart_and_two_of_three_carry_a_draft() -> None:
    bench = Bench.of(says("42"), verdict(), verdict("too short"), verdict())
    task = an_assignment(review=True, critics=THREE, report=bench.recorder.report)

    outcome = await bench.agents.perform(task)

    assert (outcome.text, outcome.rounds) == ("42", 1)
    systems = [str(request.messages[0]["content"]) for request in bench.gateway.requests[1:]]
    assert all(f"critic {number} of 3" in text for number, text in enumerate(systems, 1))
    told = [data for kind, data in bench.recorder.events if kind == "agent.verdict"]
    assert told == [{"round": 1, "accepted": True, "reasons": [], "critics": 3, "votes": 3}]


async def test_one_of_three_sends_back_with_every_reason_of_the_others() -> None:
    bench = Bench.of(says("41"), verdict("wrong"), verdict("too short"), verdict(), says("42"), *[verdict()] * 3)

    outcome = await bench.agents.perform(an_assignment(review=True, critics=THREE))

    assert (outcome.text, outcome.rounds) == ("42", 2)
    revision = bench.gateway.requests[4].messages[-1]["content"]
    assert "- wrong" in revision
    assert "- too short" in revision


async def test_a_silent_critic_holds_nobody_up_after_the_deadline() -> None:
    bench = with_silent((2,), says("42"), verdict(), verdict())

    outcome = await bench.agents.perform(an_assignment(review=True, critics=THREE, consensus_s=0.2))

    assert outcome.rounds == 1


@pytest.mark.parametrize(
    ("votes", "rounds"),
    [([verdict(), verdict()], 1), ([verdict("no"), verdict("nor here"), says("43"), verdict(), verdict()], 2)],
)
async def test_what_two_of_three_say_is_decided_in_half_a_second_though_the_third_is_silent(
    votes: list[Any], rounds: int
) -> None:
    bench = with_silent((2,), says("42"), *votes)
    loop = asyncio.get_running_loop()
    begun = loop.time()

    outcome = await bench.agents.perform(an_assignment(review=True, critics=THREE, consensus_s=60))

    assert outcome.rounds == rounds
    assert loop.time() - begun < 0.5


async def test_without_two_thirds_by_the_deadline_the_task_fails_and_says_why() -> None:
    bench = with_silent((2, 3), says("42"), verdict())

    with pytest.raises(
        AgentFailed, match=r"No two thirds of the 3 critics .* agreed: 1 gave a verdict .*0\.2 s"
    ) as failed:
        await bench.agents.perform(an_assignment(review=True, critics=THREE, consensus_s=0.2))

    assert failed.value.fields == {"limit": "consensus deadline"}


async def test_what_was_agreed_on_is_not_asked_again() -> None:
    bench = with_silent((2,), says("41"), verdict("no"), verdict("no"), ConnectionError("gone"))
    task = an_assignment(review=True, critics=THREE, consensus_s=0.2)
    with pytest.raises(ConnectionError):
        await bench.agents.perform(task)
    second = bench.another(says("42"), *[verdict()] * 3)

    outcome = await second.agents.perform(task)

    assert outcome.rounds == 2
    assert len(second.gateway.requests) == 4
