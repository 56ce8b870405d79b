"""When work starts by itself: a cron expression or an interval, and what happens to times that were missed.

Cron is read as Debian's cron reads it (`cron.py`), daylight saving included: a time that the change to summer skips
fires right after it, one that the change to winter repeats fires once; what runs hourly or oftener just goes on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from cognitionos.kernel.errors import Conflict, Invalid, NotFound
from cognitionos.kernel.time_zones import is_time_zone
from cognitionos.planning.domain.cron import cron_times, cron_times_back
from cognitionos.planning.domain.goal import GoalTerms

SHORTEST_INTERVAL_S = 1.0
LONGEST_INTERVAL_S = 366 * 86_400.0
MOST_CAUGHT_UP = 100
MOST_COUNTED = 1_000
ON_TIME = timedelta(seconds=60)
"""A time that is older than this when it is seen was missed."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CRON_FIELDS = 5


class InvalidSchedule(Invalid):
    """The schedule cannot be taken as it is; `fields` names the faults."""


class ScheduleNotFound(NotFound):
    """No such schedule, or not of this tenant."""


class ScheduleExists(Conflict):
    """Another schedule has that name."""


class CatchUp(StrEnum):
    """What happens to times that passed while nobody could fire: none, the latest, or each up to a number."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Overlap(StrEnum):
    """What happens when the run before has not ended: start beside it, leave it out, wait for it, or cancel it."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    CANCEL = "cancel"


class Outcome(StrEnum):
    """What became of one time: a run, nothing as the one before went on, a place in the queue, too late, a refusal."""

    STARTED = "started"
    SKIPPED = "skipped"
    QUEUED = "queued"
    MISSED = "missed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Either `cron` (five fields, in `time_zone`) or `every_s` seconds counted from `anchor`."""

    cron: str | None = None
    every_s: float | None = None
    time_zone: str = "UTC"
    anchor: datetime = field(default=datetime(2026, 1, 1, tzinfo=UTC))

    def __post_init__(self) -> None:
        """Raises `InvalidSchedule` naming what is wrong."""
        if (self.cron is None) == (self.every_s is None):
            _refuse("cron", "say either 'cron' or 'every_s'")
        if not is_time_zone(self.time_zone):
            _refuse("time_zone", "is not a time zone of the IANA database, such as 'Europe/Berlin'")
        if self.cron is not None:
            _check_cron(self.cron, ZoneInfo(self.time_zone))
        if self.every_s is not None and not SHORTEST_INTERVAL_S <= self.every_s <= LONGEST_INTERVAL_S:
            _refuse("every_s", f"must be from {SHORTEST_INTERVAL_S:.0f} to {LONGEST_INTERVAL_S:.0f} seconds")

    def after(self, moment: datetime) -> datetime | None:
        """The first time after `moment` (UTC); None when none comes within 50 years."""
        return next(self.times_after(moment), None)

    def times_after(self, moment: datetime) -> Iterator[datetime]:
        """Every time after `moment`, in order (UTC)."""
        if self.cron is not None:
            yield from cron_times(self.cron, ZoneInfo(self.time_zone), moment)
            return
        step = timedelta(seconds=self.every_s or 0)
        passed = (moment - self.anchor) // step + 1
        while True:
            yield self.anchor + passed * step
            passed += 1

    def times_until(self, moment: datetime) -> Iterator[datetime]:
        """Every time up to and with `moment`, the latest first (UTC)."""
        if self.cron is not None:
            yield from cron_times_back(self.cron, ZoneInfo(self.time_zone), moment)
            return
        step = timedelta(seconds=self.every_s or 0)
        passed = (moment - self.anchor) // step
        while True:
            yield self.anchor + passed * step
            passed -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a look at the clock finds: the times to fire, oldest first, and how many others passed unused."""

    fire: tuple[datetime, ...]
    missed: int
    next_at: datetime | None


def due(timing: Timing, *, next_at: datetime, now: datetime, catch_up: CatchUp, most: int) -> Due:
    """What is to be done at `now` about the times from `next_at` on."""
    passed = []
    for time in islice(timing.times_until(now), MOST_COUNTED):
        if time < next_at:
            break
        passed.append(time)
    kept = {CatchUp.SKIP: passed[:1], CatchUp.LATEST: passed[:1], CatchUp.ALL: passed[:most]}[catch_up]
    if catch_up is CatchUp.SKIP:
        kept = [time for time in kept if now - time <= ON_TIME]
    return Due(fire=tuple(reversed(kept)), missed=len(passed) - len(kept), next_at=timing.after(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is started: a workflow (`workflow`, `version`, `input`) or a goal."""

    workflow: str | None = None
    version: int | None = None
    input: Any = None
    goal: GoalTerms | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidSchedule` unless it is one of the two."""
        if (self.workflow is None) == (self.goal is None):
            _refuse("workflow", "say either 'workflow' or 'goal'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """One time of a schedule and what became of it. `missed` others passed unused before it."""

    scheduled_at: datetime
    outcome: Outcome
    run_id: UUID | None = None
    missed: int = 0
    detail: str | None = None
    by_hand: bool = False


@dataclass(slots=True, kw_only=True)
class Schedule:
    """What starts when. `next_at` is null while it is paused or when no time is left; `queued_for` waits its turn."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    api_key_id: UUID | None
    user: str | None
    name: str
    timing: Timing
    target: Target
    catch_up: CatchUp
    most_caught_up: int
    overlap: Overlap
    paused: bool
    created_at: datetime
    next_at: datetime | None
    last_run_id: UUID | None = None
    queued_for: datetime | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidSchedule` naming what is wrong."""
        if not 1 <= self.most_caught_up <= MOST_CAUGHT_UP:
            _refuse("most_caught_up", f"must be from 1 to {MOST_CAUGHT_UP}")

    def pause(self) -> None:
        """Fire no more; what was queued is forgotten."""
        self.paused, self.next_at, self.queued_for = True, None, None

    def decide(self, *, previous_goes_on: bool) -> Outcome:
        """What becomes of a time that has come. `CANCEL` starts: whoever asks has ended the run before."""
        if not previous_goes_on or self.overlap in {Overlap.ALLOW, Overlap.CANCEL}:
            return Outcome.STARTED
        if self.overlap is Overlap.QUEUE and self.queued_for is None:
            return Outcome.QUEUED
        return Outcome.SKIPPED

    def record(self, fire: Fire) -> None:
        """Remember what became of a time."""
        if fire.outcome is Outcome.QUEUED:
            self.queued_for = fire.scheduled_at
        elif fire.scheduled_at == self.queued_for:
            self.queued_for = None
        self.last_run_id = fire.run_id or self.last_run_id

    def change(self, timing: Timing, now: datetime) -> None:
        """Take another timing, counted from `now`; the same one changes nothing."""
        if replace(timing, anchor=self.timing.anchor) != self.timing:
            self.timing = replace(timing, anchor=now)
            self.next_at = None if self.paused else self.timing.after(now)

    def resume(self, now: datetime) -> None:
        """Fire again, from the next time on: what passed meanwhile was wanted to pass."""
        if self.paused:
            self.paused, self.next_at = False, self.timing.after(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do about the oldest time that has come, and which time comes next."""

    fire: Fire
    next_at: datetime | None


