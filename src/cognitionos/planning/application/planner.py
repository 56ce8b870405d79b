"""The kind `plan`: from a goal to a graph of tasks. Planning asks, validates and repairs; the planner agent answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.facade import AgentFailed, Answer, Question
from cognitionos.agents.facade import LeaseLost as AgentLeaseLost
from cognitionos.planning.application.ports import Recall, Report
from cognitionos.planning.domain.plan import MOST_TASKS, InvalidPlan, Plan, plan_of, plan_schema
from cognitionos.planning.domain.task import ClaimedTask, LeaseLost, Succeeded
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
AFTER_ANSWER = declare("planner.after_answer")
MEMORIES = 8
_REMEDY = "Another model may plan better: name it in COGNITIONOS_MODEL."

Ask = Callable[[Question], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Does tasks of kind `plan`: their outcome grows the run by the plan's tasks, in one commit."""

    ask: Ask
    recall: Recall
    max_tasks: int = MOST_TASKS

    async def __call__(self, task: ClaimedTask, report: Report) -> Succeeded:
        """A plan. Its faults get one repair round; raises `InvalidPlan` when that fails too."""
        statement = str(task.spec["statement"])
        memories = await self.recall(task.tenant_id, task.project_id, statement, MEMORIES)
        if memories:
            await report("memory.recalled", {"memories": list(memories)})
        variables = {"goal": statement}
        if task.spec.get("inputs"):
            variables["attached files"] = _inputs(task.spec["inputs"])
        if memories:
            variables["known from memory"] = "\n".join(f"- {memory}" for memory in memories)
        try:
            return await self._planned(task, variables, report)
        except AgentLeaseLost as error:
            raise LeaseLost(error.detail) from error
        except AgentFailed as error:
            raise AgentFailed(f"{error.detail} {_REMEDY}", fields=error.fields) from error

    async def _planned(self, task: ClaimedTask, variables: dict[str, str], report: Report) -> Succeeded:
        answer = await self.ask(self._question(task, variables, report))
        crash_point(AFTER_ANSWER)
        try:
            plan = plan_of(answer.value, self.max_tasks)
        except InvalidPlan as fault:
            await report("plan.rejected", {"errors": fault.fields})
            log.info("plan_rejected", run_id=str(task.run_id), faults=len(fault.fields))
            answer = await self.ask(self._question(task, variables, report, (answer.text, fault.detail)))
            plan = self._last(answer)
        return Succeeded(output=plan.as_json(), details=_details(answer), expansion=plan.expansion())

    def _last(self, answer: Answer) -> Plan:
        try:
            return plan_of(answer.value, self.max_tasks)
        except InvalidPlan as fault:
            detail = f"The plan of the model {answer.model} cannot be run: {fault.detail} {_REMEDY}"
            raise InvalidPlan(detail, fields=fault.fields) from fault

    def _question(
        self, task: ClaimedTask, variables: dict[str, str], report: Report, *previous: tuple[str, str]
    ) -> Question:
        return Question(
            tenant_id=task.tenant_id,
            project_id=task.project_id,
            api_key_id=task.api_key_id,
            user=task.user,
            goal_id=task.goal_id,
            critical=task.spec.get("critical") is True,
            run_id=task.run_id,
            task_id=task.id,
            task_key=task.key,
            fence=task.fence,
            role="planner",
            report=report,
            deadline_s=task.timeout_s,
            variables=variables,
            schema=plan_schema(self.max_tasks),
            previous=previous,
        )


def _inputs(files: list[dict[str, Any]]) -> str:
    return "\n".join(f"- {file['name']} ({file['media_type']}, {file['bytes']} bytes)" for file in files)


def _details(answer: Answer) -> dict[str, Any]:
    return {
        "model": answer.model,
        "simulated": answer.simulated,
        "prompt_versions": {"planner": answer.prompt_version},
        "cost_nanousd": answer.cost_nanousd,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }
