"""What one commit changes in one run: entries from a worker go in, rows and events come out."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.planning.domain.approval import Ask
from cognitionos.planning.domain.progress import Edges, Progress
from cognitionos.planning.domain.reference import STATE
from cognitionos.planning.domain.replan import may_replan, planning_again
from cognitionos.planning.domain.run import Run, RunEvent, RunStatus
from cognitionos.planning.domain.task import (
    ClaimedTask,
    Expansion,
    Failed,
    FannedOut,
    Graft,
    NestedRun,
    NewTask,
    Outcome,
    Postponed,
    Retrying,
    Succeeded,
    fan,
    grafted,
    in_order,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker begins a task."""

    task: ClaimedTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A task tells what it does; `also` writes, by the same connection, what must not be known without it."""

    task: ClaimedTask
    kind: str
    data: Mapping[str, Any]
    also: Callable[[Any], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A task came to an outcome."""

    task: ClaimedTask
    outcome: Outcome


Entry = Started | Reported | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTask:
    """A task's last row."""

    id: UUID
    key: str
    output: Any
    details: Mapping[str, Any]
    skips: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that a task puts before people."""

    id: UUID
    task_id: UUID
    task_key: str
    ask: Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Nesting:
    """A run that a task starts and waits for."""

    id: UUID
    task: ClaimedTask
    nested: NestedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Grafted:
    """A new sub-graph in a task's place: those that waited for the task wait for `result_id` now."""

    graft: Graft
    result_id: UUID


