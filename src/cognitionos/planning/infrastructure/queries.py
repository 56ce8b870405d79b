"""Reads, straight to what is shown."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from cognitionos.kernel.money import usd_text
from cognitionos.planning.domain.goal import GoalNotFound
from cognitionos.planning.domain.run import RunNotFound, RunStatus
from cognitionos.planning.domain.task import TaskNotFound
from cognitionos.planning.infrastructure.control_rows import nested
from cognitionos.planning.infrastructure.run_files import Files, StoredFile, Writer, writers
from cognitionos.planning.infrastructure.shown_status import shown_status
from cognitionos.planning.infrastructure.views import (
    ArtifactView,
    EventView,
    GoalSummary,
    GoalView,
    PlannedTaskView,
    PricedAsView,
    ProblemView,
    ResultView,
    RunSummary,
    RunView,
    TaskCounts,
    TaskView,
    WorkflowRef,
)
from cognitionos.platform.database import Database

Spent = Callable[[UUID, str], Awaitable[int]]
"""Nano-dollars that a subject (`goal:ID`, `run:ID`) has spent."""
SpentByRuns = Callable[[UUID, Sequence[UUID]], Awaitable[int]]
"""Nano-dollars that these runs have spent together."""


class Answered(Protocol):
    """The models that answered in a run, those of failed tasks too, and the tokens of all their answers."""

    @property
    def models(self) -> list[str]: ...
    @property
    def simulated(self) -> bool: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...


AnsweredInRun = Callable[[UUID, UUID], Awaitable[Answered]]
PromptsOfRun = Callable[[UUID, UUID], Awaitable[Mapping[str, str]]]
"""The prompt version of each role that answered in a run, those of failed tasks too."""
PricedAs = Callable[[int, int], tuple[str, int] | None]
"""What prompt and completion tokens would have cost on a priced model: its name and nano-dollars."""

_GOALS = f"""
SELECT id, {shown_status("g.status", "g.run_id")} AS status, title, run_id, '/v1/goals/' || id AS href, created_at,
  finished_at
FROM goals g WHERE (%(after)s::uuid IS NULL OR id < %(after)s)
  AND (%(status)s::text IS NULL OR {shown_status("g.status", "g.run_id")} = %(status)s)
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - constants
_GOAL = f"SELECT *, {shown_status('g.status', 'g.run_id')} AS shown FROM goals g WHERE id = %s"  # noqa: S608 - constants
_PLAN = """
SELECT coalesce(p.body, t.output) -> 'tasks' AS tasks FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload
WHERE t.run_id = %s AND t.kind = 'plan' ORDER BY t.position LIMIT 1
"""
_PROMPTS = """
SELECT DISTINCT p.key, p.value FROM tasks t, jsonb_each_text(t.details -> 'prompt_versions') p
WHERE t.run_id = %s AND t.details ? 'prompt_versions'
"""
_RUNS = f"""
SELECT id, {shown_status("r.status", "r.id")} AS status, goal_id, parent_run_id, workflow, '/v1/runs/' || id AS href,
  total_tasks, created_at, started_at, finished_at
FROM runs r WHERE (%(after)s::uuid IS NULL OR id < %(after)s)
  AND (%(status)s::text IS NULL OR {shown_status("r.status", "r.id")} = %(status)s)
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - constants
_RUN = f"SELECT *, {shown_status('r.status', 'r.id')} AS shown FROM runs r WHERE id = %s"  # noqa: S608 - constants
# a task whose nested run goes on is at work, though no worker holds it
_NESTED = "t.kind = 'workflow' AND t.spec -> '$state' ? 'run_id'"
_STATUS = f"CASE WHEN t.status = 'ready' AND {_NESTED} THEN 'running' ELSE t.status END"
_COUNTS = f"SELECT {_STATUS} AS status, count(*) AS number FROM tasks t WHERE run_id = %s GROUP BY 1"  # noqa: S608 - constants
_SHOWN = f"""
t.id, t.key, t.kind, t.spec ->> 'title' AS title, {_STATUS} AS status,
  CASE WHEN {_NESTED} THEN greatest(t.attempt, 1) ELSE t.attempt END AS attempt,
  ARRAY(SELECT d.key FROM tasks d WHERE d.id = ANY(t.dependencies) ORDER BY d.position) AS depends_on,
  coalesce(t.details, CASE WHEN {_NESTED} THEN jsonb_build_object('run_id', t.spec -> '$state' -> 'run_id') END)
    AS details,
  t.error, t.reused_from, t.created_at, t.started_at, t.finished_at
