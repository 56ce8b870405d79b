"""Replay: a finished run done again from what was recorded, with no call to a model or a tool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from cognitionos.agents.facade import AgentFailed, AgentReplay, Diverged
from cognitionos.kernel.errors import Conflict, Invalid
from cognitionos.planning.application.agent_tasks import AgentTasks
from cognitionos.planning.application.planner import Planner
from cognitionos.planning.application.ports import Before, Compute, Handler
from cognitionos.planning.domain.reference import STATE, Known, resolved
from cognitionos.planning.domain.replan import REPLAN
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.task import ClaimedTask, Succeeded

FORMAT = 1
"""Of recordings. A later product must still replay what an earlier one exported, or say that it cannot."""


class RunNotOver(Conflict):
    """Only a run that has ended can be replayed."""


class UnknownRecording(Invalid):
    """The recording is of a format that this version does not know."""


class ReplayAgents(Protocol):
    """Makes agents that answer from journals: `Agents.replay`."""

    def __call__(self, recorded: Sequence[Mapping[str, Any]], /) -> AgentReplay: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where the replay first did otherwise than the run had done."""

    task: str
    step: str | None
    field: str
    expected: Any
    actual: Any


@dataclass(kw_only=True)
class ReplayReport:
    """`replayed`: tasks whose agents worked again; `recomputed`: those without effect; `taken`: results taken over."""

    run_id: UUID
    tasks: int
    replayed: int = 0
    recomputed: int = 0
    taken: int = 0
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    divergence: Divergence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Does recordings again."""

    agents: ReplayAgents
    pure: Mapping[str, Compute]

    async def run(self, recording: Mapping[str, Any], *, tenant_id: UUID) -> ReplayReport:
        """Every task in order, up to the first divergence, by the agents of `tenant_id`. Raises `UnknownRecording`."""
        if recording.get("format") != FORMAT:
            raise UnknownRecording(f"The recording has format {recording.get('format')!r}; {FORMAT} can be replayed.")
        tasks = recording["tasks"]
        report = ReplayReport(run_id=UUID(recording["run"]["id"]), tasks=len(tasks))
        agents = self.agents(recording["journals"])
        again = _Again(recording=recording, tenant_id=tenant_id, agents=agents, pure=self.pure, report=report)
        for task in tasks:
            report.divergence = await again.task(task)
            if report.divergence is not None:
                break
        return report


@dataclass(kw_only=True)
class _Again:
    recording: Mapping[str, Any]
    tenant_id: UUID
    agents: AgentReplay
    pure: Mapping[str, Compute]
    report: ReplayReport
    outputs: dict[str, Any] = field(init=False)
    journaled: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.outputs = {task["key"]: task["output"] for task in self.recording["tasks"] if _is_done(task)}
        self.journaled = {each["task_id"]: len(each["steps"]) for each in self.recording["journals"]}

    async def task(self, task: Mapping[str, Any]) -> Divergence | None:
        """Do one task again, if it can be."""
        handler = self._handlers(task).get(task["kind"])
        if not _is_done(task) or task.get("reused_from") is not None or REPLAN in task["spec"]:
            self.report.taken += 1
        elif handler is not None and task["id"] in self.journaled:
            self.report.replayed += 1
            self.report.steps += self.journaled[task["id"]]
            return await self._compared(task, handler)
        elif task["kind"] in {"value", "condition"} and STATE not in task["spec"]:
            self.report.recomputed += 1
            return self._recomputed(task)
        else:
            self.report.taken += 1
        return None

    async def _compared(self, task: Mapping[str, Any], handler: Handler) -> Divergence | None:
        try:
            outcome = await handler(self._claimed(task), _unheard)
        except Diverged as found:
            return Divergence(
                task=task["key"], step=found.step, field=found.field_name, expected=found.expected, actual=found.actual
            )
        except AgentFailed as failure:
            return Divergence(
                task=task["key"], step=None, field="status", expected=task["status"], actual=f"failed: {failure.detail}"
            )
        return _output_difference(task, outcome)

    def _recomputed(self, task: Mapping[str, Any]) -> Divergence | None:
        known = Known(run_input=self.recording["run"]["input"], outputs=self.outputs)
        try:
            spec = resolved(task["key"], task["kind"], task["spec"], known)
            return _output_difference(task, self.pure[task["kind"]](spec, datetime.now(UTC)))
        except Invalid as fault:
            return Divergence(
                task=task["key"], step=None, field="status", expected=task["status"], actual=f"failed: {fault.detail}"
            )

    def _handlers(self, task: Mapping[str, Any]) -> dict[str, Handler]:
        parents = task["depends_on"]

        async def upstream(_: ClaimedTask) -> Before:
            outputs = {key: self.outputs[key] for key in parents if key in self.outputs}
            return Before(statement=self.recording["run"]["statement"], outputs=outputs)

        async def remembered(*_: Any) -> Sequence[str]:
            return list(self.recording["memories"].get(task["key"], ()))

        async def undecided(_: ClaimedTask) -> Mapping[str, Any]:
            return {}

        return {
            "plan": Planner(ask=self.agents.ask, recall=remembered),
            "agent": AgentTasks(perform=self.agents.perform, recall=remembered, upstream=upstream, decisions=undecided),
        }

    def _claimed(self, task: Mapping[str, Any]) -> ClaimedTask:
        run = self.recording["run"]
        known = Known(run_input=run["input"], outputs=self.outputs)
        return ClaimedTask(
            tenant_id=self.tenant_id,
            project_id=UUID(int=0),
            run_id=UUID(run["id"]),
            goal_id=None,
            api_key_id=None,
            user=None,
            id=UUID(task["id"]),
            key=task["key"],
            kind=task["kind"],
            spec=resolved(task["key"], task["kind"], task["spec"], known),
            attempt=1,
            failures=0,
            fence=1,
            retry=RetryPolicy(),
            timeout_s=task["timeout_s"],
        )


def _is_done(task: Mapping[str, Any]) -> bool:
    return bool(task["status"] == "succeeded")


async def _unheard(_kind: str, _data: Mapping[str, Any]) -> None:
    """Nobody watches a replay."""


def _output_difference(task: Mapping[str, Any], outcome: Any) -> Divergence | None:
    """The first part of the output that is not as recorded."""
    if not isinstance(outcome, Succeeded):
        name = type(outcome).__name__.lower()
        return Divergence(task=task["key"], step=None, field="status", expected=task["status"], actual=name)
    was, now = task["output"], outcome.output
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in {**was, **now}:
            if was.get(name) != now.get(name):
                at = f"output.{name}"
                return Divergence(task=task["key"], step=None, field=at, expected=was.get(name), actual=now.get(name))
        return None
    return None if was == now else Divergence(task=task["key"], step=None, field="output", expected=was, actual=now)
