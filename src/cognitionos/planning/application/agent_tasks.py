"""The kind `agent`: a task that an agent does, with the results of the tasks before it and what memory knows."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.agents.facade import CONSENSUS_S, CRITIC, Assignment, NeedsApproval, ToolApproval, ToolDecision
from cognitionos.agents.facade import LeaseLost as AgentLeaseLost
from cognitionos.agents.facade import Outcome as AgentOutcome
from cognitionos.kernel.money import usd_text
from cognitionos.llm_gateway.facade import BudgetExhausted
from cognitionos.planning.application.ports import Recall, Report, Upstream
from cognitionos.planning.domain.approval import Ask
from cognitionos.planning.domain.reference import STATE
from cognitionos.planning.domain.replan import VERSIONS, TaskTooLarge
from cognitionos.planning.domain.step import text_of
from cognitionos.planning.domain.task import ClaimedTask, LeaseLost, Outcome, Postponed, Succeeded

MEMORIES = 5
_FORGETTING = frozenset({"planner", "critic", "summarizer"})

Perform = Callable[[Assignment], Awaitable[AgentOutcome]]
Decisions = Callable[[ClaimedTask], Awaitable[Mapping[str, ToolDecision]]]
"""What people decided about the tool calls of a task, by key."""
OpenBudget = Callable[[UUID, str, int], Awaitable[None]]
"""Limit what a subject (`task:ID`) may cost, in nano-dollars."""


async def unlimited(_tenant_id: UUID, _subject: str, _limit_nanousd: int) -> None:
    """Where nothing is paid: in a replay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTasks:
    """Does tasks of kind `agent`: `{"agent", "instructions", "expected_output", "review", "critics"}`."""

    perform: Perform
    recall: Recall
    upstream: Upstream
    decisions: Decisions
    open_budget: OpenBudget = unlimited

    async def __call__(self, task: ClaimedTask, report: Report) -> Outcome:
        """What the agent gave, or what it waits for. Its own errors pass through, to be weighed by the policy."""
        assignment = await self._assignment(task, report)
        if (budget_nanousd := task.spec.get("budget_nanousd")) is not None:
            await self.open_budget(task.tenant_id, f"task:{task.id}", budget_nanousd)
        try:
            outcome = await self.perform(assignment)
        except BudgetExhausted as error:
            if budget_nanousd is None or error.subject != f"task:{task.id}":
                raise
            budget = f"The budget of task '{task.key}', ${usd_text(budget_nanousd)}, is used up"
            raise TaskTooLarge(f"{budget}: {error.detail}") from error
        except AgentLeaseLost as error:
            raise LeaseLost(error.detail) from error
        except NeedsApproval as needed:
            return parked_for(needed.requests)
        return Succeeded(output={"text": outcome.text, "artifacts": _artifacts(outcome)}, details=_details(outcome))

    async def _assignment(self, task: ClaimedTask, report: Report) -> Assignment:
        """What the agent is given."""
        before = await self.upstream(task)
        role = str(task.spec.get("agent") or task.spec.get("role") or "executor")
        instructions = str(task.spec.get("instructions", ""))
        memories: Sequence[str] = ()
        if role not in _FORGETTING:
            memories = await self.recall(task.tenant_id, task.project_id, instructions, MEMORIES)
        return Assignment(
            tenant_id=task.tenant_id,
            project_id=task.project_id,
            api_key_id=task.api_key_id,
            user=task.user,
            goal_id=task.goal_id,
            workflow=before.workflow,
            critical=before.critical,
            above=before.above,
            run_id=task.run_id,
            task_id=task.id,
            task_key=task.key,
            fence=task.fence,
            role=role,
            version=task.spec.get(VERSIONS, {}).get(role),
            goal=before.statement or instructions,
            instructions=instructions,
            expected_output=task.spec.get("expected_output"),
            inputs={key: _shown(output) for key, output in before.outputs.items()},
            memories=tuple(memories),
            review=task.spec.get("review") is True or "critics" in task.spec,
            critics=_critics(task.spec.get("critics", 1)),
            consensus_s=float(task.spec.get("critics_deadline_s", CONSENSUS_S)),
            deadline_s=task.timeout_s,
            report=report,
            together=report,
            approvals=await self.decisions(task) if STATE in task.spec else {},
            anew=task.failures > 0 or before.again,
        )


def parked_for(requests: Sequence[ToolApproval]) -> Postponed:
    """Waiting for people to decide about tool calls."""
    asks = asks_of(requests)
    state = {"asked": [ask.key for ask in asks]}
    return Postponed(state=state, after_s=min(ask.deadline_s for ask in asks), asks=asks)


def asks_of(requests: Sequence[ToolApproval]) -> tuple[Ask, ...]:
    """Tool calls as questions, with the exact arguments before people's eyes."""
    return tuple(
        Ask(
            key=each.key,
            prompt=f"May {each.tool} be used? {each.reason}",
            details={"tool": each.tool, "arguments": each.arguments, "step": each.step_key},
            deadline_s=each.deadline_s,
            default=each.default,
        )
        for each in requests
    )


def _critics(given: Any) -> tuple[str, ...]:
    """Who judges: those named, or so many of the built-in critic."""
    return tuple(map(str, given)) if isinstance(given, list) else (CRITIC,) * int(given)


def _shown(output: Any) -> str:
    text = text_of(output)
    return text if text is not None else json.dumps(output, ensure_ascii=False)


def _artifacts(outcome: AgentOutcome) -> list[dict[str, Any]]:
    return [{"name": each.name, "media_type": each.media_type, "bytes": each.bytes} for each in outcome.artifacts]


def _details(outcome: AgentOutcome) -> dict[str, Any]:
    return {**outcome.figures, "rounds": outcome.rounds}
