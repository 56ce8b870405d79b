"""The critical path of a run, read and computed."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import msgspec

from cognitionos.planning.domain.critical_path import CriticalPath, Measured, critical_path
from cognitionos.planning.domain.run import RunNotFound
from cognitionos.platform.database import Database

# a run is marked as started when its first task's start is recorded, which is a moment after that task began
_RUN = """
SELECT extract(epoch FROM coalesce(r.finished_at, now()) - least(r.started_at, (
  SELECT min(t.started_at) FROM tasks t WHERE t.run_id = r.id AND t.reused_from IS NULL)))::float8
FROM runs r WHERE r.id = %s
"""
_TASKS = """
SELECT id, key, kind, CASE WHEN reused_from IS NULL AND started_at IS NOT NULL
    THEN greatest(0, extract(epoch FROM coalesce(finished_at, now()) - started_at))::float8 ELSE 0 END,
  dependents, CASE WHEN spec -> '$state' ? 'item' THEN regexp_replace(key, '\\[[0-9]+\\]$', '') END,
  spec ->> 'title', reused_from IS NOT NULL
FROM tasks WHERE run_id = %s ORDER BY position
"""


class OnThePath(msgspec.Struct, frozen=True, kw_only=True):
    """A task on the critical path. One that is `reused` took no time here: a run before this one did it."""

    key: str
    kind: str
    title: str | None
    seconds: float
    reused: bool


class CriticalPathView(msgspec.Struct, frozen=True, kw_only=True):
    """Measured seconds of what this run did itself. `length_s`: the longest chain of tasks that waited for each other;
    `work_s`: all tasks, one after the other; `wall_s`: what the run took. `speed_up` is work by wall, `most_speed_up`
    work by length: what more workers could reach. Null before anything was measured.
    """

    length_s: float
    work_s: float
    wall_s: float | None
    speed_up: float | None
    most_speed_up: float | None
    tasks: list[OnThePath]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalPathQueries:
    """Reads of one tenant at a time."""

    database: Database

    async def of_run(self, tenant_id: UUID, run_id: UUID) -> CriticalPathView:
        """The run's, so far. Raises `RunNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            run = await (await connection.execute(_RUN, (run_id,))).fetchone()
            if run is None:
                raise RunNotFound(f"There is no run {run_id}.")
            rows = await (await connection.execute(_TASKS, (run_id,))).fetchall()
        measured = [
            Measured(id=row[0], key=row[1], kind=row[2], seconds=row[3], dependents=tuple(row[4]), items_of=row[5])
            for row in rows
        ]
        path = await asyncio.to_thread(critical_path, measured)
        return _view(path, run[0], {row[1]: (row[6], row[7]) for row in rows})


def _view(path: CriticalPath, wall_s: float | None, shown: dict[str, tuple[str | None, bool]]) -> CriticalPathView:
    return CriticalPathView(
        length_s=round(path.length_s, 6),
        work_s=round(path.work_s, 6),
        wall_s=None if wall_s is None else round(wall_s, 6),
        speed_up=_rounded(path.speed_up(wall_s)),
        most_speed_up=_rounded(path.most_speed_up),
        tasks=[
            OnThePath(key=task.key, kind=task.kind, title=title, seconds=round(task.seconds, 6), reused=reused)
            for task in path.tasks
            for title, reused in [shown[task.key]]
        ],
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
