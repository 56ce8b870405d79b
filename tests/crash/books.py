"""What must be true of a tenant's runs whatever was done to them, read from the tables and from the API."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

from tests.crash.acts import FINAL, Acts
from tests.crash.acts_target import Label, Target
from tests.fakes.planning_engine import Bench

ENDS = {"task.succeeded", "task.failed", "task.cancelled", "task.skipped"}
_OPEN = ("pending", "ready", "paused", "running")
_RUNS = """
SELECT id, status, total_tasks, open_tasks, last_seq, input, workflow, parent_run_id, parent_task_id, created_at,
  finished_at FROM runs
"""
_TASKS = """
SELECT id, run_id, key, kind, status, attempt, reused_from, output, spec -> '$state' AS state, lease_owner FROM tasks
"""
_EVENTS = "SELECT run_id, seq, kind, task_key, data FROM run_events ORDER BY run_id, seq"
_LEFT_ASKING = """
SELECT a.id FROM approvals a JOIN runs r ON r.id = a.run_id
WHERE a.status = 'pending' AND r.status IN ('succeeded', 'failed', 'cancelled')
"""
_FIRES = "SELECT outcome, scheduled_at, run_id FROM schedule_fires"
Row = Mapping[str, Any]


@dataclass(kw_only=True)
class Books:
    """Everything of one tenant, when it is quiet."""

    runs: dict[UUID, Row]
    tasks: defaultdict[UUID, list[Row]]
    events: defaultdict[UUID, list[Row]]
    asking: int
    fires: list[Row]

    @classmethod
    async def of(cls, bench: Bench, tenant_id: UUID) -> "Books":
        """Read it all."""

        async def rows(query: str) -> list[Row]:
            names = query.split("FROM", maxsplit=1)[0].removeprefix("\n").removeprefix("SELECT").split(",")
            columns = [name.split(" AS ")[-1].split(".")[-1].strip() for name in names]
            return [dict(zip(columns, row, strict=True)) for row in await bench.rows(tenant_id, query)]

        tasks, events = defaultdict(list), defaultdict(list)
        for task in await rows(_TASKS):
            tasks[task["run_id"]].append(task)
        for event in await rows(_EVENTS):
            events[event["run_id"]].append(event)
        runs = {run["id"]: run for run in await rows(_RUNS)}
        asking, fires = len(await rows(_LEFT_ASKING)), await rows(_FIRES)
        return cls(runs=runs, tasks=tasks, events=events, asking=asking, fires=fires)

    def faults(self, target: Target) -> list[str]:
        """What is not as it must be."""
        found = [fault for run in self.runs.values() for fault in self._of_run(run)]
        found += [f"{self.asking} questions of runs that have ended are open"] if self.asking else []
        return found + list(self._of_effects(target)) + list(self._of_schedules())

    async def told_otherwise(self, acts: Acts) -> list[str]:
        """Where the API counts other tasks than there are."""
        found = []
        for run_id, tasks in self.tasks.items():
            _, shown = await acts.call("GET", f"/v1/runs/{run_id}")
            counts = Counter(task["status"] for task in tasks)
            told = {status: number for status, number in shown["tasks"].items() if number and status != "total"}
            nested = sum(
                1
                for t in tasks
                if t["kind"] == "workflow" and t["status"] == "ready" and "run_id" in (t["state"] or {})
            )
            counts["ready"] -= nested
            counts["running"] += nested
            if told != {status: number for status, number in counts.items() if number}:
                found.append(f"run {run_id} tells {told}, has {dict(counts)}")
        return found

    def _of_run(self, run: Row) -> Iterator[str]:
        tasks, events = self.tasks[run["id"]], self.events[run["id"]]
        statuses = Counter(task["status"] for task in tasks)
        still = sum(statuses[status] for status in _OPEN)
        name = f"run {run['id']} ({run['workflow']}, {run['status']})"
        if run["status"] not in (*FINAL, "paused"):
            yield f"{name} goes on for ever: {dict(statuses)}"
        if run["status"] in FINAL and still:
            yield f"{name} has ended and has open tasks: {dict(statuses)}"
        if run["status"] == "succeeded" and statuses["cancelled"]:
            yield f"{name} has succeeded and has cancelled tasks: {dict(statuses)}"
        if run["status"] == "paused" and statuses["running"] + statuses["ready"]:
            yield f"{name} has tasks that go on: {dict(statuses)}"
        if (run["total_tasks"], run["open_tasks"]) != (len(tasks), still):
            yield f"{name} counts {run['total_tasks']}/{run['open_tasks']} tasks, has {len(tasks)}/{still}"
        if [event["seq"] for event in events] != list(range(1, run["last_seq"] + 1)):
            yield f"{name} has gaps in its events"
        parent = self.runs.get(run["parent_run_id"])
        if parent is not None and parent["status"] in FINAL and run["status"] not in FINAL:
            yield f"{name} goes on below a run that is {parent['status']}"
        yield from (f"{name}: {fault}" for fault in _of_ends(tasks, events))

    def _of_effects(self, target: Target) -> Iterator[str]:
        """Each effect that a task tells of has happened, and each task has one key in all its lives."""
        own: defaultdict[Label, int] = defaultdict(int)
        keys: Counter[str] = Counter()
        for run_id, tasks in self.tasks.items():
            given = self.runs[run_id]["input"] or {}
            for task in tasks:
                if task["kind"] != "http":
                    continue
                item = (task["state"] or {}).get("item")
                label = (str(given["run"]), str(given["place"]), task["key"].partition("[")[0], str(item))
                own[label] += task["reused_from"] is None
                key = task["output"]["body"]["key"] if task["status"] == "succeeded" else None
                if key is not None and not target.applied[key]:
                    yield f"task {task['key']} of {run_id} tells of an effect that never was"
                keys[key or ""] += task["reused_from"] is None
        yield from (f"{number} tasks share the key {key}" for key, number in keys.items() if key and number > 1)
        for label, found in target.labels.items():
            if label in own and len(found) > own[label]:
                yield f"effect {label} was asked for with {len(found)} keys by {own[label]} tasks"

    def _of_schedules(self) -> Iterator[str]:
        started = [fire for fire in self.fires if fire["outcome"] == "started"]
        times = Counter(fire["scheduled_at"] for fire in started)
        yield from (f"the time {at} was fired {number} times" for at, number in times.items() if number > 1)
        runs = sorted((r for r in self.runs.values() if r["workflow"] == "tick"), key=lambda r: r["created_at"])
        if {run["id"] for run in runs} != {fire["run_id"] for fire in started}:
            yield f"{len(started)} times were fired, {len(runs)} runs were started"
        for before, after in pairwise(runs):
            if before["finished_at"] is None or before["finished_at"] > after["created_at"]:
                yield f"run {after['id']} of the schedule began before {before['id']} had ended"


def _of_ends(tasks: Sequence[Row], events: Sequence[Row]) -> Iterator[str]:
    """Each task ends once in each of its lives, says nothing after that, and is what its last end says."""
    last: dict[str, str | None] = {task["key"]: None for task in tasks}
    reused = {task["key"] for task in tasks if task["reused_from"] is not None}
    for event in events:
        key = event["task_key"]
        if event["kind"] == "run.retried":
            last |= dict.fromkeys(event["data"]["tasks"])
        elif event["kind"].startswith("task.") and key in last:
            if last[key] is not None or key in reused:
                yield f"event {event['seq']} ({event['kind']}) comes after the end of '{key}' ({last[key]})"
            if event["kind"] in ENDS:
                last[key] = event["kind"].removeprefix("task.")
    for task in tasks:
        if task["key"] not in reused and task["status"] not in _OPEN and task["status"] != last[task["key"]]:
            yield f"'{task['key']}' is {task['status']}, its last event says {last[task['key']]}"
        if task["status"] in _OPEN and last[task["key"]] is not None:
            yield f"'{task['key']}' is {task['status']}, and has ended as {last[task['key']]}"
