"""Rows to domain objects and back, for the hot paths that go without the ORM."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.run import Run, RunStatus
from cognitionos.planning.domain.task import ClaimedTask

_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # an escaped NUL, not an escaped backslash before 'u0000'
RUN_COLUMNS = (
    "id, tenant_id, project_id, goal_id, api_key_id, user_name, created_at, status, total_tasks, open_tasks, "
    "last_seq, result_task_id, result_text, error, started_at, finished_at, "
    "parent_run_id, parent_task_id, depth, stops_now"
)


def run_of(row: Sequence[Any]) -> Run:
    """A run from `RUN_COLUMNS`."""
    return Run(
        id=row[0],
        tenant_id=row[1],
        project_id=row[2],
        goal_id=row[3],
        api_key_id=row[4],
        user=row[5],
        created_at=row[6],
        status=RunStatus(row[7]),
        total_tasks=row[8],
        open_tasks=row[9],
        last_seq=row[10],
        result_task_id=row[11],
        result_text=row[12],
        error=row[13],
        started_at=row[14],
        finished_at=row[15],
        parent_run_id=row[16],
        parent_task_id=row[17],
        depth=row[18],
        stops_now=row[19],
    )


def claimed_of(row: Sequence[Any]) -> ClaimedTask:
    """A claimed task from a row of `claim_and_look`."""
    retry: Mapping[str, Any] | None = row[13]
    return ClaimedTask(
        tenant_id=row[0],
        project_id=row[1],
        run_id=row[2],
        goal_id=row[3],
        api_key_id=row[4],
        user=row[5],
        id=row[6],
        key=row[7],
        kind=row[8],
        spec=row[9],
        attempt=row[10],
        failures=row[11],
        fence=row[12],
        retry=RetryPolicy.of(retry) if retry else RetryPolicy(),
        timeout_s=row[14],
    )


def jsonb(value: Any) -> Jsonb:
    """A JSON parameter; NUL, which PostgreSQL cannot store, is left out of texts."""
    return Jsonb(value, dumps=dumps)


def dumps(value: Any) -> bytes:
    """JSON that PostgreSQL takes."""
    text = msgspec.json.encode(value)
    return _NUL.sub(rb"\1", text) if b"\\u0000" in text else text


def uuid_array(ids: Sequence[UUID]) -> str:
    """An array literal: one text parameter is cheaper than thousands of adapted ones."""
    return "{" + ",".join(map(str, ids)) + "}"


def records(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows for `json_to_recordset`: psycopg takes 4 microseconds to adapt one value of a list.

    What is JSON itself goes in as a text: a null in it would be taken for no value.
    """
    return dumps(rows).decode()
