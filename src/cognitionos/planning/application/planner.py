"""The kind `plan`: from a goal to a graph of tasks. Planning asks, validates and repairs; the planner agent answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from cognitionos.agents.facade import AgentFailed, Answer, OwnAgent, Question, as_notes
from cognitionos.agents.facade import LeaseLost as AgentLeaseLost
from cognitionos.kernel.clock import Clock, utc_now
from cognitionos.planning.application.plan_approval import proposed, put_before_people, still_open
from cognitionos.planning.application.ports import PlanAgain, Recall, Report
from cognitionos.planning.application.replanning import told_of_failure
from cognitionos.planning.domain.goal import LARGEST_PLAN
from cognitionos.planning.domain.plan import (
    ANEW,
    FIRST,
    MOST_ANEW,
    MOST_TASKS,
    InvalidPlan,
    Plan,
    Terms,
    plan_of,
    plan_schema,
)
from cognitionos.planning.domain.replan import PLAN_TASKS, REPLAN, REPLANS, History, NothingToReplace
from cognitionos.planning.domain.task import ClaimedTask, Graft, LeaseLost, Outcome, Succeeded
from cognitionos.planning.domain.team import Worker, offered
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
AFTER_ANSWER = declare("planner.after_answer")
BEFORE_REPLAN = declare("planner.before_replan")
MEMORIES = 8
_MORE_TASKS = f"A goal's 'plan_tasks' lets its plans have up to {LARGEST_PLAN} tasks."
_REMEDY = "Another model may plan better: name it in COGNITIONOS_MODEL."

Ask = Callable[[Question], Awaitable[Answer]]
IsAgain = Callable[[ClaimedTask], Awaitable[bool]]
"""Whether the task is done again, in a fork."""
Own = Callable[[UUID], Awaitable[Sequence[OwnAgent]]]
"""The agents that a tenant wrote."""


async def no_agents(_tenant_id: UUID) -> Sequence[OwnAgent]:
    """Of a tenant who wrote none."""
    return ()


async def never_again(_task: ClaimedTask) -> bool:
    """Of a planner whose runs are no forks."""
    return False


async def no_history(task: ClaimedTask) -> History:
    """Of a planner that makes first plans only."""
    raise NothingToReplace(f"Nothing is known of what '{task.key}' was to replace.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """One plan that is wanted: what is told, under which terms, and where the tasks go; `anew`: not a kept one."""

    variables: dict[str, str]
    terms: Terms
    approval: Mapping[str, Any] | None
    graft: Graft | None = None
    team: tuple[Worker, ...] = ()
    most_tasks: int | None = None
    anew: bool = False

    @property
    def keys(self) -> dict[str, Any]:
        """How many tasks there may be, what their keys begin with, which finished tasks and agents they may name."""
        if self.graft is None:
            return {"max_tasks": self.most_tasks or MOST_TASKS, "prefix": FIRST, "team": self.team}
        most, finished = self.most_tasks or MOST_ANEW, list(self.graft.finished)
        return {"max_tasks": most, "prefix": ANEW, "finished": finished, "team": self.team}

    @property
    def may_be_longer(self) -> bool:
        """Whether its goal could have said so."""
        return int(self.keys["max_tasks"]) < LARGEST_PLAN

    @property
    def considered(self) -> dict[str, Any]:
        """What the plan may name besides its own tasks; empty where there is nothing."""
        agents = [{"name": each.name, "version": each.version} for each in self.team]
        told: dict[str, Any] = {"agents": agents} if agents else {}
        return told | ({"finished": list(self.graft.finished)} if self.graft is not None else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Does tasks of kind `plan`: their outcome grows the run by the plan's tasks, in one commit.

    A plan that needs approval waits for it; one that replaces a task takes its place in the graph.
    """

    ask: Ask
    recall: Recall
    history: PlanAgain = no_history
    own: Own = no_agents
    is_again: IsAgain = never_again
    now: Clock = utc_now

    async def __call__(self, task: ClaimedTask, report: Report) -> Outcome:
        """A plan. Its faults get one repair round; raises `InvalidPlan` when that fails too.

        Raises `ApprovalRejected` and `ApprovalExpired` for one that nobody wanted.
        """
        state = proposed(task)
        if state is not None:
            waiting = still_open(state, self.now())
            if waiting is not None:
                return waiting
            asking = await (self._anew(task) if REPLAN in task.spec else self._first(task, None))
            return self._grown(asking, Plan.stored(state["plan"]), state["details"])
        asking = await self._with_team(
            task, await (self._anew(task) if REPLAN in task.spec else self._first(task, report))
        )
        asking = replace(asking, anew=task.failures > 0 or await self.is_again(task))
        if asking.considered:
            await report("plan.considered", asking.considered)
        try:
            plan, details = await self._planned(task, asking, report)
        except AgentLeaseLost as error:
            raise LeaseLost(error.detail) from error
        except AgentFailed as error:
            raise AgentFailed(f"{error.detail} {_REMEDY}", fields=error.fields) from error
        if asking.approval is not None:
            await report("plan.proposed", {"tasks": [each.as_json() for each in plan.tasks]})
            return put_before_people(plan, details=details, terms=asking.approval, now=self.now())
        return self._grown(asking, plan, details)

    async def _first(self, task: ClaimedTask, report: Report | None) -> _Asking:
        """The goal's first plan; without a `report`, only where it goes."""
        variables = {"goal": str(task.spec["statement"])}
        if task.spec.get("inputs"):
            variables["attached files"] = _inputs(task.spec["inputs"])
        if report is not None:
            memories = await self.recall(task.tenant_id, task.project_id, variables["goal"], MEMORIES)
            if memories:
                await report("memory.recalled", {"memories": list(memories)})
                variables["known from memory"] = as_notes(memories)
        return _asking(task.spec, variables)

    async def _anew(self, task: ClaimedTask) -> _Asking:
        """A plan for what another task did not do."""
        history = await self.history(task)
        crash_point(BEFORE_REPLAN)
        goal = history.goal
        variables = {"goal": str(goal.get("statement") or "")}
        if goal.get("inputs"):
            variables["attached files"] = _inputs(goal["inputs"])
        variables |= told_of_failure(history, task.spec[REPLAN]["error"])
        return _asking(goal, variables, history.graft)

    async def _with_team(self, task: ClaimedTask, asking: _Asking) -> _Asking:
        """The same, with the agents of the tenant's own that fit the goal."""
        workers = [_worker(each) for each in await self.own(task.tenant_id)]
        if not workers:
            return asking
        team = offered(workers, " ".join(asking.variables.values()))
        lines = "\n".join(f"- {each.line}" for each in team)
        told = {"agents": f"Besides those for `general` and `research` you may give tasks to:\n{lines}"}
        return replace(asking, team=team, variables={**asking.variables, **told})

    def _grown(self, asking: _Asking, plan: Plan, details: Mapping[str, Any]) -> Succeeded:
        expansion = plan.expansion(asking.terms, graft=asking.graft)
        return Succeeded(output=plan.as_json(), details=details, expansion=expansion)

    async def _planned(self, task: ClaimedTask, asking: _Asking, report: Report) -> tuple[Plan, dict[str, Any]]:
        answer = await self.ask(self._question(task, asking, report))
        crash_point(AFTER_ANSWER)
        try:
            plan = _plan_in(answer, asking)
        except InvalidPlan as fault:
            await report("plan.rejected", {"errors": fault.fields})
            log.info("plan_rejected", run_id=str(task.run_id), faults=len(fault.fields))
            objection = f"That does not fit: {fault.detail}. Answer with JSON only." if answer.fault else fault.detail
            answer = await self.ask(self._question(task, asking, report, (answer.text, objection)))
            plan = self._last(asking, answer)
        return plan, _details(answer)

    def _last(self, asking: _Asking, answer: Answer) -> Plan:
        try:
            return _plan_in(answer, asking)
        except InvalidPlan as fault:
            remedy = f"{_MORE_TASKS} {_REMEDY}" if fault.is_too_long and asking.may_be_longer else _REMEDY
            detail = f"The plan of the model {answer.model} cannot be run: {fault.detail.rstrip('.')}. {remedy}"
            raise InvalidPlan(detail, fields=fault.fields) from fault

    def _question(self, task: ClaimedTask, asking: _Asking, report: Report, *previous: tuple[str, str]) -> Question:
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
            together=report,
            deadline_s=task.timeout_s,
            anew=asking.anew,
            variables=asking.variables,
            schema=plan_schema(**asking.keys),
            previous=previous,
        )


def _plan_in(answer: Answer, asking: _Asking) -> Plan:
    """The plan that was answered; `InvalidPlan` names everything that is wrong with it, that it is no JSON too."""
    if answer.fault:
        raise InvalidPlan(answer.fault, fields={"$": answer.fault})
    return plan_of(answer.value, **asking.keys)


def _asking(goal: Mapping[str, Any], variables: dict[str, str], graft: Graft | None = None) -> _Asking:
    """What the spec of a goal's first `plan` task says of its plans."""
    terms = Terms(
        budget_nanousd=goal.get("budget_nanousd"),
        replans=int(goal.get(REPLANS) or 0),
        critical=goal.get("critical") is True,
    )
    return _Asking(
        variables=variables, terms=terms, approval=goal.get("approve"), graft=graft, most_tasks=goal.get(PLAN_TASKS)
    )


def _worker(agent: OwnAgent) -> Worker:
    return Worker(
        name=agent.name,
        version=agent.version,
        description=agent.description,
        capabilities=agent.capabilities,
        tools=agent.tools,
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
