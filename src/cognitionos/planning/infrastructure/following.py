"""What the tasks that ended in a commit lead to: counters, pure tasks that run on the way, skips, items let go."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.application.ports import Compute
from cognitionos.planning.application.values import computed
from cognitionos.planning.domain.intake import MOST_IN, Intake
from cognitionos.planning.domain.progress import LATER, Edges, Waiting, advance
from cognitionos.planning.domain.reference import STATE, Known, Wanted, references_of
from cognitionos.planning.domain.run import RunStatus
from cognitionos.planning.domain.step import Step
from cognitionos.planning.domain.task import Succeeded
from cognitionos.planning.infrastructure.known_rows import known_in
from cognitionos.planning.infrastructure.rows import uuid_array

MOST_PURE = 500
"""Pure tasks that run inside one commit: bounds its size and how long it holds the run's lock."""
MOST_BELOW = 20_000
"""Tasks that a skip is followed through at once."""

_WAITING = """
SELECT task, run, task_key, task_kind, task_spec, pending, children, pure, parents, skipped
FROM waiting_below(%s::uuid[], %s, %s)
"""
_LOWER = """
UPDATE tasks t SET pending_deps = t.pending_deps - d.n, skipped_deps = t.skipped_deps + d.s,
  status = CASE WHEN t.pending_deps <> d.n THEN t.status
    WHEN t.skipped_deps + d.s > 0 AND t.skipped_deps + d.s >= cardinality(t.dependencies) THEN 'skipped'
    ELSE 'ready' END,
  ready_at = CASE WHEN t.pending_deps = d.n THEN now() END
FROM unnest(%s::uuid[], %s::int[], %s::int[]) AS d(id, n, s) WHERE t.id = d.id AND t.status = 'pending'
RETURNING t.status, t.run_id, t.id, t.key, t.dependents
"""
_LET_GO = """
UPDATE tasks SET status = 'ready', pending_deps = 0, is_held = false, ready_at = now() WHERE id IN (
  SELECT t.id FROM tasks t WHERE t.run_id = %(run)s AND t.is_held AND t.status = 'pending'
    AND t.dependents = (SELECT ARRAY[m.id] FROM tasks m WHERE m.run_id = %(run)s AND m.key = %(map)s)
  ORDER BY t.position LIMIT %(number)s
)
"""

ByRun = Mapping[UUID, Sequence[Edges]]


