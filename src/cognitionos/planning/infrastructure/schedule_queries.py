"""Reads of schedules, straight to what is shown."""

from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from cognitionos.kernel.clock import Clock
from cognitionos.planning.domain.schedule import CatchUp, Outcome, Overlap, Schedule, ScheduleNotFound
from cognitionos.planning.infrastructure.schedule_rows import COLUMNS, schedule_of
from cognitionos.planning.infrastructure.wanted_goal import WantedGoal
from cognitionos.platform.database import Database

UPCOMING = 5
_LIST = f"""
SELECT {COLUMNS} FROM schedules WHERE %(after)s::text IS NULL OR name > %(after)s ORDER BY name LIMIT %(limit)s
"""  # noqa: S608 - constants
_ONE = f"SELECT {COLUMNS} FROM schedules WHERE id = %s"  # noqa: S608 - constants
_FIRES = """
SELECT id, scheduled_at, fired_at, outcome, by_hand, missed, detail, run_id,
  CASE WHEN run_id IS NOT NULL THEN '/v1/runs/' || run_id END AS run_href
FROM schedule_fires WHERE schedule_id = %(id)s AND (%(after)s::uuid IS NULL OR id < %(after)s)
ORDER BY id DESC LIMIT %(limit)s
"""


class WorkflowTarget(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A run of a workflow; without `version` the one that is the latest then."""

    name: str
    version: int | None = None
    input: Any = None


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule. `next_at` is null while it is paused; `upcoming` has the next five times."""

    id: UUID
    name: str
    cron: str | None
    every_s: float | None
    time_zone: str
    workflow: WorkflowTarget | None
    goal: WantedGoal | None
    catch_up: CatchUp
    most_caught_up: int
    overlap: Overlap
    paused: bool
    next_at: datetime | None
    upcoming: list[datetime]
    last_run_id: UUID | None
    created_at: datetime
    href: str


class FireView(msgspec.Struct, frozen=True, kw_only=True):
    """One time that came, and what became of it; `missed` others passed unused before it."""

    id: UUID
    scheduled_at: datetime
    fired_at: datetime
    outcome: Outcome
    by_hand: bool
    missed: int
    detail: str | None
    run_id: UUID | None
    run_href: str | None


class ByName(NamedTuple):
    """Where a page of schedules ended."""

    name: str


class ById(NamedTuple):
    """Where a page of times ended."""

    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleQueries:
    """A tenant's own view of its schedules."""

    database: Database
    now: Clock

    async def schedules(self, tenant_id: UUID, *, limit: int, after: ByName | None) -> list[ScheduleView]:
        """`limit + 1` schedules by name, after the cursor."""
        rows = await self._rows(tenant_id, _LIST, {"after": after and after.name, "limit": limit + 1})
        return [self.view(schedule_of(row)) for row in rows]

    async def schedule(self, tenant_id: UUID, schedule_id: UUID) -> ScheduleView:
        """The schedule, or `ScheduleNotFound`."""
        rows = await self._rows(tenant_id, _ONE, (schedule_id,))
        if not rows:
            raise ScheduleNotFound(f"There is no schedule {schedule_id}.")
        return self.view(schedule_of(rows[0]))

    async def fires(self, tenant_id: UUID, schedule_id: UUID, *, limit: int, after: ById | None) -> list[FireView]:
        """`limit + 1` times that came, the latest first, after the cursor; or `ScheduleNotFound`."""
        await self.schedule(tenant_id, schedule_id)
        values = {"id": schedule_id, "after": after and after.id, "limit": limit + 1}
        return [msgspec.convert(row, FireView) for row in await self._rows(tenant_id, _FIRES, values)]

    def view(self, schedule: Schedule) -> ScheduleView:
        """As shown."""
        timing, target = schedule.timing, schedule.target
        goal = None if target.goal is None else WantedGoal(**asdict(target.goal))
        workflow = None
        if target.workflow is not None:
            workflow = WorkflowTarget(name=target.workflow, version=target.version, input=target.input)
        return ScheduleView(
            id=schedule.id,
            name=schedule.name,
            cron=timing.cron,
            every_s=timing.every_s,
            time_zone=timing.time_zone,
            workflow=workflow,
            goal=goal,
            catch_up=schedule.catch_up,
            most_caught_up=schedule.most_caught_up,
            overlap=schedule.overlap,
            paused=schedule.paused,
            next_at=schedule.next_at,
            upcoming=[] if schedule.paused else list(islice(timing.times_after(self.now()), UPCOMING)),
            last_run_id=schedule.last_run_id,
            created_at=schedule.created_at,
            href=f"/v1/schedules/{schedule.id}",
        )

    async def _rows(self, tenant_id: UUID, statement: str, values: Any) -> list[dict[str, Any]]:
        async with (
            self.database.transaction(tenant_id) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(statement.encode(), values)
            return await cursor.fetchall()
