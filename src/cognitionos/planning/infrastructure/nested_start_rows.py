"""The rows of a run that a task starts and waits for: of a workflow's tasks, or of those of an earlier run of it."""

from typing import Any

from psycopg import AsyncConnection

from cognitionos.planning.domain.run import Run, RunEvent, RunStatus
from cognitionos.planning.domain.step import Nesting, Step
from cognitionos.planning.domain.task import in_order
from cognitionos.planning.infrastructure import fork_rows, open_tasks, run_rows
from cognitionos.planning.infrastructure.duration_rows import seconds_of
from cognitionos.planning.infrastructure.rows import jsonb

Connection = AsyncConnection[Any]

_NEW_RUN = """
INSERT INTO runs (id, tenant_id, project_id, goal_id, api_key_id, user_name, status, total_tasks, open_tasks, last_seq,
  result_task_id, created_at, workflow, workflow_version, input, forked_from, parent_run_id, parent_task_id, depth,
  critical)
VALUES (%s, %s, %s, NULL, %s, %s, %s, %s, %s, 0, %s, %s, %s, %s, %s, %s, %s, %s, %s,
  (SELECT critical FROM runs WHERE id = %s))
"""


async def start_nested(connection: Connection, step: Step, nesting: Nesting) -> None:
    """Start the run in the commit that parks its task, under the lock of the run that the task is of."""
    parent = step.run
    run = Run(
        id=nesting.id,
        tenant_id=parent.tenant_id,
        project_id=parent.project_id,
        goal_id=None,
        api_key_id=parent.api_key_id,
        user=parent.user,
        created_at=step.now,
    )
    data = {"parent_run_id": str(parent.id), "parent_task": nesting.task.key}
    data |= await _insert(connection, step, nesting, run)
    events = [RunEvent(kind="run.queued", data=data)]
    if parent.status is RunStatus.PAUSED:  # while the task that starts this one was at work
        events += run.pause(stops_now=parent.stops_now)
    await run_rows.append_events(connection, run, events, at=step.now)
    if run.status is RunStatus.PAUSED:
        await open_tasks.hold(connection, run, at=step.now)
    await run_rows.update_run(connection, run)


async def _insert(connection: Connection, step: Step, nesting: Nesting, run: Run) -> dict[str, Any]:
    """Write the run and its tasks; gives what its readers are told of where these come from."""
    nested, fork = nesting.nested, nesting.nested.fork
    if fork is not None:
        run.total_tasks, run.open_tasks = len(fork.tasks), fork.open_tasks
        run.result_task_id = fork.result_task_id
        await _insert_run(connection, step, nesting, run)
        await fork_rows.insert_forked(connection, run, fork.tasks)
        return fork.told()
    measured_s = await seconds_of(connection, nested.workflow, nested.tasks)
    graph = in_order(nested.tasks, first_position=0, new_id=step.new_id, measured_s=measured_s)
    run.grow(len(graph))
    run.result_task_id = next((task.id for task in graph if task.spec.key == nested.result_key), None)
    await _insert_run(connection, step, nesting, run)
    await run_rows.insert_tasks(connection, run, graph)
    return {}


async def _insert_run(connection: Connection, step: Step, nesting: Nesting, run: Run) -> None:
    nested, parent = nesting.nested, step.run
    source = None if nested.fork is None else nested.fork.source
    who = (run.id, run.tenant_id, run.project_id, run.api_key_id, run.user)
    state = (run.status, run.total_tasks, run.open_tasks, run.result_task_id, step.now)
    origin = (nested.workflow, nested.version, jsonb(nested.input), source)
    place = (parent.id, nesting.task.id, parent.depth + 1, parent.id)
    await connection.execute(_NEW_RUN, (*who, *state, *origin, *place))
