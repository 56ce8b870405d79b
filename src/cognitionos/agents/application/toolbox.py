"""The tools of an agent: offered, checked, run under a deadline, journaled; what goes wrong is told to the model."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.agents.application.ports import Kit, KitOf, Observer, Tool, ToolAnswer, ToolContext, no_kit
from cognitionos.agents.application.session import Session
from cognitionos.agents.application.tool_access import CheckedCall, Refusal, check, permitted_tools
from cognitionos.agents.domain.agent_run import AgentFailed, LeaseLost, Step, StepKind
from cognitionos.agents.domain.approval import NeedsApproval, ToolApproval, ToolDecision
from cognitionos.agents.domain.quoted import inert_json
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.tool import (
    MAX_ARGUMENT_CHARACTERS,
    MAX_RESULT_CHARACTERS,
    MOST_TASK_RESULT,
    CallOutcome,
    Effect,
    ToolNotReached,
    clipped,
)
from cognitionos.agents.domain.tool_rule import ToolRule
from cognitionos.agents.domain.workspace import BadFileName, InputIsReadOnly, WorkspaceLimit
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import DomainError, Unavailable
from cognitionos.kernel.json_text import storable, within_depth
from cognitionos.llm_gateway.facade import BudgetExhausted, ToolCall, tool
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.telemetry import span

AFTER_TOOL_EFFECT = declare("agents.after_tool_effect")
_LONGEST_ERROR = 2_000
_NOTHING_ADDED = Kit(is_strict=False)
_SPENT = "No more tool calls are allowed. Give your answer from what you have."
_INTERRUPTED = (
    "The call was interrupted and it is not known whether it took effect. It was not repeated. Check before you "
    "try again."
)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a call ended. `passes`: to make it again does no harm, and may go better. `whole`: the answer of a task."""

    outcome: CallOutcome
    answer: ToolAnswer
    passes: bool = False
    whole: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """Every tool there is, by name; `kit_of` gives what a tenant adds to them and says of them."""

    tools: Mapping[str, Tool]
    now: Clock
    observe: Observer
    kit_of: KitOf = no_kit

    async def offered(self, tenant_id: UUID, definition: AgentDefinition) -> list[Mapping[str, Any]]:
        """The tools that `definition` may use and that can be had here, as the model is told of them."""
        permitted = permitted_tools(self.tools, await self.kit_of(tenant_id), definition)
        return [
            tool(each.spec.wire_name, each.spec.description, each.spec.parameters)
            for each in permitted.values()
            if each.why_not() is None
        ]

    async def call_all(
        self, session: Session, key: str, *, definition: AgentDefinition, calls: Sequence[ToolCall]
    ) -> list[Step]:
        """Run `calls` side by side; their steps in the order of the calls. Those beyond the limit are refused.

        Raises `NeedsApproval` for those that wait for a person, after all the others have been done.
        """
        left = session.calls_left(
            definition, again=sum(1 for n in range(len(calls)) if session.done(f"{key}.{n}") is not None)
        )
        kit = _NOTHING_ADDED
        if not all(session.done(f"{key}.{n}") for n in range(len(calls))):
            kit = await self.kit_of(session.identity.tenant_id)
        permitted = permitted_tools(self.tools, kit, definition)
        checked = [check(call, permitted, kit) if n < left else Refusal(_SPENT) for n, call in enumerate(calls)]
        asked = {n: wanted for n, each in enumerate(checked) if (wanted := _undecided(session, f"{key}.{n}", each))}
        try:
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(self._call(session, f"{key}.{n}", definition=definition, call=call, checked=each))
                    for n, (call, each) in enumerate(zip(calls, checked, strict=True))
                    if n not in asked
                ]
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        if asked:
            raise NeedsApproval(list(asked.values()))
        return [each.result() for each in running]

    async def call_alone(
        self, session: Session, key: str, *, definition: AgentDefinition, call: ToolCall, given: Mapping[str, Any]
    ) -> Step:
        """Run the call that a task is, without a model; `given` are its arguments, `call` how they are journaled.

        What the tool gives is kept whole, or is too much and an error. Raises as `call_all`.
        """
        done = session.done(key)
        if done is not None:
            return done
        kit = await self.kit_of(session.identity.tenant_id)
        checked = check(call, permitted_tools(self.tools, kit, definition), kit, given=given)
        wanted = _undecided(session, key, checked)
        if wanted is not None:
            raise NeedsApproval([wanted])
        task_s = session.identity.deadline_s
        return await self._call(session, key, definition=definition, call=call, checked=checked, task_s=task_s)

    async def _call(
        self,
        session: Session,
        key: str,
        *,
        definition: AgentDefinition,
        call: ToolCall,
        checked: CheckedCall | Refusal,
        task_s: float | None = None,
    ) -> Step:
        done = session.done(key)
        if done is not None:
            return done
        started, clock = self.now(), time.monotonic()
        with span("agent.tool", attributes={"tool.name": call.name, "agent.role": definition.role}):
            ended = await self._run(session, key, call=call, checked=checked, task_s=task_s)
            if task_s is not None:
                ended = await asyncio.to_thread(_whole, ended)
            step = await self._journal(session, key, definition=definition, call=call, ended=ended, started=started)
        outcome = CallOutcome(step.content["outcome"])
        self.observe.tool_call(_label(checked), outcome, time.monotonic() - clock)
        return step

    async def _run(
        self, session: Session, key: str, *, call: ToolCall, checked: CheckedCall | Refusal, task_s: float | None
    ) -> _Ended:
        if isinstance(checked, Refusal):
            return _refused(checked.reason)
        decision = session.identity.approvals.get(_approval(key, checked).key) if checked.rule is not None else None
        if decision is not None and not decision.approved:
            return _refused(_rejection(decision))
        if checked.effect is not Effect.NONE:
            said = clipped(call.arguments, MAX_ARGUMENT_CHARACTERS)
            is_first = await session.begin_effect(key, tool=call.name, effect=checked.effect, arguments=said)
            if not is_first and checked.effect is Effect.UNSAFE:
                return _Ended(CallOutcome.INTERRUPTED, ToolAnswer(content={"error": _INTERRUPTED}, is_error=True))
        context = replace(session.tool_context(key), must_wait=checked.must_wait, task_s=task_s)
        return await _under_deadline(checked, context)

    async def _journal(
        self,
        session: Session,
        key: str,
        *,
        definition: AgentDefinition,
        call: ToolCall,
        ended: _Ended,
        started: datetime,
    ) -> Step:
        """Write the step with what the call did to the files; where the files refuse, the step says so instead."""
        crash_point(AFTER_TOOL_EFFECT)
        # what was interrupted has no known end, however often the run is retried
        effect_key = None if ended.outcome is CallOutcome.INTERRUPTED else session.idempotency_key(key)
        step = self._step(key, definition, call, ended, started)
        try:
            await session.record(step, changes=ended.answer.changes, effect_key=effect_key)
        except (BadFileName, InputIsReadOnly, WorkspaceLimit) as error:
            failed = _Ended(CallOutcome.ERROR, ToolAnswer(content=_told_error(error), is_error=True))
            step = self._step(key, definition, call, failed, started)
            await session.record(step, effect_key=effect_key)
        return step

    def _step(self, key: str, definition: AgentDefinition, call: ToolCall, ended: _Ended, started: datetime) -> Step:
        changes = ended.answer.changes
        content = {
            "tool": call.name[:200],
            "call_id": call.id,
            "arguments": clipped(call.arguments, MAX_ARGUMENT_CHARACTERS),
            "outcome": ended.outcome.value,
            "result": _shown(ended.answer.content) if ended.whole is None else ended.whole,
            "files": [file.name for file in changes.written],
            "wrote": [[file.name, file.artifact.media_type, file.artifact.bytes] for file in changes.written],
            "removed": list(changes.removed),
            **({"passes": True} if ended.passes else {}),
        }
        return Step(
            key=key,
            role=definition.role,
            kind=StepKind.TOOL,
            content=storable(content),
            started_at=started,
            ended_at=self.now(),
        )