@dataclass(kw_only=True)
class Step:
    """The changes of one run, gathered. `replans` counts how often it was planned again."""

    run: Run
    now: datetime
    new_id: Callable[[], UUID]
    events: list[RunEvent] = field(default_factory=list)
    succeeded: list[EndedTask] = field(default_factory=list)
    failed: list[tuple[UUID, Failed]] = field(default_factory=list)
    collected: list[tuple[UUID, str, Failed]] = field(default_factory=list)
    replaced: list[tuple[UUID, Failed]] = field(default_factory=list)
    grafts: list[Grafted] = field(default_factory=list)
    replans: int = 0
    skipped: list[UUID] = field(default_factory=list)
    retrying: list[tuple[UUID, Retrying]] = field(default_factory=list)
    postponed: list[tuple[UUID, Postponed]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    expiring: list[UUID] = field(default_factory=list)
    nesting: list[Nesting] = field(default_factory=list)
    fanned: list[tuple[UUID, int, str | None]] = field(default_factory=list)
    ended_items: list[str] = field(default_factory=list)
    new_tasks: list[NewTask] = field(default_factory=list)
    stopped: set[UUID] = field(default_factory=set)

    def take(self, entry: Entry) -> None:
        """Apply one entry, in the order they came. After the run's end nothing more counts."""
        if self.run.status.is_final:
            return
        self.events += self.run.start(self.now)
        match entry:
            case Started(task=task):
                if task.lost_starts:
                    data = {"lost_starts": task.lost_starts, "attempt": task.attempt}
                    self.events.append(RunEvent(kind="task.taken_over", task_key=task.key, data=data))
                self.events.append(RunEvent(kind="task.started", task_key=task.key, data=_start(task)))
            case Reported(task=task, kind=kind, data=data):
                self.events.append(RunEvent(kind=kind, task_key=task.key, data=data))
                if self.run.status is RunStatus.PAUSED and self.run.stops_now and task.id not in self.stopped:
                    self.stopped.add(task.id)
                    self.events.append(RunEvent(kind="task.paused", task_key=task.key))
            case Ended(task=task, outcome=Succeeded() as outcome):
                self._succeeded(task, outcome)
            case Ended(task=task, outcome=Retrying() as outcome):
                self._retrying(task, outcome)
            case Ended(task=task, outcome=Postponed() as outcome):
                self._postponed(task, outcome)
            case Ended(task=task, outcome=FannedOut() as outcome):
                self._fanned(task, outcome)
            case Ended(task=task, outcome=Failed() as outcome):
                self._failed(task, outcome)

    def edges(self, dependents: Mapping[UUID, tuple[UUID, ...]]) -> list[Edges]:
        """Where the tasks that ended in this step lead to, by the dependents of each."""
        ended = [Edges(dependents[task.id], cut=task.skips) for task in self.succeeded]
        return [each for each in (*ended, *(Edges(dependents[task_id]) for task_id, _, _ in self.collected)) if each.to]

    def follow(self, progress: Progress) -> None:
        """Count the pure tasks that ran on the way, and those that never will."""
        for node, output in progress.done:
            self.succeeded.append(EndedTask(id=node.id, key=node.key, output=output, details={}))
            self.events.append(RunEvent(kind="task.succeeded", task_key=node.key))
            self._item_ended(node.key)
        self.run.end_tasks(len(progress.done))
        for node in progress.skipped:
            self.skip(node.id, node.key)

    def skip(self, task_id: UUID, key: str) -> None:
        """A task that will not run: nothing that it depends on led to it."""
        self.skipped.append(task_id)
        self.events.append(RunEvent(kind="task.skipped", task_key=key))
        self.run.end_tasks(1)

    @property
    def is_complete(self) -> bool:
        """Whether every task of the run has ended well."""
        return not self.run.status.is_final and self.run.open_tasks == 0

    def complete(self, result: Any) -> None:
        """End the run; `result` is the output of its result task, None without one."""
        self.events += self.run.succeed(text_of(result), self.now)

    def _no_longer_asks(self, task: ClaimedTask) -> None:
        if "asked" in task.spec.get(STATE, {}):
            self.expiring.append(task.id)

    def _succeeded(self, task: ClaimedTask, outcome: Succeeded) -> None:
        self._no_longer_asks(task)
        ended = EndedTask(id=task.id, key=task.key, output=outcome.output, details=outcome.details, skips=outcome.skips)
        self.succeeded.append(ended)
        self.events.append(RunEvent(kind="task.succeeded", task_key=task.key, data=outcome.details))
        self._item_ended(task.key)
        if outcome.expansion is not None:
            self._expand(outcome.expansion)
        self.run.end_tasks(1)

    def _expand(self, expansion: Expansion) -> None:
        new_tasks = grafted(expansion, first_position=self.run.total_tasks, new_id=self.new_id)
        self.new_tasks += new_tasks
        self.run.grow(len(new_tasks))
        result_id = next(each.id for each in new_tasks if each.spec.key == expansion.result_key)
        graft, instead = expansion.graft, {}
        if graft is not None:
            self.grafts.append(Grafted(graft=graft, result_id=result_id))
            instead = {"replaces": graft.key}
        if graft is None or self.run.result_task_id == graft.replaces:
            self.run.result_task_id = result_id
        shown = [
            {
                "key": each.key,
                "kind": each.kind,
                "title": each.spec.get("title"),
                "depends_on": list(each.depends_on),
            }
            for each in expansion.tasks
        ]
        self.events.append(RunEvent(kind="run.planned", data={"tasks": shown, **instead}))

    def _postponed(self, task: ClaimedTask, outcome: Postponed) -> None:
        data = dict(outcome.state)
        if outcome.nested is not None:
            fork = outcome.nested.fork
            run_id = self.new_id() if fork is None else fork.id
            nesting = Nesting(id=run_id, task=task, nested=outcome.nested)
            self.nesting.append(nesting)
            data |= {"run_id": str(nesting.id), "workflow": outcome.nested.workflow, "version": outcome.nested.version}
            outcome = replace(outcome, state=data)
        self.asked += [Asked(id=self.new_id(), task_id=task.id, task_key=task.key, ask=ask) for ask in outcome.asks]
        self.postponed.append((task.id, outcome))
        self.events.append(RunEvent(kind="task.waiting", task_key=task.key, data=data))

    def _fanned(self, task: ClaimedTask, outcome: FannedOut) -> None:
        new_tasks = fan(task, outcome, first_position=self.run.total_tasks, new_id=self.new_id)
        self.new_tasks += new_tasks
        self.run.grow(len(new_tasks))
        self.fanned.append((task.id, len(new_tasks), outcome.deadline))
        data = {"items": len(new_tasks), "concurrency": outcome.concurrency}
        self.events.append(RunEvent(kind="task.fanned_out", task_key=task.key, data=data))

    def _item_ended(self, key: str) -> None:
        if key.endswith("]"):
            self.ended_items.append(key.rpartition("[")[0])

    def _retrying(self, task: ClaimedTask, outcome: Retrying) -> None:
        self.retrying.append((task.id, outcome))
        data = {"error": outcome.problem.as_json(), "after_s": round(outcome.after_s, 3), "attempt": task.attempt}
        self.events.append(RunEvent(kind="task.retrying", task_key=task.key, data=data))

    def _failed(self, task: ClaimedTask, outcome: Failed) -> None:
        self._no_longer_asks(task)
        data = {"error": outcome.problem.as_json(), "attempt": task.attempt}
        self.events.append(RunEvent(kind="task.failed", task_key=task.key, data=data))
        if task.spec.get(STATE, {}).get("collect"):
            self.collected.append((task.id, task.key, outcome))
            self._item_ended(task.key)
            self.run.end_tasks(1)
            return
        if may_replan(task, outcome.problem, used=self.replans):
            self._replan(task, outcome)
            return
        self.failed.append((task.id, outcome))
        self.events += self.run.fail(outcome.problem, self.now)

    def _replan(self, task: ClaimedTask, outcome: Failed) -> None:
        """Instead of failing the run, plan anew what the task did not do; what depends on it waits."""
        self.replaced.append((task.id, outcome))
        self.replans += 1
        [planning] = in_order(
            (planning_again(task, outcome.problem),), first_position=self.run.total_tasks, new_id=self.new_id
        )
        self.new_tasks.append(planning)
        self.run.grow(1)
        self.run.end_tasks(1)
        data = {"error": outcome.problem.as_json(), "by": planning.spec.key, "number": self.replans}
        self.events.append(RunEvent(kind="run.replanned", task_key=task.key, data=data))


def in_taking_order(entries: Iterable[Entry]) -> list[Entry]:
    """The entries as a step takes them: last what decides on other tasks (a choice, a plan, a map's items).

    A run that fails in the same commit then takes none of that, which nobody would carry out; a retry decides anew.
    """
    return sorted(entries, key=_decides)


def text_of(output: Any) -> str | None:
    """The text in a task's output: the output itself, or its `text`."""
    if isinstance(output, Mapping):
        output = output.get("text")
    return output if isinstance(output, str) else None


def _decides(entry: Entry) -> bool:
    match entry:
        case Ended(outcome=Succeeded(skips=skips, expansion=expansion)):
            return bool(skips) or expansion is not None
        case Ended(outcome=FannedOut()):
            return True
    return False


def _start(task: ClaimedTask) -> dict[str, Any]:
    title = task.spec.get("title")
    return {"kind": task.kind, "attempt": task.attempt, **({"title": title} if isinstance(title, str) else {})}
