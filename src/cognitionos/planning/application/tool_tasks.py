"""The kinds `tool` and `python`: one call of an agent's tool, without a model; what it does to files is journaled."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.facade import DirectCall, DirectResult, NeedsApproval
from cognitionos.agents.facade import LeaseLost as AgentLeaseLost
from cognitionos.planning.application.agent_tasks import Decisions, parked_for
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.reference import STATE
from cognitionos.planning.domain.task import ClaimedTask, LeaseLost, Outcome, Succeeded

ROLE = "executor"
"""Whose tools tasks may call, under the tenant's rules."""

CallTool = Callable[[DirectCall], Awaitable[DirectResult]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTasks:
    """Does tasks of kind `tool` (`{"tool", "arguments"}`) and `python` (`{"code", "input"}`)."""

    call: CallTool
    decisions: Decisions

    async def __call__(self, task: ClaimedTask, report: Report) -> Outcome:
        """What the tool gave, or what it waits for. Its own errors pass through, to be weighed by the policy."""
        tool, arguments = wanted_call(task)
        call = DirectCall(
            tenant_id=task.tenant_id,
            project_id=task.project_id,
            api_key_id=task.api_key_id,
            user=task.user,
            goal_id=task.goal_id,
            run_id=task.run_id,
            task_id=task.id,
            task_key=task.key,
            fence=task.fence,
            role=ROLE,
            deadline_s=task.timeout_s,
            report=report,
            together=report,
            approvals=await self.decisions(task) if STATE in task.spec else {},
            tool=tool,
            arguments=arguments,
        )
        try:
            result = await self.call(call)
        except AgentLeaseLost as error:
            raise LeaseLost(error.detail) from error
        except NeedsApproval as needed:
            return parked_for(needed.requests)
        return Succeeded(output=result.content, details={"tool": tool, "files": list(result.files)})


def wanted_call(task: ClaimedTask) -> tuple[str, dict[str, Any]]:
    """The tool and its arguments."""
    if task.kind == "tool":
        return str(task.spec["tool"]), dict(task.spec.get("arguments") or {})
    return "python", {name: task.spec[name] for name in ("code", "input") if name in task.spec}
