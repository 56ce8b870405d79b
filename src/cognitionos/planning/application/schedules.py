"""Schedules: make, change and trigger them; fire what is due, exactly once."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import DomainError, Forbidden
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.engine import TASKS
from cognitionos.planning.application.goals import Goals, Submission
from cognitionos.planning.application.runs import Runs
from cognitionos.planning.application.runs import Work as RunsWork
from cognitionos.planning.application.workflows import origin_of
from cognitionos.planning.domain.run import RunAlreadyFinished
from cognitionos.planning.domain.schedule import (
    CatchUp,
    Fire,
    Outcome,
    Overlap,
    Schedule,
    Target,
    Timing,
    checked_name,
    next_step,
)
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
SCHEDULES = "schedules"
FIRED = declare("schedules.fired")


class LeadLost(Exception):
    """Another process leads the schedules now: what this one wanted to fire, that one will."""


class KeyEnded(Forbidden):
    """A schedule works in the name of the key that made it; after its end nothing does."""


class ScheduleRepository(Protocol):
    """Schedules in one unit of work, with what became of their times."""

    async def add(self, schedule: Schedule) -> None: ...
    async def get(self, schedule_id: UUID) -> Schedule: ...
    async def locked(self, schedule_id: UUID) -> Schedule: ...
    async def save(self, schedule: Schedule) -> None: ...
    async def remove(self, schedule_id: UUID) -> None: ...
    async def record(self, schedule: Schedule, fire: Fire, *, fire_id: UUID, now: datetime) -> bool: ...
    async def goes_on(self, run_id: UUID | None) -> bool: ...
    async def leads(self, fence: int) -> bool: ...


class Work(RunsWork, Protocol):
    """One commit of planning, schedules included."""

    @property
    def schedules(self) -> ScheduleRepository: ...


Begin = Callable[[UUID], AbstractAsyncContextManager[Work]]
Start = Callable[[Work], Awaitable[UUID]]
"""Starts a schedule's target in a unit of work; gives the run's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What somebody wants done when."""

    name: str
    timing: Timing
    target: Target
    catch_up: CatchUp = CatchUp.LATEST
    most_caught_up: int = 10
    overlap: Overlap = Overlap.SKIP
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """Use cases of schedules."""

    begin: Begin
    runs: Runs
    goals: Goals
    signals: Signals
    now: Clock
    new_id: Callable[[], UUID]
    observe: Callable[[Fire], None]
    key_speaks: Callable[[UUID, UUID], Awaitable[bool]]

    async def create(self, who: Principal, plan: Plan) -> Schedule:
        """A new schedule. Raises `ScheduleExists`, and what its target's start would raise today."""
        now = self.now()
        timing = replace(plan.timing, anchor=now)
        schedule = Schedule(
            id=self.new_id(),
            tenant_id=who.tenant_id,
            project_id=who.project_id,
            api_key_id=who.api_key_id,
            user=who.user,
            name=checked_name(plan.name),
            timing=timing,
            target=plan.target,
            catch_up=plan.catch_up,
            most_caught_up=plan.most_caught_up,
            overlap=plan.overlap,
            paused=plan.paused,
            created_at=now,
            next_at=None if plan.paused else timing.after(now),
        )
        async with self.begin(who.tenant_id) as work:
            await self._check(work, who, schedule.target)
            await work.schedules.add(schedule)
        await self.signals.send(SCHEDULES)
        return schedule

    async def change(self, who: Principal, schedule_id: UUID, plan: Callable[[Schedule], Plan]) -> Schedule:
        """Put `plan(schedule)` in its place; a new timing counts from now.

        Raises `ScheduleNotFound`, `InvalidSchedule`.
        """
        now = self.now()
        async with self.begin(who.tenant_id) as work:
            schedule = await work.schedules.locked(schedule_id)
            wanted = plan(schedule)
            await self._check(work, who, wanted.target)
            schedule.change(wanted.timing, now)
            schedule.target, schedule.overlap = wanted.target, wanted.overlap
            schedule.catch_up, schedule.most_caught_up = wanted.catch_up, wanted.most_caught_up
            schedule.pause() if wanted.paused else schedule.resume(now)
            await work.schedules.save(schedule)
        await self.signals.send(SCHEDULES)
        return schedule

    async def remove(self, who: Principal, schedule_id: UUID) -> None:
        """Forget it; runs that it started go on. Raises `ScheduleNotFound`."""
        async with self.begin(who.tenant_id) as work:
            await work.schedules.remove(schedule_id)

    async def trigger(self, who: Principal, schedule_id: UUID) -> UUID:
        """Start what it starts, now, whatever its clock and its last run say; gives the run's id."""
        async with self.begin(who.tenant_id) as work:
            schedule = await work.schedules.get(schedule_id)
        when = Fire(scheduled_at=self.now(), outcome=Outcome.STARTED, by_hand=True)
        start = await self._start_of(schedule, when)
        async with self.begin(who.tenant_id) as work:
            schedule = await work.schedules.locked(schedule_id)
            run_id = await start(work)
            await self._record(work, schedule, replace(when, run_id=run_id))
        await self.signals.send(TASKS)
        return run_id

    async def fire(self, tenant_id: UUID, schedule_id: UUID, fence: int) -> bool:
        """Do what the oldest time that has come asks for; whether there was one. Raises `LeadLost`.

        The run, the record of the time and the next time are one commit, under the row's lock and the leader's fence.
        """
        now = self.now()
        async with self.begin(tenant_id) as work:
            seen = await work.schedules.get(schedule_id)
            goes_on = await work.schedules.goes_on(seen.last_run_id)
        step = next_step(seen, now, previous_goes_on=goes_on)
        if step is None:
            return False
        if step.fire.outcome is Outcome.STARTED and goes_on and seen.overlap is Overlap.CANCEL:
            await self._cancel(seen)
        start, refusal = await self._prepared(seen, step.fire)
        async with self.begin(tenant_id) as work:
            if not await work.schedules.leads(fence):
                raise LeadLost
            schedule = await work.schedules.locked(schedule_id)
            if (schedule.next_at, schedule.queued_for) != (seen.next_at, seen.queued_for):
                return True  # somebody changed it meanwhile: look again
            fire = replace(step.fire, outcome=Outcome.FAILED, detail=refusal) if refusal else step.fire
            if start is not None:
                fire = replace(fire, run_id=await start(work))
            schedule.next_at = step.next_at
            await self._record(work, schedule, fire)
        crash_point(FIRED)
        log.info("schedule_fired", schedule_id=str(schedule_id), outcome=fire.outcome.value, missed=fire.missed)
        if fire.run_id is not None:
            await self.signals.send(TASKS)
        return True

    async def _record(self, work: Work, schedule: Schedule, fire: Fire) -> None:
        schedule.record(fire)
        if not await work.schedules.record(schedule, fire, fire_id=self.new_id(), now=self.now()):
            raise LeadLost
        await work.schedules.save(schedule)
        self.observe(fire)

    async def _prepared(self, schedule: Schedule, fire: Fire) -> tuple[Start | None, str | None]:
        if fire.outcome is not Outcome.STARTED:
            return None, None
        try:
            return await self._start_of(schedule, fire), None
        except DomainError as error:
            log.warning("schedule_failed", schedule_id=str(schedule.id), reason=error.detail)
            return None, error.detail

    async def _start_of(self, schedule: Schedule, fire: Fire) -> Start:
        """What starts the target in a unit of work; all that may be refused is refused here."""
        who, target = _owner(schedule), schedule.target
        if who.api_key_id is not None and not await self.key_speaks(who.tenant_id, who.api_key_id):
            raise KeyEnded(
                f"The API key {who.api_key_id} that made this schedule was revoked or has expired; "
                "make the schedule anew with another key."
            )
        if target.goal is not None:
            submission = Submission(**asdict(target.goal))
            goal = await self.goals.prepare(who, submission)

            async def start_goal(work: Work) -> UUID:
                await self.goals.add(work, goal, (), submission=submission)
                return goal.run_id

            return start_goal
        async with self.begin(schedule.tenant_id) as work:
            workflow = await work.workflows.get(target.workflow or "", target.version)
        origin = origin_of(workflow, target.input)
        why = {"schedule_id": str(schedule.id), "scheduled_at": fire.scheduled_at.isoformat()}

        async def start_run(work: Work) -> UUID:
            return await self.runs.add(work, who, workflow.specs(), origin=origin, why=why)

        return start_run

    async def _cancel(self, schedule: Schedule) -> None:
        if schedule.last_run_id is not None:
            with suppress(RunAlreadyFinished):
                await self.runs.cancel(_owner(schedule), schedule.last_run_id)

    async def _check(self, work: Work, who: Principal, target: Target) -> None:
        if target.goal is not None:
            self.goals.check(who, Submission(**asdict(target.goal)))
        else:
            origin_of(await work.workflows.get(target.workflow or "", target.version), target.input)


def _owner(schedule: Schedule) -> Principal:
    """In whose name runs are started: whoever made the schedule."""
    return Principal(
        tenant_id=schedule.tenant_id,
        project_id=schedule.project_id,
        api_key_id=schedule.api_key_id,
        permissions=frozenset(),
        user=schedule.user,
    )
