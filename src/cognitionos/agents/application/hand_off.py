"""Who works on a task after it was handed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cognitionos.agents.application.ports import Roster, Tool, ToolAnswer, ToolContext
from cognitionos.agents.application.session import Session
from cognitionos.agents.domain.agent_run import Step, StepKind
from cognitionos.agents.domain.context_window import Message, with_summary
from cognitionos.agents.domain.hand_off import HAND_OFF, MOST_HAND_OFFS, hand_off_spec, taken_over
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.tool import CallOutcome
from cognitionos.kernel.clock import Clock
from cognitionos.llm_gateway.facade import system


@dataclass(slots=True, kw_only=True)
class Stage:
    """An agent at work on a task: what it began with and what was said since. `hops` hand-offs led to it.

    `summary` stands for what was said before `rest`. `in_lines`: what does not fit is shortened, not summed up.
    """

    definition: AgentDefinition
    opening: Sequence[Message]
    rest: list[Message]
    hops: int = 0
    summary: str = ""
    in_lines: bool = False

    @property
    def shown(self) -> Sequence[Message]:
        """What it began with, and the summary."""
        return with_summary(self.opening, self.summary) if self.summary else self.opening

    def fold(self, content: Mapping[str, Any]) -> None:
        """Let a summary stand for the oldest messages, as a step's `content` says."""
        if not content["covers"] or not content["text"].strip():
            self.in_lines = True
            return
        self.summary = content["text"].strip()
        del self.rest[: content["covers"]]

    @property
    def allowed(self) -> AgentDefinition:
        """The agent; after the last hand-off without the tool for another."""
        return replace(self.definition, hand_off_to=()) if self.hops >= MOST_HAND_OFFS else self.definition

    def place(self, number: int) -> str:
        """Where in the performance draft `number` of this stage stands."""
        return f"{number}" if not self.hops else f"{number}+{self.hops}"


def hand_off_tool(agents: Sequence[str]) -> Tool:
    """The tool that says who goes on; the loop does the rest."""
    return Tool(spec=hand_off_spec(agents), run=_noted)


def handed_to(steps: Sequence[Step]) -> Step | None:
    """The first hand-off among tool calls that worked."""
    named = (step for step in steps if step.content["tool"] == HAND_OFF)
    return next((step for step in named if step.content["outcome"] == CallOutcome.OK.value), None)


async def next_stage(session: Session, stage: Stage, *, call: Mapping[str, Any], roster: Roster, now: Clock) -> Stage:
    """Who goes on, journaled with the versions it works with. Raises `AgentNotFound` for one that is gone."""
    tenant_id, hops, key = session.identity.tenant_id, stage.hops + 1, f"hand_off/{stage.hops + 1}"
    done = session.done(key)
    if done is None:
        taker = await roster.agent(tenant_id, call["agent"])
        content = {
            "text": call["reason"],
            "from": stage.definition.role,
            "agent": taker.role,
            "version": taker.version,
            "prompts": {taker.role: taker.prompt},
        }
        at = now()
        done = Step(key=key, role=taker.role, kind=StepKind.DECISION, content=content, started_at=at, ended_at=at)
        await session.record(done)
    taker = await roster.agent(tenant_id, done.content["agent"], version=done.content["version"])
    session.chain.append(taker)
    prompt = await roster.prompt(tenant_id, done.content["prompts"][taker.role])
    opening = taken_over(
        system(prompt.text), stage.shown, stage.rest, giver=done.content["from"], reason=done.content["text"]
    )
    return Stage(definition=taker, opening=opening, rest=[], hops=hops)


async def _noted(_context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
    return ToolAnswer(content={"handed_to": arguments["agent"]})
