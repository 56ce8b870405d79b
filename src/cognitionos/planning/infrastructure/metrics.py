"""Prometheus metrics of planning. No label names a tenant, run or goal."""

from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

from cognitionos.events.planning import RunFinished
from cognitionos.planning.domain.schedule import Fire
from cognitionos.planning.domain.step import Ended, Entry, Started

TASKS = Counter("cognitionos_tasks_ended_total", "Attempts at tasks that ended", ["kind", "outcome"])
RUNS = Counter("cognitionos_runs_finished_total", "Runs that ended by themselves", ["status"])
CLAIMED = Counter("cognitionos_tasks_claimed_total", "Tasks that this worker took under its lease")
REFUSED = Counter("cognitionos_task_writes_refused_total", "Late writes that a fencing number refused")
TAKEN_OVER = Counter("cognitionos_tasks_taken_over_total", "Tasks taken over from a worker that gave no sign of life")
BATCH = Histogram(
    "cognitionos_record_batch_entries", "Entries written in one commit", buckets=(1, 2, 5, 10, 50, 200, 1000, 2000)
)
STREAMS = Gauge("cognitionos_event_streams_open", "Event streams that are being followed")

LEADS = Gauge("cognitionos_schedules_leader", "1 in the process that fires the schedules")
FIRES = Counter("cognitionos_schedule_times_total", "Times of schedules that came, by what became of them", ["outcome"])


def recorded(entries: Sequence[Entry], facts: Sequence[RunFinished], *, refused: int) -> None:
    """Count what one commit wrote."""
    BATCH.observe(len(entries))
    REFUSED.inc(refused)
    for entry in entries:
        if isinstance(entry, Started) and entry.task.lost_starts:
            TAKEN_OVER.inc()
        if isinstance(entry, Ended):
            TASKS.labels(entry.task.kind, type(entry.outcome).__name__.lower()).inc()
    for fact in facts:
        RUNS.labels(fact.status).inc()


def came(fire: Fire) -> None:
    """Count a time of a schedule."""
    FIRES.labels(fire.outcome.value).inc()


def leads(*, is_leader: bool) -> None:
    """Show whether this process fires the schedules."""
    LEADS.set(is_leader)
