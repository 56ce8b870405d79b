"""The rows of what tasks wait for: questions to people, signals, nested runs, the items of a map.

Written with the step that parks the task, under its run's lock: nothing that wakes it can come in between.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.reference import DEADLINE
from cognitionos.planning.domain.run import Run, RunEvent
from cognitionos.planning.domain.step import Asked, Step
from cognitionos.planning.infrastructure import nested_start_rows
from cognitionos.planning.infrastructure.rows import jsonb, uuid_array

Connection = AsyncConnection[Any]

_FANNED = """
UPDATE tasks SET status = 'pending', pending_deps = %(items)s, attempt = attempt - 1, ready_at = NULL,
  spec = spec || jsonb_build_object(
    '$state', coalesce(spec -> '$state', '{}') || %(state)s::jsonb),
  lease_owner = NULL, lease_until = NULL WHERE id = %(id)s
"""
_ASK = """
INSERT INTO approvals (id, tenant_id, run_id, task_id, task_key, key, prompt, details, approvers, default_decision,
  status, created_at, deadline_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'pending', %s, now() + make_interval(secs => %s))
ON CONFLICT (task_id, key) DO NOTHING RETURNING deadline_at
"""
_DECIDED = """
SELECT status, decided_by, comment, decided_at FROM approvals
WHERE task_id = %s AND key = ANY(%s) AND status IN ('approved', 'rejected') ORDER BY decided_at DESC LIMIT 1
"""
_NOT_AFTER_DEADLINE = """
UPDATE tasks SET ready_at = least(ready_at, (
  SELECT min(deadline_at) FROM approvals WHERE task_id = %(task)s AND key = ANY(%(keys)s) AND status = 'pending'
)) WHERE id = %(task)s
"""
_EXPIRED = "UPDATE approvals SET status = 'expired' WHERE task_id = ANY(%s::uuid[]) AND status = 'pending'"
_CANCEL_APPROVALS = "UPDATE approvals SET status = 'cancelled' WHERE run_id = ANY(%s::uuid[]) AND status = 'pending'"
_KEPT_SIGNAL = """
UPDATE run_signals SET task_id = %(task)s WHERE id = (
  SELECT id FROM run_signals WHERE run_id = %(run)s AND name = %(name)s AND task_id IS NULL ORDER BY id LIMIT 1
) RETURNING payload
"""
_WAKE = """
UPDATE tasks SET ready_at = now(),
  spec = spec || jsonb_build_object('$state', coalesce(spec -> '$state', '{}') || %s::jsonb)
WHERE id = %s AND status IN ('ready', 'paused')
"""
_PARKED_FOR_SIGNAL = """
SELECT id, key FROM tasks WHERE run_id = %s AND status IN ('ready', 'paused') AND kind = 'wait'
  AND spec -> '$state' ->> 'signal' = %s AND NOT (spec -> '$state' ? 'payload') ORDER BY position LIMIT 1
"""
_KEEP_SIGNAL = """
INSERT INTO run_signals (id, tenant_id, run_id, name, payload, sent_by, sent_at, task_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""


async def store_asked(connection: Connection, step: Step) -> None:
    """Put the questions of the step before people; those that ended with it are no longer open."""
    for asked in step.asked:
        await _ask(connection, step, asked)
    if step.expiring:
        await connection.execute(_EXPIRED, (uuid_array(step.expiring),))


async def store_parked(connection: Connection, step: Step) -> bool:
    """Write what else the tasks of the step wait for; whether one need not wait, or something new can start."""
    for task_id, items, deadline in step.fanned:
        state = {"items": items} if deadline is None else {"items": items, DEADLINE: deadline}
        await connection.execute(_FANNED, {"items": items, "id": task_id, "state": jsonb(state)})
    at_once = False
    for task_id, postponed in step.postponed:
        if postponed.asks:
            at_once |= await _decided_already(connection, task_id, [ask.key for ask in postponed.asks])
        elif "signal" in postponed.state and "payload" not in postponed.state:
            at_once |= await _signalled_already(connection, step.run, task_id, postponed.state["signal"])
    for nesting in step.nesting:
        await nested_start_rows.start_nested(connection, step, nesting)
    return at_once or bool(step.nesting)


async def wake(connection: Connection, task_id: UUID, state: Mapping[str, Any]) -> bool:
    """Let a parked task go on, with `state` added to its own; whether it was parked."""
    return (await connection.execute(_WAKE, (jsonb(dict(state)), task_id))).rowcount > 0


async def deliver_signal(
    connection: Connection, run: Run, *, signal_id: UUID, name: str, payload: Any, sent_by: str | None, at: datetime
) -> str | None:
    """Give the signal to the task that waits for it, else keep it; the key of the task if one waited."""
    row = await (await connection.execute(_PARKED_FOR_SIGNAL, (run.id, name))).fetchone()
    task_id, task_key = row or (None, None)
    values = (signal_id, run.tenant_id, run.id, name, jsonb(payload), sent_by, at, task_id)
    await connection.execute(_KEEP_SIGNAL, values)
    if task_id is not None:
        await wake(connection, task_id, {"payload": payload})
    return task_key


async def cancel_approvals(connection: Connection, run_ids: Sequence[UUID]) -> None:
    """Nobody needs to decide any more."""
    await connection.execute(_CANCEL_APPROVALS, (uuid_array(run_ids),))


async def _ask(connection: Connection, step: Step, asked: Asked) -> None:
    ask, run = asked.ask, step.run
    place = (asked.id, run.tenant_id, run.id, asked.task_id, asked.task_key, ask.key)
    terms = (ask.prompt, jsonb(ask.details), list(ask.approvers), ask.default, step.now, ask.deadline_s)
    row = await (await connection.execute(_ASK, (*place, *terms))).fetchone()
    if row is not None:
        data = {"approval_id": str(asked.id), "prompt": ask.prompt, "deadline_at": row[0].isoformat()}
        step.events.append(RunEvent(kind="approval.requested", task_key=asked.task_key, data=data))


async def _decided_already(connection: Connection, task_id: UUID, keys: list[str]) -> bool:
    row = await (await connection.execute(_DECIDED, (task_id, keys))).fetchone()
    if row is None:
        await connection.execute(_NOT_AFTER_DEADLINE, {"task": task_id, "keys": keys})
        return False
    status, by, comment, at = row
    return await wake(connection, task_id, {"decision": status, "by": by, "comment": comment, "at": at.isoformat()})


async def _signalled_already(connection: Connection, run: Run, task_id: UUID, name: str) -> bool:
    cursor = await connection.execute(_KEPT_SIGNAL, {"task": task_id, "run": run.id, "name": name})
    row = await cursor.fetchone()
    return row is not None and await wake(connection, task_id, {"payload": row[0]})
