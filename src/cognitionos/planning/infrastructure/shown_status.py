"""The status `waiting`: seen when somebody looks. Kept in a column it would cost a write whenever a task parks."""

_CAN_GO_ON = "(w.status = 'running' OR w.ready_at <= now() OR NOT w.spec ? '$state')"


def shown_status(status: str, run_id: str) -> str:
    """SQL for what is shown of `status` (of the run `run_id`; both are SQL themselves).

    `waiting`: some tasks are parked for a person, a signal, a time or a run that waits, and no other can run before.
    """
    return f"""(CASE WHEN {status} IN ('queued', 'running') AND EXISTS (
    SELECT FROM tasks w WHERE w.run_id = {run_id} AND w.status = 'ready' AND w.ready_at > now() AND w.spec ? '$state')
  AND NOT EXISTS (
    SELECT FROM tasks w WHERE w.run_id = {run_id} AND w.status IN ('ready', 'running') AND {_CAN_GO_ON})
  AND NOT EXISTS (
    WITH RECURSIVE below AS (
      SELECT b.id FROM runs b WHERE b.parent_run_id = {run_id} AND b.status IN ('queued', 'running')
      UNION ALL
      SELECT c.id FROM below a JOIN runs c ON c.parent_run_id = a.id WHERE c.status IN ('queued', 'running')
    )
    SELECT FROM below a JOIN tasks w ON w.run_id = a.id WHERE w.status IN ('ready', 'running') AND {_CAN_GO_ON})
  THEN 'waiting' ELSE {status} END)"""  # noqa: S608 - constants
