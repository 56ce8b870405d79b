"""One commit of a worker's entries, in the transaction of its tenant.

Locks go run rows first, then task rows, each in id order: a renewal, a cancellation and another worker's commit take
them in the same order.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.events.planning import RunFinished
from cognitionos.kernel.errors import DomainError
from cognitionos.planning.application.ports import Compute, Recorded
from cognitionos.planning.domain.run import Run, RunStatus
from cognitionos.planning.domain.step import Ended, Entry, Reported, Step, in_taking_order
from cognitionos.planning.domain.task import Failed
from cognitionos.planning.infrastructure import nested_rows, open_tasks, parking_rows, run_rows
from cognitionos.planning.infrastructure.following import Following
from cognitionos.planning.infrastructure.rows import RUN_COLUMNS, run_of, uuid_array
from cognitionos.platform.crash_points import crash_point, declare

IN_REPLAN = declare("engine.in_replan")
IN_GRAFT = declare("engine.in_graft")

_LOCK_RUNS = f"""
SELECT {RUN_COLUMNS}, pg_current_xact_id()::text FROM runs WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608 - a constant
_LOCK_TASKS = """
SELECT t.id, t.fence, t.dependents FROM tasks t
WHERE t.id = ANY(%s::uuid[]) AND t.lease_owner = %s AND t.status = 'running' ORDER BY t.id FOR NO KEY UPDATE
"""
_REPLANS = """
SELECT run_id, count(*) FROM tasks WHERE run_id = ANY(%s::uuid[]) AND kind = 'plan' AND spec ? 'replan' GROUP BY run_id
"""


@dataclass(kw_only=True)
class Recording:
    """Loads what the entries touch, lets the domain decide, writes the result.

    `transaction` is its number, to ask what became of it when the answer to its commit is lost.
    """

    connection: AsyncConnection[Any]
    pure: Mapping[str, Compute]
    now: datetime
    new_id: Callable[[], UUID]
    transaction: str | None = None

    async def write(self, worker: str, entries: Sequence[Entry]) -> tuple[Recorded, list[RunFinished]]:
        """Write `entries`; gives what came of it and the facts to publish."""
        runs, held = await self._lock(worker, entries)
        broken = await self._write_also(entries, held)
        valid = [entry for n, entry in enumerate(entries) if entry.task.id in held and n not in broken]
        steps = {run_id: Step(run=run, now=self.now, new_id=self.new_id) for run_id, run in runs.items()}
        await self._count_replans(steps, valid)
        for entry in in_taking_order(valid):
            steps[entry.task.run_id].take(entry)
        live = [step for step in steps.values() if not step.run.status.is_final]
        following = Following(connection=self.connection, pure=self.pure, now=self.now)
        ready = await following.follow(live, held)
        facts = await self._finish(steps.values())
        for step in steps.values():
            await parking_rows.store_asked(self.connection, step)
        ready |= await self._wake_parents(steps.values())
        nested = await self._cancel_below(steps.values())
        facts += [run.finished(self.now, statement=None) for run in nested]
        ready |= await self._store(steps.values())
        refused = frozenset(entry.task.id for entry in entries) - held.keys()
        refused |= {task_id for step in steps.values() for task_id in step.stopped}
        revoked = any(step.failed for step in steps.values())
        retrying = any(step.retrying for step in steps.values())
        touched = frozenset(runs) | {run.id for run in nested}
        recorded = Recorded(refused=refused, ready=ready or retrying, revoked=revoked, runs=touched, broken=broken)
        return recorded, facts

    async def _lock(
        self, worker: str, entries: Sequence[Entry]
    ) -> tuple[dict[UUID, Run], dict[UUID, tuple[UUID, ...]]]:
        """The runs, and the dependents of each task that `worker` still holds under the fencing number it says."""
        run_ids = {entry.task.run_id for entry in entries}
        fences = {entry.task.id: entry.task.fence for entry in entries}
        async with self.connection.pipeline():  # one after the other, in one round trip
            locked_runs = await self.connection.execute(_LOCK_RUNS, (uuid_array(list(run_ids)),))
            locked_tasks = await self.connection.execute(_LOCK_TASKS, (uuid_array(list(fences)), worker))
        rows = await locked_runs.fetchall()
        self.transaction = rows[0][-1] if rows else None
        runs = {row[0]: run_of(row) for row in rows}
        return runs, {row[0]: tuple(row[2]) for row in await locked_tasks.fetchall() if fences[row[0]] == row[1]}

    async def _write_also(self, entries: Sequence[Entry], held: Collection[UUID]) -> dict[int, DomainError]:
        """Let those that report write what belongs to it; what is refused leaves nothing, and is given by its place."""
        broken = {}
        for place, entry in enumerate(entries):
            if isinstance(entry, Reported) and entry.also is not None and entry.task.id in held:
                try:
                    async with self.connection.transaction():
                        await entry.also(self.connection)
                except DomainError as error:
                    broken[place] = error
        return broken

    async def _count_replans(self, steps: Mapping[UUID, Step], entries: Sequence[Entry]) -> None:
        """How often the runs were planned again, where it is about to matter."""
        failing = {e.task.run_id for e in entries if isinstance(e, Ended) and isinstance(e.outcome, Failed)}
        if failing:
            cursor = await self.connection.execute(_REPLANS, (uuid_array(list(failing)),))
            for run_id, replans in await cursor.fetchall():
                steps[run_id].replans = replans

    async def _finish(self, steps: Iterable[Step]) -> list[RunFinished]:
        facts = []
        for step in steps:
            if step.is_complete:
                step.complete(await self._result(step))
            if step.events and step.run.status.is_final and step.run.finished_at == self.now:
                statement = await run_rows.finish_goal(self.connection, step.run)
                facts.append(step.run.finished(self.now, statement=statement))
        return facts

    async def _wake_parents(self, steps: Iterable[Step]) -> bool:
        """Let the tasks go on that waited for runs that ended."""
        parents = [step.run.parent_task_id for step in steps if step.run.finished_at == self.now]
        return any([await parking_rows.wake(self.connection, each, {}) for each in parents if each is not None])

    async def _cancel_below(self, steps: Iterable[Step]) -> list[Run]:
        """Cancel what runs and items that failed have started; runs are locked before tasks, as everywhere."""
        cancelled = []
        for step in steps:
            if step.failed:
                cancelled += await nested_rows.cancel_below(self.connection, step.run, self.now)
            elif step.collected:
                items = [task_id for task_id, _, _ in step.collected]
                cancelled += await nested_rows.cancel_below_tasks(self.connection, step.run, items, self.now)
        return cancelled

    async def _result(self, step: Step) -> Any:
        result_id = step.run.result_task_id
        if result_id is None:
            return None
        here = next((task for task in step.succeeded if task.id == result_id), None)
        return here.output if here is not None else await run_rows.output_of(self.connection, result_id)

    async def _store(self, steps: Collection[Step]) -> bool:
        ready = False
        for step in steps:
            if step.events:
                async with self.connection.pipeline():
                    ready |= await run_rows.store_step(self.connection, step)
                if step.replaced:
                    crash_point(IN_REPLAN)
                if step.grafts:
                    crash_point(IN_GRAFT)
                if not step.run.status.is_final:
                    ready |= await parking_rows.store_parked(self.connection, step)
            is_held = step.run.status is RunStatus.PAUSED and step.events
            if is_held and await open_tasks.hold(self.connection, step.run, at=self.now):
                await run_rows.update_run(self.connection, step.run)
        return ready