"""  # noqa: S608 - constants
_TASKS = f"""
SELECT {_SHOWN}, t.output, t.output_payload IS NOT NULL AS output_omitted, t.position
FROM tasks t WHERE t.run_id = %s AND t.position > %s ORDER BY t.position LIMIT %s
"""  # noqa: S608 - constants
_TASK = f"""
SELECT {_SHOWN}, coalesce(p.body, t.output) AS output, false AS output_omitted
FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload WHERE t.run_id = %s AND t.key = %s
"""  # noqa: S608 - constants
_EVENTS = """
SELECT seq, at, kind, task_key AS task, data FROM run_events WHERE run_id = %s AND seq > %s ORDER BY seq LIMIT %s
"""


class NewestFirst(NamedTuple):
    """Where a page ended: ids sort by time."""

    id: UUID


class ByPosition(NamedTuple):
    """Where a page of tasks ended."""

    position: int


class RunHead(NamedTuple):
    """How far a run is: its status, and the number of its last event."""

    status: RunStatus
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningQueries:
    """A tenant's own view of its goals and runs."""

    database: Database
    spent: Spent
    spent_by_runs: SpentByRuns
    answered: AnsweredInRun
    prompts: PromptsOfRun
    files: Files
    priced_as: PricedAs

    async def goals(
        self, tenant_id: UUID, *, limit: int, after: NewestFirst | None, status: RunStatus | None
    ) -> list[GoalSummary]:
        """The newest `limit + 1` goals after the cursor."""
        values = {"after": after and after.id, "status": status and status.value, "limit": limit + 1}
        async with self.database.transaction(tenant_id) as connection:
            return [msgspec.convert(row, GoalSummary) for row in await _rows(connection, _GOALS, values)]

    async def goal(self, tenant_id: UUID, goal_id: UUID) -> GoalView:
        """The goal, whole, or `GoalNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            found = await _rows(connection, _GOAL, (goal_id,))
            if not found:
                raise GoalNotFound(f"There is no goal {goal_id}.")
            plan = await _rows(connection, _PLAN, (found[0]["run_id"],))
            below = await nested(connection, found[0]["run_id"])
        files = await self._artifacts(tenant_id, goal_id, found[0]["run_id"])
        cost = await self._cost(tenant_id, goal_id, below)
        models = await self.answered(tenant_id, found[0]["run_id"])
        would = self.priced_as(models.prompt_tokens, models.completion_tokens) if models.simulated else None
        priced = would and PricedAsView(model=would[0], cost_usd=usd_text(would[1]))
        return _goal_view(found[0], plan[0]["tasks"] if plan else None, models, files, cost, priced)

    async def _artifacts(self, tenant_id: UUID, goal_id: UUID, run_id: UUID) -> list[tuple[StoredFile, ArtifactView]]:
        files = await self.files(tenant_id, run_id)
        if not files:
            return []
        async with self.database.transaction(tenant_id) as connection:
            wrote = await writers(connection, run_id, files)
        return [(file, _artifact(goal_id, file, wrote.get(file.task_id))) for file in files]

    async def runs(
        self, tenant_id: UUID, *, limit: int, after: NewestFirst | None, status: RunStatus | None
    ) -> list[RunSummary]:
        """The newest `limit + 1` runs after the cursor."""
        values = {"after": after and after.id, "status": status and status.value, "limit": limit + 1}
        async with self.database.transaction(tenant_id) as connection:
            return [msgspec.convert(row, RunSummary) for row in await _rows(connection, _RUNS, values)]

    async def run(self, tenant_id: UUID, run_id: UUID) -> RunView:
        """The run, whole, or `RunNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            found = await _rows(connection, _RUN, (run_id,))
            if not found:
                raise RunNotFound(f"There is no run {run_id}.")
            reused = await _rows(connection, _PROMPTS, (run_id,))
            counts = await _rows(connection, _COUNTS, (run_id,))
            below = await nested(connection, run_id)
        goal_id = found[0]["goal_id"]
        if goal_id:
            cost = await self._cost(tenant_id, goal_id, below)
        else:  # of its calls: a budget of its own may be younger than it, and start anew every day
            cost = await self.spent_by_runs(tenant_id, [run_id, *below])
        prompts = {each["key"]: each["value"] for each in reused} | dict(await self.prompts(tenant_id, run_id))
        return _run_view(found[0], await self.answered(tenant_id, run_id), prompts, counts, cost)

    async def _cost(self, tenant_id: UUID, goal_id: UUID, below: Sequence[UUID]) -> int:
        """What the goal has spent, and the runs that its own started."""
        nested_nanousd = await self.spent_by_runs(tenant_id, below) if below else 0
        return nested_nanousd + await self.spent(tenant_id, f"goal:{goal_id}")

    async def must_exist(self, tenant_id: UUID, run_id: UUID) -> None:
        """Raise `RunNotFound` unless the tenant has this run."""
        async with self.database.transaction(tenant_id) as connection:
            await _head(connection, run_id)

    async def tasks(
        self, tenant_id: UUID, run_id: UUID, *, limit: int, after: ByPosition | None
    ) -> list[tuple[int, TaskView]]:
        """`limit + 1` tasks with their positions, after the cursor, or `RunNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            await _head(connection, run_id)
            position = -1 if after is None else after.position
            rows = await _rows(connection, _TASKS, (run_id, position, limit + 1))
        return [(row.pop("position"), msgspec.convert(row, TaskView)) for row in rows]

    async def task(self, tenant_id: UUID, run_id: UUID, key: str) -> TaskView:
        """One task with all of its output; `RunNotFound`, `TaskNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            await _head(connection, run_id)
            found = await _rows(connection, _TASK, (run_id, key.replace("\0", "")))
        if not found:
            raise TaskNotFound(f"The run has no task '{key[:100]}'.")
        return msgspec.convert(found[0], TaskView)

    async def events(self, tenant_id: UUID, run_id: UUID, *, after: int, limit: int) -> tuple[RunHead, list[EventView]]:
        """How far the run is, and at most `limit` events after number `after`; `RunNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            head = await _head(connection, run_id)
            rows = await _rows(connection, _EVENTS, (run_id, after, limit)) if after < head.last_seq else []
        return head, [msgspec.convert(row, EventView) for row in rows]

    async def run_of_goal(self, tenant_id: UUID, goal_id: UUID) -> UUID:
        """The id of the goal's run, or `GoalNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            found = await _rows(connection, "SELECT run_id FROM goals WHERE id = %s", (goal_id,))
        if not found:
            raise GoalNotFound(f"There is no goal {goal_id}.")
        run_id: UUID = found[0]["run_id"]
        return run_id

    async def heads(self, run_ids: Sequence[UUID]) -> dict[UUID, int]:
        """The number of the last event of each run, whoever's it is: only for waking streams."""
        async with self.database.connection() as connection:
            rows = await _rows(connection, "SELECT run, head FROM run_heads(%s::uuid[])", (list(run_ids),))
        return {row["run"]: row["head"] for row in rows}


