"""The rows of runs, tasks and events: written in bulk, in the transaction that is passed in."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.run import Run, RunEvent, RunStatus
from cognitionos.planning.domain.step import Step
from cognitionos.planning.domain.task import NewTask
from cognitionos.planning.infrastructure import open_tasks
from cognitionos.planning.infrastructure.rows import dumps, jsonb, records, uuid_array

INLINE_BYTES = 64 * 1024
"""A larger output lives in its own row, so that scans over tasks stay small."""

Connection = AsyncConnection[Any]

_RUN = """
UPDATE runs SET status = %s, total_tasks = %s, open_tasks = %s, last_seq = %s, result_task_id = %s, result_text = %s,
  error = %s, started_at = %s, finished_at = %s WHERE id = %s
"""
_GOAL_STARTED = "UPDATE goals SET status = %s WHERE id = %s AND status = 'queued'"
_GOAL_FINISHED = """
UPDATE goals SET status = %s, result_text = %s, error = %s, finished_at = %s WHERE id = %s RETURNING statement
"""
_EVENTS = """
INSERT INTO run_events (run_id, seq, tenant_id, at, kind, task_key, data)
SELECT %s, e.seq, %s, %s, e.kind, e.task_key, e.data::jsonb
FROM json_to_recordset(%s::json) AS e(seq bigint, kind text, task_key text, data text)
"""
_SUCCEEDED = """
UPDATE tasks t SET status = 'succeeded', output = d.output::jsonb, output_payload = d.payload,
  output_bytes = d.bytes, details = d.details::jsonb, pending_deps = 0, lease_owner = NULL, lease_until = NULL,
  finished_at = %s, started_at = coalesce(t.started_at, %s)
FROM json_to_recordset(%s::json) AS d(id uuid, output text, payload uuid, bytes int, details text)
WHERE t.id = d.id
"""
_PAYLOAD = "INSERT INTO payloads (id, tenant_id, run_id, body) VALUES (%s, %s, %s, %s::jsonb)"
_RETRYING = """
UPDATE tasks SET status = 'ready', failures = failures + 1, error = %s, ready_at = now() + make_interval(secs => %s),
  lease_owner = NULL, lease_until = NULL WHERE id = %s
"""
_POSTPONED = """
UPDATE tasks SET status = 'ready', attempt = attempt - 1, ready_at = now() + make_interval(secs => %s),
  spec = spec || jsonb_build_object('$state', coalesce(spec -> '$state', '{}') || %s::jsonb),
  lease_owner = NULL, lease_until = NULL WHERE id = %s
"""
_FAILED = """
UPDATE tasks SET status = 'failed', failures = failures + 1, error = %s, finished_at = %s, lease_owner = NULL,
  lease_until = NULL WHERE id = %s
"""
_REPLACED = """
UPDATE tasks SET spec = spec || jsonb_build_object('$state', coalesce(spec -> '$state', '{}') || '{"replaced": true}')
WHERE id = ANY(%s::uuid[])
"""
_GRAFTED = "UPDATE tasks SET dependencies = array_replace(dependencies, %s, %s) WHERE id = ANY(%s::uuid[])"
_STOPPED = """
UPDATE tasks SET status = 'paused', ready_at = now(), attempt = attempt - 1, lease_owner = NULL, lease_until = NULL
WHERE id = ANY(%s::uuid[])
"""
_SKIPPED = """
UPDATE tasks SET status = 'skipped', pending_deps = 0, finished_at = %s WHERE id = ANY(%s::uuid[])
"""
_NEW_TASK = """
INSERT INTO tasks (id, tenant_id, run_id, position, key, kind, is_pure, status, spec, retry, timeout_s, dependencies,
  dependents, pending_deps, is_held, priority, ready_at)
SELECT d.id, %s, %s, d.position, d.key, d.kind, d.is_pure, CASE WHEN d.pending = 0 THEN 'ready' ELSE 'pending' END,
  d.spec::jsonb, d.retry::jsonb, d.timeout_s, d.dependencies, d.dependents, d.pending,
  d.is_held, d.priority, CASE WHEN d.pending = 0 THEN now() END
FROM json_to_recordset(%s::json) AS d(id uuid, position int, key text, kind text, is_pure bool, spec text, retry text,
  timeout_s float8, dependencies uuid[], dependents uuid[], pending int, is_held bool, priority smallint)