def next_step(schedule: Schedule, now: datetime, *, previous_goes_on: bool) -> Step | None:
    """What to do now; None: nothing. What is queued goes before what the clock brings."""
    if schedule.queued_for is not None and not previous_goes_on:
        return Step(fire=Fire(scheduled_at=schedule.queued_for, outcome=Outcome.STARTED), next_at=schedule.next_at)
    if schedule.next_at is None or schedule.next_at > now:
        return None
    found = due(
        schedule.timing,
        next_at=schedule.next_at,
        now=now,
        catch_up=schedule.catch_up,
        most=schedule.most_caught_up,
    )
    if not found.fire:
        fire = Fire(scheduled_at=schedule.next_at, outcome=Outcome.MISSED, missed=max(0, found.missed - 1))
        return Step(fire=fire, next_at=found.next_at)
    fire = Fire(
        scheduled_at=found.fire[0], outcome=schedule.decide(previous_goes_on=previous_goes_on), missed=found.missed
    )
    return Step(fire=fire, next_at=found.fire[1] if len(found.fire) > 1 else found.next_at)


def checked_name(name: str) -> str:
    """A name of a schedule; raises `InvalidSchedule`."""
    if not NAME.fullmatch(name):
        _refuse("name", "must be 1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first")
    return name


def _check_cron(cron: str, zone: ZoneInfo) -> None:
    if len(cron.split()) != _CRON_FIELDS:
        _refuse("cron", "must have five fields: minute, hour, day of month, month, day of week")
    try:
        next(CronSim(cron, datetime.now(zone)))
    except CronSimError as error:
        _refuse("cron", f"is not a cron expression: {error}")
    except StopIteration:
        _refuse("cron", "never comes within 50 years")


def _refuse(name: str, fault: str) -> None:
    raise InvalidSchedule(f"{name}: {fault}", fields={name: fault})
