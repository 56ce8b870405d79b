"""One commit of a worker's entries, in the transaction of its tenant.

Locks go run rows first, then task rows, each in id order: a renewal, a cancellation and another worker's commit take
them in the same order.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.events.planning import RunFinished
from cognitionos.planning.application.ports import Compute, Recorded
from cognitionos.planning.application.values import computed
from cognitionos.planning.domain.progress import LATER, Waiting, advance
from cognitionos.planning.domain.reference import Wanted, references_in
from cognitionos.planning.domain.run import Run
from cognitionos.planning.domain.step import Entry, Step
from cognitionos.planning.infrastructure import run_rows
from cognitionos.planning.infrastructure.known_rows import known_in
from cognitionos.planning.infrastructure.rows import RUN_COLUMNS, run_of, uuid_array

MOST_PURE = 2000
"""Pure tasks that run inside one commit: bounds its size and how long it holds the run's lock."""

_LOCK_RUNS = f"SELECT {RUN_COLUMNS} FROM runs WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE"  # noqa: S608 - a constant
_LOCK_TASKS = """
SELECT t.id, t.fence, t.dependents FROM tasks t
WHERE t.id = ANY(%s::uuid[]) AND t.lease_owner = %s AND t.status = 'running' ORDER BY t.id FOR NO KEY UPDATE
"""
_PURE_WAITING = "SELECT task, run, task_key, task_kind, task_spec, pending, children FROM pure_waiting(%s::uuid[], %s)"


@dataclass(kw_only=True)
class Recording:
    """Loads what the entries touch, lets the domain decide, writes the result."""

    connection: AsyncConnection[Any]
    pure: Mapping[str, Compute]
    now: datetime
    new_id: Callable[[], UUID]

    async def write(self, worker: str, entries: Sequence[Entry]) -> tuple[Recorded, list[RunFinished]]:
        """Write `entries`; gives what came of it and the facts to publish."""
        runs = await self._lock_runs({entry.task.run_id for entry in entries})
        held = await self._lock_tasks(worker, entries)
        valid = [entry for entry in entries if entry.task.id in held]
        steps = {run_id: Step(run=run, now=self.now, new_id=self.new_id) for run_id, run in runs.items()}
        for entry in valid:
            steps[entry.task.run_id].take(entry)
        live = [step for step in steps.values() if not step.run.status.is_final]
        fewer = await self._follow(live, held)
        facts = await self._finish(steps.values())
        ready = await self._store(steps.values(), fewer)
        refused = frozenset(entry.task.id for entry in entries) - held.keys()
        revoked = any(step.failed for step in steps.values())
        retrying = any(step.retrying for step in steps.values())
        return Recorded(refused=refused, ready=ready or retrying, revoked=revoked, runs=frozenset(runs)), facts

    async def _lock_runs(self, ids: set[UUID]) -> dict[UUID, Run]:
        cursor = await self.connection.execute(_LOCK_RUNS, (uuid_array(list(ids)),))
        return {row[0]: run_of(row) for row in await cursor.fetchall()}

    async def _lock_tasks(self, worker: str, entries: Sequence[Entry]) -> dict[UUID, tuple[UUID, ...]]:
        """The dependents of each task that `worker` still holds under the fencing number it says."""
        fences = {entry.task.id: entry.task.fence for entry in entries}
        cursor = await self.connection.execute(_LOCK_TASKS, (uuid_array(list(fences)), worker))
        return {row[0]: tuple(row[2]) for row in await cursor.fetchall() if fences[row[0]] == row[1]}

    async def _follow(self, steps: list[Step], held: Mapping[UUID, tuple[UUID, ...]]) -> Counter[UUID]:
        """Run the pure tasks that the ended ones set free; gives by how much every other counter goes down."""
        ended = {step.run.id: [held[task.id] for task in step.succeeded if held[task.id]] for step in steps}
        first = {child for edges in ended.values() for children in edges for child in children}
        waiting = await self._pure_waiting(first) if first else {}
        fewer: Counter[UUID] = Counter()
        for step in steps:
            nodes = waiting.get(step.run.id, {})
            progress = advance(ended[step.run.id], nodes, await self._computing(step, nodes))
            step.follow(progress)
            fewer.update(progress.fewer)
        return fewer

    async def _pure_waiting(self, first: set[UUID]) -> dict[UUID, dict[UUID, Waiting]]:
        cursor = await self.connection.execute(_PURE_WAITING, (uuid_array(list(first)), MOST_PURE))
        found: defaultdict[UUID, dict[UUID, Waiting]] = defaultdict(dict)
        for task, run, key, kind, spec, pending, children in await cursor.fetchall():
            found[run][task] = Waiting(
                id=task, run_id=run, key=key, kind=kind, spec=spec, pending=pending, dependents=tuple(children)
            )
        return found

    async def _computing(self, step: Step, nodes: Mapping[UUID, Waiting]) -> Callable[[Waiting], Any]:
        """How to compute `nodes`, with what their references lead to in the database and in this very commit."""
        references = {task_id: references_in(node.spec) for task_id, node in nodes.items()}
        wanted = Wanted.by(chain.from_iterable(references.values()))
        if wanted is None:
            return lambda node: computed(self.pure[node.kind], node.spec, self.now)
        here = {node.key for node in nodes.values()} | {task.key for task in step.succeeded}
        before = Wanted(outputs=wanted.outputs - here, run_input=wanted.run_input)
        known = (await known_in(self.connection, {step.run.id: before}))[step.run.id]
        known.outputs.update((task.key, task.output) for task in step.succeeded if task.key in wanted.outputs)

        def compute(node: Waiting) -> Any:
            output = computed(self.pure[node.kind], node.spec, self.now, known if references[node.id] else None)
            if output is not LATER and node.key in wanted.outputs:
                known.outputs[node.key] = output
            return output

        return compute

    async def _finish(self, steps: Iterable[Step]) -> list[RunFinished]:
        facts = []
        for step in steps:
            if step.is_complete:
                step.complete(await self._result(step))
            if step.events and step.run.status.is_final and step.run.finished_at == self.now:
                statement = await run_rows.finish_goal(self.connection, step.run)
                facts.append(step.run.finished(self.now, statement=statement))
        return facts

    async def _result(self, step: Step) -> Any:
        result_id = step.run.result_task_id
        if result_id is None:
            return None
        here = next((task for task in step.succeeded if task.id == result_id), None)
        return here.output if here is not None else await run_rows.output_of(self.connection, result_id)

    async def _store(self, steps: Iterable[Step], fewer: Counter[UUID]) -> bool:
        ready = False
        for step in steps:
            if step.events:
                ready |= await run_rows.store_step(self.connection, step)
        return await run_rows.lower_counters(self.connection, fewer) or ready
