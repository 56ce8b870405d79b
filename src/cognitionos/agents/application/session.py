"""An agent run being worked on: what its journal holds, and the only way to add to it."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cognitionos.agents.application.assignment import Chat, Identity
from cognitionos.agents.application.ports import EffectStart, Journal, Observer, ToolContext
from cognitionos.agents.application.step_events import event_of
from cognitionos.agents.domain.agent_run import (
    AgentFailed,
    AgentRunState,
    AgentRunStatus,
    Place,
    Step,
    StepKind,
    Totals,
    idempotency_key,
    totals_of,
)
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.tool import Effect
from cognitionos.agents.domain.workspace import FileChanges
from cognitionos.kernel.json_text import storable
from cognitionos.llm_gateway.facade import Caller
from cognitionos.platform.crash_points import crash_point, declare

AFTER_STEP = declare("agents.after_step")
MOST_SHARED_BYTES = 256 * 1024
"""Files beyond this are written apart: a commit that is shared must not hold up the others' for long."""


@dataclass(eq=False, kw_only=True)
class Session:
    """The journal of one agent run, open for writing under one fencing number.

    `chain` are the agents that the task was given to, one after the other. Each has its own limits, and together they
    have no more than the largest of them: a hand-off gives nobody anew what is used up.
    """

    identity: Identity
    journal: Journal
    observe: Observer
    state: AgentRunState
    roles: dict[str, AgentDefinition] = field(default_factory=dict)
    chain: list[AgentDefinition] = field(default_factory=list)
    windows: dict[str, int | None] = field(default_factory=dict)
    steps: dict[str, Step] = field(init=False)
    asking: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        """Begin with what is journaled."""
        self.steps = dict(self.state.steps)

    @property
    def place(self) -> Place:
        """Where steps go, and by which right."""
        who = self.identity
        return Place(
            tenant_id=who.tenant_id,
            run_id=who.run_id,
            agent_run_id=self.state.agent_run_id,
            task_id=None if isinstance(who, Chat) else who.task_id,
            fence=who.fence,
        )

    @property
    def caller(self) -> Caller:
        """Who pays for a model call: every roll-up of the ledger and every budget finds it by this."""
        who = self.identity
        return Caller(
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            api_key_id=who.api_key_id,
            user=who.user,
            goal_id=who.goal_id,
            run_id=who.run_id,
            task_id=who.task_id,
            agent_run_id=self.state.agent_run_id,
            workflow=who.workflow,
            critical=who.critical,
            above=who.above,
        )

    @property
    def asks_anew(self) -> bool:
        """Whether a kept answer would be the one that this performance is to do without."""
        return self.identity.anew or self.state.anew

    def agent(self, role: str) -> AgentDefinition:
        """The agent of this role, in the version that the run began with."""
        return self.roles[role]

    @property
    def prompts(self) -> dict[str, str]:
        """The prompt version of each role, of those that the task was handed to as well."""
        made = dict(self.state.prompts)
        for step in self.steps.values():
            made |= step.content.get("prompts") or {}
        return made

    @property
    def totals(self) -> Totals:
        """The sums over all steps."""
        return totals_of(self.steps)

    def done(self, key: str) -> Step | None:
        """The step at this place, if it was finished in this or an earlier attempt."""
        if key in self.state.ahead:
            self.steps.setdefault(key, self.state.ahead[key])
        return self.steps.get(key)

    def tokens_left(self, definition: AgentDefinition) -> int:
        """How many more tokens the role may use, beside the questions (`asking`) that it has not been answered yet;
        money is held by the gateway. Raises `AgentFailed` for none.
        """
        used, allowed = totals_of(self.steps, role=definition.role).tokens, definition.limits.tokens
        if self._is_given_to(definition):
            together, most = self._together.tokens, max(each.limits.tokens for each in self.chain)
            used, allowed = max((used, allowed), (together, most), key=lambda each: each[0] - each[1])
        used += self.asking[definition.role]
        if used >= allowed:
            raise self.over(definition, f"used {used} tokens and is not done; {allowed} are allowed.")
        return allowed - used

    def over(self, definition: AgentDefinition, words: str, *, limit: str = "tokens") -> AgentFailed:
        """The end of a role at its limit, which is named."""
        words = f"The {definition.role} of task '{self.identity.task_key}' {words}"
        return AgentFailed(words, fields={"limit": limit})

    def calls_left(self, definition: AgentDefinition, *, again: int = 0) -> int:
        """How many more tool calls the role may make, not counting `again` of those that it made."""
        left = definition.limits.tool_calls - totals_of(self.steps, role=definition.role).tool_calls
        if self._is_given_to(definition):
            most = max(each.limits.tool_calls for each in self.chain)
            left = min(left, most - self._together.tool_calls)
        return max(0, left + again)

    def _is_given_to(self, definition: AgentDefinition) -> bool:
        return any(each.role == definition.role for each in self.chain)

    @property
    def _together(self) -> Totals:
        """What those whom the task was given to have used, with what was summed up for them."""
        roles = {each.role for each in self.chain}
        return totals_of(
            {key: step for key, step in self.steps.items() if {step.role, step.content.get("for")} & roles}
        )

    async def record(
        self,
        step: Step,
        *,
        told: tuple[str, dict[str, Any]] | None = None,
        changes: FileChanges | None = None,
        effect_key: str | None = None,
    ) -> None:
        """Journal `step` and tell whoever watches, in one commit where theirs can be shared.

        `told` is what is told (kind, data) of a step that does not say it by itself. The step is finished when this
        returns.
        """
        changes, together = changes or FileChanges(), self.identity.together
        event = event_of(step)
        if told is None and event is not None:
            told = (event.kind, dict(event.data))
        within = None
        if told is not None and together is not None and changes.bytes <= MOST_SHARED_BYTES:
            within = partial(together, *told)
        await self.journal.record(self.place, step, changes=changes, effect_key=effect_key, within=within)
        self.steps[step.key] = step
        crash_point(AFTER_STEP)
        self.observe.step(step)
        if told is not None and within is None:
            await self.report(*told)

    async def begin_effect(self, step_key: str, *, tool: str, effect: Effect, arguments: str) -> bool:
        """Note an effect before it happens; False when an earlier attempt did, and its end is unknown."""
        key = self.idempotency_key(step_key)
        return await self.journal.begin_effect(
            self.place,
            EffectStart(key=key, step_key=step_key, tool=tool, effect=effect, arguments=storable(arguments)),
        )

    async def finish(self, status: AgentRunStatus, *, error: str | None = None) -> None:
        """Say how the agent run ended."""
        await self.journal.finish(self.place, status, error=error)

    async def report(self, kind: str, data: dict[str, Any]) -> None:
        """Tell whoever watches the run."""
        await self.identity.report(kind, data)

    def idempotency_key(self, step_key: str) -> str:
        """The key of the call at this place, the same in every attempt; a retry that asks otherwise has another."""
        return idempotency_key(
            self.identity.run_id, self.identity.task_id, step_key, arguments=self._arguments(step_key)
        )

    def _arguments(self, step_key: str) -> str:
        """What the call at this place was asked with, as journaled with the model's answer."""
        answer, _, number = step_key.rpartition(".")
        step = self.steps.get(answer)
        calls = step.content.get("tool_calls") or () if step is not None else ()
        return (
            str(calls[int(number)]["function"]["arguments"]) if number.isdecimal() and int(number) < len(calls) else ""
        )

    def tool_context(self, step_key: str) -> ToolContext:
        """On whose behalf the tool call at this place is made."""
        who = self.identity
        return ToolContext(
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            goal_id=who.goal_id,
            run_id=who.run_id,
            task_id=who.task_id,
            user=who.user,
            idempotency_key=self.idempotency_key(step_key),
            caller=self.caller,
        )

    @property
    def last_model(self) -> tuple[str, bool]:
        """The model that answered the leading role last, and whether any model of this run was simulated."""
        answers = [step for step in self.steps.values() if step.kind is not StepKind.TOOL]
        led = [step.model for step in answers if step.role == self.identity.role]
        return (led[-1] if led else "", any(step.simulated for step in answers))
