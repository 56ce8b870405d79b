"""A `TaskStore` in memory: the same answers as PostgreSQL's, shown by the suite that both pass."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import DomainError
from cognitionos.kernel.ids import new_id
from cognitionos.planning.application.ports import Claimed, Recorded
from cognitionos.planning.application.values import PURE, computed
from cognitionos.planning.domain.progress import Edges, Waiting, advance, is_skipped
from cognitionos.planning.domain.reference import DEADLINE, STATE, Known, Wanted
from cognitionos.planning.domain.replan import REPLAN, FinishedTask, History
from cognitionos.planning.domain.run import Run
from cognitionos.planning.domain.step import Entry, Reported, Step, in_taking_order
from cognitionos.planning.domain.task import ClaimedTask, NewTask, Succeeded, TaskStatus


@dataclass(kw_only=True)
class _Row:
    task: ClaimedTask
    new: NewTask
    status: TaskStatus
    pending: int
    skipped: int = 0
    owner: str | None = None
    lease_until: float = 0.0
    ready_at: float = 0.0
    output: Any = None


@dataclass(kw_only=True)
class InMemoryTaskStore:
    """Leases end by `clock_s`, which a test moves. `failures` are raised by the next calls, one each."""

    clock_s: float = 0.0
    failures: list[Exception] = field(default_factory=list)
    commits: list[list[Entry]] = field(default_factory=list)
    runs: dict[UUID, Run] = field(default_factory=dict)
    _rows: dict[UUID, _Row] = field(default_factory=dict)

    def add(self, run: Run, graph: Sequence[NewTask]) -> None:
        """Keep tasks of `run`, which has been grown by them."""
        self.runs[run.id] = run
        for new in graph:
            pending = new.pending
            status = TaskStatus.PENDING if pending else TaskStatus.READY
            self._rows[new.id] = _Row(task=_claimable(run, new), new=new, status=status, pending=pending)

    def cancel(self, run: Run) -> None:
        """End every open task of `run`."""
        for row in self._rows.values():
            if row.task.run_id == run.id and not row.status.is_final:
                row.status, row.owner = TaskStatus.CANCELLED, None

    async def claim(self, *, worker: str, slots: int, lease_s: float) -> Claimed:
        """See `TaskStore.claim`."""
        self._fail()
        for row in self._rows.values():
            if row.status is TaskStatus.RUNNING and row.lease_until < self.clock_s:
                row.status, row.owner = TaskStatus.READY, None
        ready = [r for r in self._rows.values() if r.status is TaskStatus.READY and r.ready_at <= self.clock_s]
        running = Counter(r.task.tenant_id for r in self._rows.values() if r.status is TaskStatus.RUNNING)
        due = [row for row in ready if row.new.is_pure or slots]
        tenant = min((row.task.tenant_id for row in due), key=lambda each: running[each], default=None)
        mine = [row for row in due if row.task.tenant_id == tenant]
        slotted = [row for row in mine if not row.new.is_pure]
        share = max(1, slots // max(1, len({row.task.tenant_id for row in due})))
        chosen = [*slotted[:share], *(row for row in mine if row.new.is_pure)]
        for row in chosen:
            row.status, row.owner, row.lease_until = TaskStatus.RUNNING, worker, self.clock_s + lease_s
            row.task = replace(row.task, attempt=row.task.attempt + 1, fence=row.task.fence + 1)
        left = [row for row in due if row.status is TaskStatus.READY]
        return Claimed([row.task for row in chosen], more=bool(chosen and left))

    async def renew(self, held: Collection[UUID], *, worker: str, lease_s: float) -> dict[UUID, int]:
        """See `TaskStore.renew`."""
        self._fail()
        known = [row for row in self._rows.values() if row.owner == worker and row.status is TaskStatus.RUNNING]
        renewed = [row for row in known if row.new.id in held]
        for row in renewed:
            row.lease_until = self.clock_s + lease_s
        return {row.new.id: row.task.fence for row in renewed}

    async def hand_back(self, *, worker: str) -> int:
        """See `TaskStore.hand_back`."""
        held = [row for row in self._rows.values() if row.owner == worker and row.status is TaskStatus.RUNNING]
        for row in held:
            row.status, row.owner = TaskStatus.READY, None
            row.task = replace(row.task, attempt=row.task.attempt - 1)
        return len(held)

    async def put_back(self, tasks: Sequence[ClaimedTask], *, worker: str) -> None:
        """See `TaskStore.put_back`."""
        for task in tasks:
            row = self._rows[task.id]
            if (row.owner, row.task.fence, row.status) == (worker, task.fence, TaskStatus.RUNNING):
                row.status, row.owner = TaskStatus.READY, None
                row.task = replace(row.task, attempt=row.task.attempt - 1)

    async def record(self, tenant_id: UUID, worker: str, entries: Sequence[Entry]) -> Recorded:
        """See `TaskStore.record`."""
        self._fail()
        self.commits.append(list(entries))
        steps: dict[UUID, Step] = {}
        refused = set()
        broken = await self._write_also(entries)
        for entry in in_taking_order([entry for n, entry in enumerate(entries) if n not in broken]):
            row = self._rows[entry.task.id]
            if (row.owner, row.task.fence, row.status) != (worker, entry.task.fence, TaskStatus.RUNNING):
                refused.add(entry.task.id)
                continue
            run = self.runs[entry.task.run_id]
            step = steps.setdefault(run.id, Step(run=run, now=datetime.now(UTC), new_id=new_id))
            step.replans = step.replans or self._replans(run)
            step.take(entry)
        ready = [self._store(step) for step in steps.values()]
        revoked = any(step.failed for step in steps.values())
        return Recorded(
            refused=frozenset(refused), ready=any(ready), revoked=revoked, runs=frozenset(steps), broken=broken
        )

    async def _write_also(self, entries: Sequence[Entry]) -> dict[int, DomainError]:
        broken = {}
        for place, entry in enumerate(entries):
            row = self._rows[entry.task.id]
            if isinstance(entry, Reported) and entry.also is not None and row.task.fence == entry.task.fence:
                try:
                    await entry.also(None)
                except DomainError as error:
                    broken[place] = error
        return broken

    def outputs(self, run: Run) -> dict[str, Any]:
        """The outputs of the run's tasks that succeeded, by key."""
        return self._outputs(run.id)

    def _store(self, step: Step) -> bool:
        ready = bool(step.retrying or step.new_tasks)
        if not step.run.status.is_final:
            edges = step.edges({row.new.id: row.new.dependents for row in self._rows.values()})
            while edges:
                progress = advance(edges, self._waiting(step.run), self._computing(step))
                step.follow(progress)
                became_ready, edges = self._lower(step, progress.fewer, progress.skips)
                ready |= became_ready
        for task_id in step.skipped:
            self._rows[task_id].status = TaskStatus.SKIPPED
        for task in step.succeeded:
            row = self._rows[task.id]
            row.status, row.owner, row.output = TaskStatus.SUCCEEDED, None, task.output
        for task_id, retry in step.retrying:
            row = self._rows[task_id]
            row.status, row.owner, row.ready_at = TaskStatus.READY, None, self.clock_s + retry.after_s
            row.task = replace(row.task, failures=row.task.failures + 1)
        for task_id, wait in step.postponed:
            row = self._rows[task_id]
            row.status, row.owner, row.ready_at = TaskStatus.READY, None, self.clock_s + wait.after_s
            row.task = replace(row.task, attempt=row.task.attempt - 1, spec={**row.task.spec, STATE: wait.state})
        for task_id, _ in (*step.failed, *step.replaced):
            self._rows[task_id].status = TaskStatus.FAILED
        self._fan_out(step)
        self.add(step.run, step.new_tasks)
        ready |= self._let_go(step)
        if step.is_complete:
            step.complete(None)
        elif step.failed:
            self.cancel(step.run)
        return ready

    async def history(self, task: ClaimedTask) -> History:
        """See `PlanAgain`."""
        failed = self._rows[UUID(task.spec[REPLAN]["task_id"])]
        mine = [row for row in self._rows.values() if row.task.run_id == task.run_id]
        done = [row for row in mine if row.status is TaskStatus.SUCCEEDED and row.task.kind != "plan"]
        return History(
            goal={"statement": "a goal"},
            task_id=failed.new.id,
            key=failed.task.key,
            title=failed.task.key,
            instructions="",
            depends_on=tuple(row.task.key for row in done if row.new.id in failed.new.dependencies),
            dependents=failed.new.dependents,
            finished=tuple(FinishedTask(id=r.new.id, key=r.task.key, title=r.task.key, text="") for r in done),
        )

    def statuses(self, run: Run) -> dict[str, TaskStatus]:
        """Of the run's tasks, by key."""
        return {row.task.key: row.status for row in self._rows.values() if row.task.run_id == run.id}

    def _replans(self, run: Run) -> int:
        rows = (row.new.spec for row in self._rows.values() if row.task.run_id == run.id)
        return sum(1 for spec in rows if spec.kind == "plan" and REPLAN in spec.spec)

    def _fan_out(self, step: Step) -> None:
        """Let maps wait for their items."""
        for task_id, items, deadline in step.fanned:
            row = self._rows[task_id]
            row.status, row.owner, row.pending = TaskStatus.PENDING, None, items
            state = {"items": items} if deadline is None else {"items": items, DEADLINE: deadline}
            spec = {**row.task.spec, STATE: state}
            row.task = replace(row.task, attempt=row.task.attempt - 1, spec=spec)

    def _let_go(self, step: Step) -> bool:
        """Let as many held items of each map start as have ended."""
        let_go = False
        for key in step.ended_items:
            items = [row for row in self._rows.values() if row.task.key.startswith(f"{key}[")]
            held = [r for r in items if r.task.run_id == step.run.id and r.new.is_held and r.pending]
            if held:
                held[0].pending, held[0].status, let_go = 0, TaskStatus.READY, True
        return let_go

    async def known(self, tenant_id: UUID, wanted: Mapping[UUID, Wanted]) -> dict[UUID, Known]:
        """See `TaskStore.known`."""
        self._fail()
        return {run_id: Known(run_input=self.runs[run_id].input, outputs=self._outputs(run_id)) for run_id in wanted}

    def _outputs(self, run_id: UUID) -> dict[str, Any]:
        ended = [row for row in self._rows.values() if row.status is TaskStatus.SUCCEEDED]
        return {row.task.key: row.output for row in ended if row.task.run_id == run_id}

    def _computing(self, step: Step) -> Callable[[Waiting], Succeeded | object]:
        known = Known(run_input=step.run.input, outputs=self._outputs(step.run.id))
        known.outputs.update((task.key, task.output) for task in step.succeeded)

        def compute(node: Waiting) -> Succeeded | object:
            outcome = computed(PURE[node.kind], node, datetime.now(UTC), known)
            if isinstance(outcome, Succeeded):
                known.outputs[node.key] = outcome.output
            return outcome

        return compute

    def _waiting(self, run: Run) -> dict[UUID, Waiting]:
        return {
            row.new.id: Waiting(
                id=row.new.id,
                run_id=run.id,
                key=row.task.key,
                kind=row.task.kind,
                spec=row.task.spec,
                pending=row.pending,
                dependents=row.new.dependents,
                is_pure=row.new.is_pure,
                parents=len(row.new.dependencies),
                skipped=row.skipped,
            )
            for row in self._rows.values()
            if row.task.run_id == run.id and row.status is TaskStatus.PENDING
        }

    def _lower(self, step: Step, fewer: Counter[UUID], skips: Counter[UUID]) -> tuple[bool, list[Edges]]:
        edges = []
        for task_id, number in fewer.items():
            row = self._rows[task_id]
            row.pending -= number
            row.skipped += skips[task_id]
            if row.pending == 0 and is_skipped(row.skipped, len(row.new.dependencies)):
                step.skip(task_id, row.task.key)
                edges.append(Edges(row.new.dependents, is_skipped=True))
            elif row.pending == 0:
                row.status = TaskStatus.READY
        return any(self._rows[task_id].status is TaskStatus.READY for task_id in fewer), edges

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


def _claimable(run: Run, new: NewTask) -> ClaimedTask:
    from cognitionos.planning.domain.retry import RetryPolicy

    return ClaimedTask(
        tenant_id=run.tenant_id,
        project_id=run.project_id,
        run_id=run.id,
        goal_id=run.goal_id,
        api_key_id=run.api_key_id,
        user=run.user,
        id=new.id,
        key=new.spec.key,
        kind=new.spec.kind,
        spec=new.spec.spec,
        attempt=0,
        failures=0,
        fence=0,
        retry=new.spec.retry or RetryPolicy(),
        timeout_s=new.spec.timeout_s,
    )