@dataclass(kw_only=True)
class Following:
    """Follows edges, in the transaction and under the run locks of a recording."""

    connection: AsyncConnection[Any]
    pure: Mapping[str, Compute]
    now: datetime
    taken: int = 0
    """What the references of the tasks computed here brought in; at `MOST_IN` the rest becomes ready instead."""

    async def follow(self, steps: Sequence[Step], dependents: Mapping[UUID, tuple[UUID, ...]]) -> bool:
        """Follow what ended in `steps`, of which `dependents` says where it leads; whether a task became ready."""
        by_run = {step.run.id: step for step in steps}
        edges: ByRun = {step.run.id: step.edges(dependents) for step in steps}
        ready = False
        while any(edges.values()):
            waiting = await self._waiting(edges, by_run)
            fewer: Counter[UUID] = Counter()
            skips: Counter[UUID] = Counter()
            for run_id, ended in edges.items():
                nodes = waiting.get(run_id, {})
                progress = advance(ended, nodes, await self._computing(by_run[run_id], nodes, ended))
                by_run[run_id].follow(progress)
                fewer.update(progress.fewer)
                skips.update(progress.skips)
            became_ready, edges = await self._lower(fewer, skips, by_run)
            ready |= became_ready
        for step in steps:
            ready |= await self._let_go(step)
        return ready

    async def _waiting(self, edges: ByRun, steps: Mapping[UUID, Step]) -> dict[UUID, dict[UUID, Waiting]]:
        """The pure tasks below `edges`; where something may be skipped, every task below."""
        every = list(chain.from_iterable(edges.values()))
        first = {child for each in every for child in each.to}
        if not any(each.is_skipped or each.cut for each in every):
            found = await self._below(first, MOST_PURE, through_all=False)
            if not any(_may_skip(node) for nodes in found.values() for node in nodes.values()):
                return found
        return await self._below(first, MOST_BELOW, through_all=True)

    async def _below(self, first: set[UUID], most: int, *, through_all: bool) -> dict[UUID, dict[UUID, Waiting]]:
        cursor = await self.connection.execute(_WAITING, (uuid_array(list(first)), most, through_all))
        found: defaultdict[UUID, dict[UUID, Waiting]] = defaultdict(dict)
        for task, run, key, kind, spec, pending, children, pure, parents, skipped in await cursor.fetchall():
            found[run][task] = Waiting(
                id=task,
                run_id=run,
                key=key,
                kind=kind,
                spec=spec,
                pending=pending,
                dependents=tuple(children),
                is_pure=pure,
                parents=parents,
                skipped=skipped,
            )
        return found

    async def _computing(
        self, step: Step, nodes: Mapping[UUID, Waiting], ended: Sequence[Edges]
    ) -> Callable[[Waiting], Succeeded | object]:
        """How to compute `nodes`, with what their references lead to in the database and in this very commit."""
        if step.run.status is RunStatus.PAUSED:
            return lambda _: LATER
        ending = Counter(child for each in ended for child in each.to)
        references = {
            node.id: references_of(node.key, node.kind, node.spec)
            for node in nodes.values()
            if node.is_pure and not (_is_fanned(node) and ending[node.id] < node.pending)
        }
        wanted = Wanted.by(chain.from_iterable(references.values()))
        known = await self._known(step, nodes, wanted) if wanted else Known()

        def compute(node: Waiting) -> Succeeded | object:
            if node.kind == "condition" and not all(child in nodes for child in node.dependents):
                return LATER
            if not references[node.id]:
                outcome = computed(self.pure[node.kind], node, self.now)
            elif self.taken < MOST_IN and not known.lacks(references[node.id]):
                intake = Intake()
                outcome = computed(self.pure[node.kind], node, self.now, known, intake)
                self.taken += intake.taken
            else:
                return LATER
            if wanted and isinstance(outcome, Succeeded) and node.key in wanted.outputs:
                known.outputs[node.key] = outcome.output
            return outcome

        return compute

    async def _known(self, step: Step, nodes: Mapping[UUID, Waiting], wanted: Wanted) -> Known:
        here = {node.key for node in nodes.values()} | {task.key for task in step.succeeded}
        before = Wanted(outputs=wanted.outputs - here, run_input=wanted.run_input)
        known = (await known_in(self.connection, {step.run.id: before}))[step.run.id]
        known.outputs.update((task.key, task.output) for task in step.succeeded if task.key in wanted.outputs)
        known.outputs.update((key, {"error": failed.problem.as_json()}) for _, key, failed in step.collected)
        return known

    async def _lower(
        self, fewer: Counter[UUID], skips: Counter[UUID], steps: Mapping[UUID, Step]
    ) -> tuple[bool, dict[UUID, list[Edges]]]:
        """Lower the counters of waiting tasks; whether one became ready, and where those lead that are skipped now."""
        edges: defaultdict[UUID, list[Edges]] = defaultdict(list)
        if not fewer:
            return False, edges
        values = (uuid_array(list(fewer)), list(fewer.values()), [skips[task_id] for task_id in fewer])
        cursor = await self.connection.execute(_LOWER, values)
        ready = False
        for status, run_id, task_id, key, dependents in await cursor.fetchall():
            ready |= status == "ready"
            if status == "skipped":
                steps[run_id].skip(task_id, key)
                edges[run_id] += [Edges(tuple(dependents), is_skipped=True)] if dependents else []
        return ready, edges

    async def _let_go(self, step: Step) -> bool:
        """Let as many held items of each map start as have ended."""
        ready = False
        for key, number in Counter(step.ended_items).items():
            values = {"run": step.run.id, "map": key, "number": number}
            ready |= (await self.connection.execute(_LET_GO, values)).rowcount > 0
        return ready


def _may_skip(node: Waiting) -> bool:
    return node.kind == "condition" or node.skipped > 0


def _is_fanned(node: Waiting) -> bool:
    return node.kind == "map" and STATE in node.spec