async def _head(connection: AsyncConnection[Any], run_id: UUID) -> RunHead:
    rows = await _rows(connection, "SELECT status, last_seq FROM runs WHERE id = %s", (run_id,))
    if not rows:
        raise RunNotFound(f"There is no run {run_id}.")
    return RunHead(status=RunStatus(rows[0]["status"]), last_seq=rows[0]["last_seq"])


async def _rows(connection: AsyncConnection[Any], query: str, values: Any) -> list[dict[str, Any]]:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), values)
    return await cursor.fetchall()


def _goal_view(
    row: dict[str, Any],
    plan: Any,
    models: Answered,
    files: Sequence[tuple[StoredFile, ArtifactView]],
    cost_nanousd: int,
    priced: PricedAsView | None,
) -> GoalView:
    base = f"/v1/goals/{row['id']}"
    made = [shown for file, shown in files if file.origin == "output"]
    return GoalView(
        id=row["id"],
        status=RunStatus(row["shown"]),
        title=row["title"],
        statement=row["statement"],
        run_id=row["run_id"],
        href=base,
        run_href=f"/v1/runs/{row['run_id']}",
        events_href=f"/v1/runs/{row['run_id']}/events",
        budget_usd=usd_text(row["budget_nanousd"]),
        cost_usd=usd_text(cost_nanousd),
        plan=None if plan is None else msgspec.convert(plan, list[PlannedTaskView]),
        result=ResultView(text=row["result_text"] or "", artifacts=made) if row["status"] == "succeeded" else None,
        error=_problem(row["error"]),
        models=models.models,
        simulated=models.simulated,
        priced_as=priced,
        inputs=[shown for file, shown in files if file.origin == "input"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )


def _run_view(
    row: dict[str, Any],
    models: Answered,
    prompts: dict[str, str],
    counts: Sequence[dict[str, Any]],
    cost_nanousd: int,
) -> RunView:
    base = f"/v1/runs/{row['id']}"
    return RunView(
        id=row["id"],
        status=RunStatus(row["shown"]),
        goal_id=row["goal_id"],
        parent_run_id=row["parent_run_id"],
        workflow=_workflow(row["workflow"], row["workflow_version"]),
        forked_from=row["forked_from"],
        forked_at=row["forked_at"],
        href=base,
        events_href=f"{base}/events",
        tasks_href=f"{base}/tasks",
        files_href=f"{base}/files",
        total_tasks=row["total_tasks"],
        tasks=TaskCounts(**{each["status"]: each["number"] for each in counts}),
        result_text=row["result_text"],
        error=_problem(row["error"]),
        cost_usd=usd_text(cost_nanousd),
        models=models.models,
        simulated=models.simulated,
        prompts=prompts,
        last_seq=row["last_seq"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _workflow(name: str | None, version: int) -> WorkflowRef | None:
    if name is None:
        return None
    return WorkflowRef(name=name, version=version, href=f"/v1/workflows/{name}?version={version}")


def _artifact(goal_id: UUID, file: StoredFile, writer: Writer | None) -> ArtifactView:
    return ArtifactView(
        name=file.name,
        media_type=file.media_type,
        bytes=file.bytes,
        task=writer and writer.key,
        task_status=writer and writer.status,
        href=f"/v1/goals/{goal_id}/artifacts/{quote(file.name)}",
    )


def _problem(error: Any) -> ProblemView | None:
    return None if error is None else msgspec.convert(error, ProblemView)
