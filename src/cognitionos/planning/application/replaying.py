"""The tasks of a recorded run, done again one by one: with the handlers of the engine, and recorded answers."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cognitionos.agents.facade import AgentFailed, AgentReplay, Diverged, OwnAgent
from cognitionos.kernel.errors import Invalid
from cognitionos.planning.application.agent_tasks import AgentTasks
from cognitionos.planning.application.http_tasks import HttpTasks
from cognitionos.planning.application.planner import Planner
from cognitionos.planning.application.ports import Before, Compute, Handler
from cognitionos.planning.application.tool_tasks import ToolTasks
from cognitionos.planning.domain.intake import Intake
from cognitionos.planning.domain.kinds import must_be_input
from cognitionos.planning.domain.reference import STATE, Known, resolved
from cognitionos.planning.domain.replan import REPLAN, FinishedTask, History, may_replan, planning_again
from cognitionos.planning.domain.replay_report import Divergence, ReplayReport, first_difference
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.step import text_of
from cognitionos.planning.domain.task import ClaimedTask, Expansion, Outcome, Problem, Succeeded
from cognitionos.platform.database import Write

_OUTSIDE = frozenset({"http", "tool", "python"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _RecordedHttp:
    """What a host had said, as far as it was kept."""

    status: int
    headers: Mapping[str, str]
    body_text: str
    truncated: bool = False


@dataclass(kw_only=True)
class Again:
    """One recording, being done again. `report` is kept on the way."""

    recording: Mapping[str, Any]
    tenant_id: UUID
    agents: AgentReplay
    pure: Mapping[str, Compute]
    report: ReplayReport
    tasks: dict[str, Mapping[str, Any]] = field(init=False)
    outputs: dict[str, Any] = field(init=False)
    journaled: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """What there is to refer to."""
        self.tasks = {task["key"]: task for task in self.recording["tasks"]}
        self.outputs = {task["key"]: task["output"] for task in self.recording["tasks"] if _is_done(task)}
        self.journaled = {each["task_id"]: len(each["steps"]) for each in self.recording["journals"]}

    async def task(self, task: Mapping[str, Any]) -> Divergence | None:
        """Do one task again, if it can be. The first difference, if there is one."""
        if task.get("reused_from") is not None:
            self.report.taken += 1
        elif not _is_done(task):
            return self._failed(task)
        elif task["kind"] in _OUTSIDE and self._is_known(task):
            self.report.recorded += 1
            return await self._compared(task, self._outside(task))
        elif task["kind"] == "plan" and self._is_known(task):
            return await self._replayed(task, self._planner(task))
        elif task["kind"] == "agent" and self._is_known(task):
            return await self._replayed(task, self._agent(task))
        elif task["kind"] in {"value", "condition"} and STATE not in task["spec"]:
            self.report.recomputed += 1
            return self._recomputed(task)
        else:
            self.report.taken += 1
        return None

    def _is_known(self, task: Mapping[str, Any]) -> bool:
        """Whether enough was recorded; recordings of earlier versions hold less."""
        is_asked_anew = REPLAN in task["spec"]
        return task["kind"] == "http" or (
            task["id"] in self.journaled and (not is_asked_anew or "finished" in self._considered(task))
        )

    def _failed(self, task: Mapping[str, Any]) -> Divergence | None:
        """Of a task that was planned anew, the decision is made again; what else did not end well is taken over."""
        again = self.tasks.get(f"{task['key']}.plan")
        if again is None or REPLAN not in again["spec"] or not task.get("error"):
            self.report.taken += 1
            return None
        self.report.recomputed += 1
        problem = Problem(**{name: task["error"][name] for name in ("type", "title", "detail")})
        claimed = self._claimed(task, task["spec"])
        before = self.recording["tasks"].index(again)
        used = sum(1 for each in self.recording["tasks"][:before] if REPLAN in each["spec"])
        if not may_replan(claimed, problem, used=used):
            return Divergence(
                task=task["key"], step=None, field="planned again", expected=again["key"], actual="the run fails"
            )
        return first_difference(again["key"], "input", _without_state(again), planning_again(claimed, problem).spec)

    async def _replayed(self, task: Mapping[str, Any], handler: Handler) -> Divergence | None:
        self.report.replayed += 1
        self.report.steps += self.journaled[task["id"]]
        return await self._compared(task, handler)

    async def _compared(self, task: Mapping[str, Any], handler: Handler) -> Divergence | None:
        known = Known(run_input=self.recording["run"]["input"], outputs=self.outputs)
        given = _without_state(task) if task["kind"] == "plan" else task["spec"]
        try:
            outcome = await handler(
                self._claimed(task, resolved(task["key"], task["kind"], given, known, Intake())), _unheard
            )
        except Diverged as found:
            return Divergence(
                task=task["key"], step=found.step, field=found.field_name, expected=found.expected, actual=found.actual
            )
        except (AgentFailed, Invalid) as failure:
            return _ended_otherwise(task, f"failed: {failure.detail}")
        return self._difference(task, outcome)

    def _recomputed(self, task: Mapping[str, Any]) -> Divergence | None:
        known = Known(run_input=self.recording["run"]["input"], outputs=self.outputs)
        try:
            spec = resolved(task["key"], task["kind"], task["spec"], known, Intake())
            return self._difference(task, self.pure[task["kind"]](spec, datetime.now(UTC)))
        except Invalid as fault:
            return _ended_otherwise(task, f"failed: {fault.detail}")

    def _difference(self, task: Mapping[str, Any], outcome: Outcome) -> Divergence | None:
        """In the output, else in the tasks by which the run grew."""
        if not isinstance(outcome, Succeeded):
            return _ended_otherwise(task, type(outcome).__name__.lower())
        found = first_difference(task["key"], "output", task["output"], outcome.output)
        return found or (None if outcome.expansion is None else self._grown_otherwise(task, outcome.expansion))

    def _grown_otherwise(self, task: Mapping[str, Any], expansion: Expansion) -> Divergence | None:
        for spec in expansion.tasks:
            at = f"tasks.{spec.key}"
            recorded = self.tasks.get(spec.key)
            if recorded is None:
                return Divergence(task=task["key"], step=None, field=at, expected=None, actual=spec.key)
            found = first_difference(task["key"], at, _without_state(recorded), spec.spec)
            if found is not None:
                return found
        return None

    def _considered(self, task: Mapping[str, Any]) -> Mapping[str, Any]:
        told: Mapping[str, Any] = self.recording.get("considered", {}).get(task["key"], {})
        return told

    def _remembered(self, task: Mapping[str, Any]) -> Callable[..., Awaitable[Sequence[str]]]:
        async def recall(*_: Any) -> Sequence[str]:
            return list(self.recording["memories"].get(task["key"], ()))

        return recall

    def _agent(self, task: Mapping[str, Any]) -> Handler:
        async def upstream(_: ClaimedTask) -> Before:
            outputs = {key: self.outputs[key] for key in task["depends_on"] if key in self.outputs}
            return Before(statement=self.recording["run"]["statement"], outputs=outputs)

        return AgentTasks(
            perform=self.agents.perform, recall=self._remembered(task), upstream=upstream, decisions=_undecided
        )

    def _planner(self, task: Mapping[str, Any]) -> Handler:
        async def own(_: UUID) -> Sequence[OwnAgent]:
            return [OwnAgent(**each) for each in self._considered(task).get("agents", ())]

        async def history(_: ClaimedTask) -> History:
            return self._history(task)

        return Planner(ask=self.agents.ask, recall=self._remembered(task), history=history, own=own)

    def _history(self, task: Mapping[str, Any]) -> History:
        """What the planner knew of the run when it planned anew; the plan is not put before people again."""
        first = next(each for each in self.recording["tasks"] if each["kind"] == "plan")
        failed = self.tasks[task["spec"][REPLAN]["key"]]
        known = self._considered(task)["finished"]
        finished = [self.tasks[key] for key in known]
        return History(
            goal={name: value for name, value in first["spec"].items() if name != "approve"},
            task_id=UUID(failed["id"]),
            key=failed["key"],
            title=str(failed["spec"].get("title") or failed["key"]),
            instructions=str(failed["spec"].get("instructions") or ""),
            depends_on=tuple(key for key in failed["depends_on"] if key in known),
            dependents=(),
            finished=tuple(
                FinishedTask(
                    id=UUID(each["id"]),
                    key=each["key"],
                    title=str(each["spec"].get("title") or each["key"]),
                    text=text_of(each["output"]) or "",
                )
                for each in finished
            ),
        )

    def _outside(self, task: Mapping[str, Any]) -> Handler:
        """The call is composed again, from what came before; the answer to it is the recorded one."""
        if task["kind"] != "http":
            return ToolTasks(call=self.agents.call_tool, decisions=_undecided)

        async def answered(*_: Any, **__: Any) -> _RecordedHttp:
            body, is_text = task["output"]["body"], isinstance(task["output"]["body"], str)
            led = {name: task["output"][name] for name in ("location",) if name in task["output"]}
            return _RecordedHttp(
                status=task["output"]["status"],
                headers={"content-type": "text/plain" if is_text else "application/json", **led},
                body_text=body if is_text else json.dumps(body),
            )

        async def checked(claimed: ClaimedTask, report: Any) -> Outcome:
            must_be_input("http", {name: value for name, value in claimed.spec.items() if name != STATE})
            return await HttpTasks(send=answered)(claimed, report)

        return checked

    def _claimed(self, task: Mapping[str, Any], spec: Mapping[str, Any]) -> ClaimedTask:
        return ClaimedTask(
            tenant_id=self.tenant_id,
            project_id=UUID(int=0),
            run_id=UUID(self.recording["run"]["id"]),
            goal_id=None,
            api_key_id=None,
            user=None,
            id=UUID(task["id"]),
            key=task["key"],
            kind=task["kind"],
            spec=spec,
            attempt=1,
            failures=0,
            fence=1,
            retry=RetryPolicy(),
            timeout_s=task["timeout_s"],
        )


def _is_done(task: Mapping[str, Any]) -> bool:
    return bool(task["status"] == "succeeded")


def _without_state(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task's input as it was planned. A plan is made again, but not put before people again."""
    left_out = {STATE, "approve"} if task["kind"] == "plan" else {STATE}
    return {name: value for name, value in task["spec"].items() if name not in left_out}


def _ended_otherwise(task: Mapping[str, Any], actual: str) -> Divergence:
    return Divergence(task=task["key"], step=None, field="status", expected=task["status"], actual=actual)


async def _unheard(_kind: str, _data: Mapping[str, Any], _also: Write | None = None, /) -> None:
    """Nobody watches a replay."""


async def _undecided(_task: ClaimedTask) -> Mapping[str, Any]:
    """What people decided is in the journals."""
    return {}