def _undecided(session: Session, key: str, checked: CheckedCall | Refusal) -> ToolApproval | None:
    """What a person is asked before this call, unless it is done or decided."""
    if isinstance(checked, Refusal) or checked.rule is None or session.done(key) is not None:
        return None
    wanted = _approval(key, checked)
    return None if wanted.key in session.identity.approvals else wanted


def _approval(key: str, checked: CheckedCall) -> ToolApproval:
    rule = checked.rule or ToolRule(tool=checked.tool.spec.name)
    return ToolApproval(
        step_key=key,
        tool=checked.tool.spec.name,
        arguments=checked.arguments,
        reason=f"The rule for '{rule.tool}' wants a person to approve this call.",
        deadline_s=rule.deadline_s,
        default=rule.default,
        offer=checked.tool.spec.offer,
    )


def _rejection(decision: ToolDecision) -> str:
    who = f"by {decision.by}" if decision.by else "because nobody approved it in time"
    said = f" They said: {decision.comment}" if decision.comment else ""
    return f"This call was rejected {who} and was not made.{said} Do not repeat it; find another way or say so."


def _label(checked: CheckedCall | Refusal) -> str:
    """The tool as the metrics know it: a family, for those that tenants add (labels stay few)."""
    name = checked.tool if isinstance(checked, Refusal) else checked.tool.spec.name
    return f"{name.partition('.')[0] if name.startswith('sql') else 'mcp'}" if "." in name else name or "unknown"