"""
_OUTPUT = (
    "SELECT coalesce(p.body, t.output) FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload WHERE t.id = %s"
)


async def store_step(connection: Connection, step: Step) -> bool:
    """Write everything one step changed but the counters of dependents; whether it made a task ready."""
    run = step.run
    await _store_succeeded(connection, step)
    for task_id, retry in step.retrying:
        await connection.execute(_RETRYING, (jsonb(retry.problem.as_json()), retry.after_s, task_id))
    for task_id, wait in step.postponed:
        await connection.execute(_POSTPONED, (wait.after_s, jsonb(dict(wait.state)), task_id))
    if step.stopped:
        await connection.execute(_STOPPED, (uuid_array(list(step.stopped)),))
    if step.skipped:
        await connection.execute(_SKIPPED, (step.now, uuid_array(step.skipped)))
    collected = [(task_id, failure) for task_id, _, failure in step.collected]
    for task_id, failure in (*step.failed, *step.replaced, *collected):
        await connection.execute(_FAILED, (jsonb(failure.problem.as_json()), step.now, task_id))
    if step.replaced:
        await connection.execute(_REPLACED, (uuid_array([task_id for task_id, _ in step.replaced]),))
    if not run.status.has_failed:
        await insert_tasks(connection, run, step.new_tasks)
    for grafted in step.grafts:
        feeds = uuid_array(grafted.graft.feeds)
        await connection.execute(_GRAFTED, (grafted.graft.replaces, grafted.result_id, feeds))
    if run.status is RunStatus.RUNNING and run.started_at == step.now and run.goal_id is not None:
        await connection.execute(_GOAL_STARTED, (run.status, run.goal_id))
    await _append_events(connection, step)
    await update_run(connection, run)
    return bool(step.new_tasks)


async def insert_tasks(connection: Connection, run: Run, tasks: Sequence[NewTask]) -> None:
    """Add `tasks` to `run`; those that wait for nothing are ready."""
    if not tasks:
        return
    await connection.execute(_NEW_TASK, (run.tenant_id, run.id, records([_task_row(task) for task in tasks])))


async def append_events(connection: Connection, run: Run, events: Sequence[RunEvent], *, at: Any) -> None:
    """Number `events` and write them. The caller holds the run's row lock (or has just made the run)."""
    if not events:
        return
    first = run.last_seq + 1
    run.last_seq += len(events)
    rows = [
        {"seq": seq, "kind": event.kind, "task_key": event.task_key, "data": dumps(event.data).decode()}
        for seq, event in enumerate(events, first)
    ]
    await connection.execute(_EVENTS, (run.id, run.tenant_id, at, records(rows)))


async def update_run(connection: Connection, run: Run) -> None:
    """Write what may have changed of `run`."""
    error = jsonb(run.error) if run.error is not None else None
    values = (run.status, run.total_tasks, run.open_tasks, run.last_seq, run.result_task_id, run.result_text, error)
    await connection.execute(_RUN, (*values, run.started_at, run.finished_at, run.id))


async def finish_goal(connection: Connection, run: Run) -> str | None:
    """Let the run's goal follow it to its end; gives the goal's statement."""
    if run.goal_id is None:
        return None
    error = jsonb(run.error) if run.error is not None else None
    values = (run.status, run.result_text, error, run.finished_at, run.goal_id)
    row = await (await connection.execute(_GOAL_FINISHED, values)).fetchone()
    return row[0] if row else None


async def output_of(connection: Connection, task_id: UUID) -> Any:
    """What a task gave."""
    row = await (await connection.execute(_OUTPUT, (task_id,))).fetchone()
    return row[0] if row else None


async def _append_events(connection: Connection, step: Step) -> None:
    """The step's events. A run that fails ends what is open of it; its own end comes last."""
    run = step.run
    if run.status.has_failed:
        end = f"run.{run.status}"
        await append_events(connection, run, [event for event in step.events if event.kind != end], at=step.now)
        await open_tasks.cancel(connection, run)
        await append_events(connection, run, [event for event in step.events if event.kind == end], at=step.now)
    else:
        await append_events(connection, run, step.events, at=step.now)


async def _store_succeeded(connection: Connection, step: Step) -> None:
    if not step.succeeded:
        return
    rows = []
    for task in step.succeeded:
        text = dumps(task.output).decode()
        payload = new_id() if len(text) > INLINE_BYTES else None
        if payload is not None:
            await connection.execute(_PAYLOAD, (payload, step.run.tenant_id, step.run.id, text))
        rows.append(
            {
                "id": task.id,
                "output": None if payload else text,
                "payload": payload,
                "bytes": len(text),
                "details": dumps(task.details).decode() if task.details else None,
            }
        )
    await connection.execute(_SUCCEEDED, (step.now, step.now, records(rows)))


def _task_row(task: NewTask) -> dict[str, Any]:
    spec = task.spec
    return {
        "id": task.id,
        "position": task.position,
        "key": spec.key,
        "kind": spec.kind,
        "is_pure": task.is_pure,
        "spec": dumps(spec.spec).decode(),
        "retry": dumps(spec.retry.as_json()).decode() if spec.retry else None,
        "timeout_s": spec.timeout_s,
        "dependencies": task.dependencies,
        "dependents": task.dependents,
        "pending": task.pending,
        "is_held": task.is_held,
        "priority": task.priority,
    }
