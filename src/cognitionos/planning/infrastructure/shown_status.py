"""The status `waiting`: seen when somebody looks. Kept in a column it would cost a write whenever a task parks."""


def shown_status(status: str, run_id: str) -> str:
    """SQL for what is shown of `status` (of the run `run_id`; both are SQL themselves).

    `waiting`: some tasks are parked for a person, a signal or a time, and no other can run before.
    """
    return f"""(CASE WHEN {status} IN ('queued', 'running') AND EXISTS (
    SELECT FROM tasks w WHERE w.run_id = {run_id} AND w.status = 'ready' AND w.ready_at > now() AND w.spec ? '$state'
      AND w.kind <> 'workflow')
  AND NOT EXISTS (
    SELECT FROM tasks w WHERE w.run_id = {run_id} AND w.status IN ('ready', 'running')
      AND (w.status = 'running' OR w.ready_at <= now() OR NOT w.spec ? '$state' OR w.kind = 'workflow'))
  THEN 'waiting' ELSE {status} END)"""  # noqa: S608 - constants
