"""Schedules, wired."""

from dataclasses import dataclass

from cognitionos.composition.base import Base
from cognitionos.planning.application.goals import Goals
from cognitionos.planning.application.runs import Runs
from cognitionos.planning.application.scheduler import Scheduler
from cognitionos.planning.application.schedules import Schedules
from cognitionos.planning.infrastructure import metrics
from cognitionos.planning.infrastructure.repository import PlanningWork
from cognitionos.planning.infrastructure.schedule_lead import PostgresLead
from cognitionos.planning.infrastructure.schedule_queries import ScheduleQueries
from cognitionos.platform.unit_of_work import units_of_work
from cognitionos.tenancy.infrastructure.key_store import KeyStore


@dataclass(frozen=True, kw_only=True)
class SchedulingServices:
    """What starts work by itself."""

    schedules: Schedules
    queries: ScheduleQueries
    scheduler: Scheduler


def build(base: Base, *, runs: Runs, goals: Goals) -> SchedulingServices:
    """Schedules on `base`. No I/O; each process may come to lead."""
    schedules = Schedules(
        begin=units_of_work(PlanningWork, database=base.database, bus=base.bus, relay=base.outbox),
        runs=runs,
        goals=goals,
        signals=base.signals,
        now=base.now,
        new_id=base.new_id,
        observe=metrics.came,
        key_speaks=KeyStore(base.database).speaks,
    )
    return SchedulingServices(
        schedules=schedules,
        queries=ScheduleQueries(database=base.database, now=base.now),
        scheduler=Scheduler(
            leadership=PostgresLead(database=base.database, me=str(base.new_id())),
            fire=schedules.fire,
            signals=base.signals,
            tell=metrics.leads,
        ),
    )