async def _under_deadline(checked: CheckedCall, context: ToolContext) -> _Ended:
    """The end of the call; that of a task has the task's own time, which is watched where the task is."""
    chosen = checked.tool
    try:
        async with asyncio.timeout(chosen.timeout_s if context.task_s is None else None):
            answer = await chosen.run(context, dict(checked.arguments))
    except (LeaseLost, AgentFailed, BudgetExhausted):
        raise
    except TimeoutError:
        error = f"{chosen.spec.name} did not end within {chosen.timeout_s:g} s."
        return _Ended(CallOutcome.TIMED_OUT, ToolAnswer(content={"error": error}, is_error=True))
    except DomainError as error:
        may_pass = isinstance(error, Unavailable) and error.passes
        passes = may_pass and (checked.effect is not Effect.UNSAFE or isinstance(error, ToolNotReached))
        return _Ended(CallOutcome.ERROR, ToolAnswer(content=_told_error(error), is_error=True), passes)
    return _Ended(CallOutcome.ERROR if answer.is_error else CallOutcome.OK, answer)


def _refused(reason: str) -> _Ended:
    return _Ended(CallOutcome.REFUSED, ToolAnswer(content={"error": reason}, is_error=True))


def _told_error(error: DomainError) -> dict[str, Any]:
    told: dict[str, Any] = {"error": error.detail}
    if error.fields:
        told["fields"] = error.fields
    return told


def _whole(ended: _Ended) -> _Ended:
    """`ended` with its answer as JSON; one that cannot be kept whole is an error that names the limit."""
    if ended.outcome is not CallOutcome.OK:
        return ended
    try:
        text = _as_json(ended.answer.content)
        if len(text) <= MOST_TASK_RESULT:
            return replace(ended, whole=text)
        fault = f"The result has {len(text)} characters as JSON; that of a task has at most {MOST_TASK_RESULT}."
    except ValueError as error:
        fault = f"The result cannot be kept: {error}."
    answer = replace(ended.answer, content={"error": fault}, is_error=True)
    return replace(ended, outcome=CallOutcome.ERROR, answer=answer)


def _as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(storable(within_depth(content)), ensure_ascii=False, default=str)


def _shown(content: Mapping[str, Any]) -> str:
    """The answer as JSON text in one line, in which no chat template finds a message of its own; one that is too long
    is clipped, and says so; what went wrong stays readable.
    """
    try:
        text = _as_json(content)
    except ValueError as error:
        return json.dumps({"error": f"The result cannot be shown: {error}."})
    if len(text) <= MAX_RESULT_CHARACTERS:
        return inert_json(text)
    wrong = {"error": clipped(str(content["error"]), _LONGEST_ERROR)} if "error" in content else {}
    short = wrong | {"clipped": clipped(text, MAX_RESULT_CHARACTERS), "characters": len(text)}
    return inert_json(json.dumps(short, ensure_ascii=False))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One error for the callers, who handle one: a lost lease before all others."""
    lost = errors.subgroup(LeaseLost)
    return (lost or errors).exceptions[0]
