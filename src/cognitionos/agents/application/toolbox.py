"""The tools of an agent: offered, checked, run under a deadline, journaled; what goes wrong is told to the model."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.ports import Observer, Tool, ToolAnswer
from cognitionos.agents.application.session import Session
from cognitionos.agents.domain.agent_run import AgentFailed, LeaseLost, Step, StepKind, storable
from cognitionos.agents.domain.json_schema import faults_of
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.tool import (
    MAX_ARGUMENT_CHARACTERS,
    MAX_RESULT_CHARACTERS,
    CallOutcome,
    Effect,
    clipped,
)
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.facade import BudgetExhausted, ToolCall, tool
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.telemetry import span

AFTER_TOOL_EFFECT = declare("agents.after_tool_effect")
_EXCERPT = 200
_SPENT = "No more tool calls are allowed. Give your answer from what you have."
_INTERRUPTED = (
    "The call was interrupted and it is not known whether it took effect. It was not repeated. Check before you "
    "try again."
)


@dataclass(frozen=True, slots=True)
class _Ended:
    outcome: CallOutcome
    answer: ToolAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """Every tool there is, by name."""

    tools: Mapping[str, Tool]
    now: Clock
    observe: Observer

    def offered(self, definition: AgentDefinition) -> list[Mapping[str, Any]]:
        """The tools that `definition` may use and that can be had here, as the model is told of them."""
        return [
            tool(each.spec.name, each.spec.description, each.spec.parameters)
            for each in self._permitted(definition)
            if each.why_not() is None
        ]

    async def call_all(
        self, session: Session, key: str, *, definition: AgentDefinition, calls: Sequence[ToolCall]
    ) -> list[Step]:
        """Run `calls` side by side; their steps in the order of the calls. Those beyond the limit are refused."""
        left = session.calls_left(definition) + sum(1 for n in range(len(calls)) if session.done(f"{key}.{n}"))
        try:
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(
                        self._call(session, f"{key}.{n}", definition=definition, call=call, is_allowed=n < left)
                    )
                    for n, call in enumerate(calls)
                ]
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        return [each.result() for each in running]

    async def _call(
        self, session: Session, key: str, *, definition: AgentDefinition, call: ToolCall, is_allowed: bool
    ) -> Step:
        done = session.done(key)
        if done is not None:
            return done
        started, clock = self.now(), time.monotonic()
        with span("agent.tool", attributes={"tool.name": call.name, "agent.role": definition.role}):
            ended = await self._run(session, key, definition=definition, call=call) if is_allowed else _refused(_SPENT)
            step = await self._journal(session, key, definition=definition, call=call, ended=ended, started=started)
        outcome = CallOutcome(step.content["outcome"])
        self.observe.tool_call(call.name if call.name in self.tools else "unknown", outcome, time.monotonic() - clock)
        await session.report("agent.tool_called", _told(step, seconds=time.monotonic() - clock))
        return step

    async def _run(self, session: Session, key: str, *, definition: AgentDefinition, call: ToolCall) -> _Ended:
        chosen = {each.spec.name: each for each in self._permitted(definition)}.get(call.name)
        if chosen is None:
            names = ", ".join(each.spec.name for each in self._permitted(definition)) or "none"
            return _refused(f"There is no tool {call.name[:100]!r}. There are: {names}.")
        reason = chosen.why_not()
        if reason is not None:
            return _refused(f"{call.name} cannot be used here: {reason}")
        try:
            arguments = _arguments(call, chosen)
        except _BadArguments as error:
            return _refused(str(error))
        effect = chosen.effect(arguments)
        if effect is not Effect.NONE:
            is_first = await session.begin_effect(key, tool=call.name, effect=effect, arguments=call.arguments)
            if not is_first and effect is Effect.UNSAFE:
                return _Ended(CallOutcome.INTERRUPTED, ToolAnswer(content={"error": _INTERRUPTED}, is_error=True))
        return await _under_deadline(chosen, session, key, arguments)

    async def _journal(
        self, session: Session, key: str, *, definition: AgentDefinition, call: ToolCall, ended: _Ended, started: Any
    ) -> Step:
        """Write the step with what the call did to the files; where the files refuse, the step says so instead."""
        crash_point(AFTER_TOOL_EFFECT)
        effect_key = session.idempotency_key(key)
        step = self._step(key, definition, call, ended, started)
        try:
            await session.record(step, changes=ended.answer.changes, effect_key=effect_key)
        except LeaseLost:
            raise
        except DomainError as error:
            if ended.answer.changes.is_empty:
                raise
            failed = _Ended(CallOutcome.ERROR, ToolAnswer(content=_told_error(error), is_error=True))
            step = self._step(key, definition, call, failed, started)
            await session.record(step, effect_key=effect_key)
        return step

    def _step(self, key: str, definition: AgentDefinition, call: ToolCall, ended: _Ended, started: Any) -> Step:
        changes = ended.answer.changes
        content = {
            "tool": call.name[:200],
            "call_id": call.id,
            "arguments": clipped(call.arguments, MAX_ARGUMENT_CHARACTERS),
            "outcome": ended.outcome.value,
            "result": _shown(ended.answer.content),
            "files": [file.name for file in changes.written],
        }
        return Step(
            key=key,
            role=definition.role,
            kind=StepKind.TOOL,
            content=storable(content),
            started_at=started,
            ended_at=self.now(),
        )

    def _permitted(self, definition: AgentDefinition) -> list[Tool]:
        return [self.tools[name] for name in definition.tools if name in self.tools]


class _BadArguments(ValueError):
    pass


def _arguments(call: ToolCall, chosen: Tool) -> dict[str, Any]:
    if len(call.arguments) > MAX_ARGUMENT_CHARACTERS:
        raise _BadArguments(f"The arguments have more than {MAX_ARGUMENT_CHARACTERS} characters.")
    try:
        arguments = call.parsed()
    except ValueError as error:
        raise _BadArguments(f"The arguments are not a JSON object: {error}.") from error
    faults = faults_of(arguments, chosen.spec.parameters)
    if faults:
        words = "; ".join(f"{path} {fault}" for path, fault in faults.items())
        raise _BadArguments(f"The arguments do not fit: {words}.")
    return arguments


async def _under_deadline(chosen: Tool, session: Session, key: str, arguments: dict[str, Any]) -> _Ended:
    try:
        async with asyncio.timeout(chosen.timeout_s):
            answer = await chosen.run(session.tool_context(key), arguments)
    except (LeaseLost, AgentFailed, BudgetExhausted):
        raise
    except TimeoutError:
        error = f"{chosen.spec.name} did not end within {chosen.timeout_s:g} s."
        return _Ended(CallOutcome.TIMED_OUT, ToolAnswer(content={"error": error}, is_error=True))
    except DomainError as error:
        return _Ended(CallOutcome.ERROR, ToolAnswer(content=_told_error(error), is_error=True))
    return _Ended(CallOutcome.ERROR if answer.is_error else CallOutcome.OK, answer)


def _refused(reason: str) -> _Ended:
    return _Ended(CallOutcome.REFUSED, ToolAnswer(content={"error": reason}, is_error=True))


def _told_error(error: DomainError) -> dict[str, Any]:
    told: dict[str, Any] = {"error": error.detail}
    if error.fields:
        told["fields"] = error.fields
    return told


def _shown(content: Mapping[str, Any]) -> str:
    """The answer as JSON text; one that is too long is clipped, and says so."""
    text = json.dumps(content, ensure_ascii=False, default=str)
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text
    return json.dumps({"clipped": clipped(text, MAX_RESULT_CHARACTERS), "characters": len(text)}, ensure_ascii=False)


def _told(step: Step, *, seconds: float) -> dict[str, Any]:
    return {
        "role": step.role,
        "step": step.key,
        "tool": step.content["tool"],
        "outcome": step.content["outcome"],
        "seconds": round(seconds, 3),
        "arguments": clipped(step.content["arguments"], _EXCERPT),
        "result": clipped(step.content["result"], _EXCERPT),
        "files": step.content["files"],
    }


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One error for the callers, who handle one: a lost lease before all others."""
    lost = errors.subgroup(LeaseLost)
    return (lost or errors).exceptions[0]
