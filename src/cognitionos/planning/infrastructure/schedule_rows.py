"""Schedules in one unit of work, and what became of their times."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.rows import dict_row

from cognitionos.planning.domain.goal import GoalTerms
from cognitionos.planning.domain.schedule import (
    CatchUp,
    Fire,
    Overlap,
    Schedule,
    ScheduleExists,
    ScheduleNotFound,
    Target,
    Timing,
)
from cognitionos.planning.infrastructure.rows import jsonb
from cognitionos.platform.unit_of_work import UnitOfWork

COLUMNS = (
    "id, tenant_id, project_id, api_key_id, user_name, name, cron, every_s, time_zone, target, catch_up, "
    "most_caught_up, overlap, paused, created_at, anchor, next_at, last_run_id, queued_for"
)
_NAMES = COLUMNS.split(", ")
_ADD = f"INSERT INTO schedules ({COLUMNS}) VALUES ({', '.join(f'%({name})s' for name in _NAMES)})"  # noqa: S608 - constants
_SAVE = f"UPDATE schedules SET {', '.join(f'{name} = %({name})s' for name in _NAMES[5:])} WHERE id = %(id)s"  # noqa: S608 - constants
_GET = f"SELECT {COLUMNS} FROM schedules WHERE id = %s"  # noqa: S608 - constants
_FIRE = """
INSERT INTO schedule_fires
  (id, tenant_id, schedule_id, scheduled_at, fired_at, outcome, run_id, missed, detail, by_hand)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (schedule_id, scheduled_at) WHERE NOT by_hand DO UPDATE
SET outcome = excluded.outcome, run_id = excluded.run_id, fired_at = excluded.fired_at, detail = excluded.detail
WHERE schedule_fires.outcome = 'queued'
"""


class ScheduleRows:
    """Schedules of the tenant of the session."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    async def add(self, schedule: Schedule) -> None:
        """Keep a new one, or `ScheduleExists`."""
        connection = await self._work.connection()
        try:
            await connection.execute(_ADD, _values(schedule))
        except UniqueViolation as error:
            message = f"There is a schedule named '{schedule.name}' already; change that one, or take another name."
            raise ScheduleExists(message, fields={"name": "is taken"}) from error

    async def get(self, schedule_id: UUID) -> Schedule:
        """The schedule, or `ScheduleNotFound`."""
        return await self._one(_GET, schedule_id)

    async def locked(self, schedule_id: UUID) -> Schedule:
        """The schedule under its row lock, or `ScheduleNotFound`."""
        return await self._one(f"{_GET} FOR UPDATE", schedule_id)

    async def save(self, schedule: Schedule) -> None:
        """Write a locked one back."""
        await (await self._work.connection()).execute(_SAVE, _values(schedule))

    async def remove(self, schedule_id: UUID) -> None:
        """Delete it with its history, or `ScheduleNotFound`."""
        connection = await self._work.connection()
        if (await connection.execute("DELETE FROM schedules WHERE id = %s", (schedule_id,))).rowcount == 0:
            raise ScheduleNotFound(f"There is no schedule {schedule_id}.")

    async def record(self, schedule: Schedule, fire: Fire, *, fire_id: UUID, now: datetime) -> bool:
        """Write what became of a time; False if that was written before."""
        connection = await self._work.connection()
        values = (fire.scheduled_at, now, fire.outcome.value, fire.run_id, fire.missed, fire.detail, fire.by_hand)
        cursor = await connection.execute(_FIRE, (fire_id, schedule.tenant_id, schedule.id, *values))
        return cursor.rowcount == 1

    async def goes_on(self, run_id: UUID | None) -> bool:
        """Whether that run has not ended."""
        connection = await self._work.connection()
        cursor = await connection.execute("SELECT FROM runs WHERE id = %s AND finished_at IS NULL", (run_id,))
        return await cursor.fetchone() is not None

    async def leads(self, fence: int) -> bool:
        """Whether `fence` is still the leader's; it stays so until the commit."""
        connection = await self._work.connection()
        row = await (await connection.execute("SELECT leads_schedules(%s)", (fence,))).fetchone()
        return row is not None and bool(row[0])

    async def _one(self, statement: str, schedule_id: UUID) -> Schedule:
        connection = await self._work.connection()
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), (schedule_id,))
            row = await cursor.fetchone()
        if row is None:
            raise ScheduleNotFound(f"There is no schedule {schedule_id}.")
        return schedule_of(row)


def schedule_of(row: Mapping[str, Any]) -> Schedule:
    """The schedule in a row of `COLUMNS`."""
    return Schedule(
        id=row["id"],
        tenant_id=row["tenant_id"],
        project_id=row["project_id"],
        api_key_id=row["api_key_id"],
        user=row["user_name"],
        name=row["name"],
        timing=Timing(cron=row["cron"], every_s=row["every_s"], time_zone=row["time_zone"], anchor=row["anchor"]),
        target=_target(row["target"]),
        catch_up=CatchUp(row["catch_up"]),
        most_caught_up=row["most_caught_up"],
        overlap=Overlap(row["overlap"]),
        paused=row["paused"],
        created_at=row["created_at"],
        next_at=row["next_at"],
        last_run_id=row["last_run_id"],
        queued_for=row["queued_for"],
    )


def _values(schedule: Schedule) -> dict[str, Any]:
    timing = schedule.timing
    return {
        "id": schedule.id,
        "tenant_id": schedule.tenant_id,
        "project_id": schedule.project_id,
        "api_key_id": schedule.api_key_id,
        "user_name": schedule.user,
        "name": schedule.name,
        "cron": timing.cron,
        "every_s": timing.every_s,
        "time_zone": timing.time_zone,
        "anchor": timing.anchor,
        "target": jsonb(_stored(schedule.target)),
        "catch_up": schedule.catch_up.value,
        "most_caught_up": schedule.most_caught_up,
        "overlap": schedule.overlap.value,
        "paused": schedule.paused,
        "created_at": schedule.created_at,
        "next_at": schedule.next_at,
        "last_run_id": schedule.last_run_id,
        "queued_for": schedule.queued_for,
    }


def _stored(target: Target) -> dict[str, Any]:
    """Workflow or goal: the fields of either. Of a goal's only those that are not as usual: older processes, which may
    still run, know two of them.
    """
    if target.goal is None:
        return {"workflow": target.workflow, "version": target.version, "input": target.input}
    usual = asdict(GoalTerms(statement=""))
    return {name: value for name, value in asdict(target.goal).items() if value != usual[name]}


def _target(stored: Mapping[str, Any]) -> Target:
    """Earlier versions stored the fields of both, of a goal its statement and its budget."""
    given = {name: value for name, value in stored.items() if value is not None}
    if "statement" in given:
        return Target(goal=GoalTerms(**given))
    return Target(workflow=given["workflow"], version=given.get("version"), input=given.get("input"))
