"""What references lead to: outputs of tasks that have ended, and inputs of runs."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.intake import MOST_READ
from cognitionos.planning.domain.reference import Known, Wanted
from cognitionos.planning.infrastructure.rows import uuid_array

# what was written before outputs were counted is taken at its size on disk
_OUTPUTS = """
SELECT s.run_id, s.key, s.before > %(most)s AS is_unread, CASE WHEN s.before > %(most)s THEN NULL
  WHEN s.status = 'failed' THEN jsonb_build_object('error', s.error) ELSE coalesce(s.body, s.output) END
FROM (
  SELECT t.run_id, t.key, t.status, t.error, t.output, p.body, coalesce(sum(
    coalesce(t.output_bytes, pg_column_size(coalesce(p.body, t.output)), 0)
  ) OVER (ORDER BY t.run_id, t.position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload
  WHERE t.run_id = ANY(%(runs)s::uuid[]) AND t.key = ANY(%(keys)s) AND t.status IN ('succeeded', 'failed')
) s
"""
_INPUTS = """
SELECT s.id, s.before > %(most)s AS is_unread, CASE WHEN s.before <= %(most)s THEN s.input END FROM (
  SELECT r.id, r.input, coalesce(sum(pg_column_size(r.input)) OVER (
    ORDER BY r.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
  FROM runs r WHERE r.id = ANY(%(runs)s::uuid[])
) s
"""
_MOST_STORED = 2**20
"""Of inputs of several runs so much is read at once, as they lie on disk: that may be much smaller than as JSON."""


async def known_in(connection: AsyncConnection[Any], wanted: Mapping[UUID, Wanted]) -> dict[UUID, Known]:
    """What is wanted of each run, of the tenant of the transaction; what is beyond `MOST_READ` is told as unread.

    Something is always read.
    """
    inputs: dict[UUID, Any] = {}
    unread: defaultdict[UUID, set[str | None]] = defaultdict(set)
    asking = [run_id for run_id, each in wanted.items() if each.run_input]
    if asking:
        cursor = await connection.execute(_INPUTS, {"runs": uuid_array(asking), "most": _MOST_STORED})
        for run_id, is_unread, run_input in await cursor.fetchall():
            inputs[run_id] = run_input
            if is_unread:
                unread[run_id].add(None)
    outputs: defaultdict[UUID, dict[str, Any]] = defaultdict(dict)
    keys = sorted({key for each in wanted.values() for key in each.outputs})
    if keys:
        values = {"runs": uuid_array(list(wanted)), "keys": keys, "most": MOST_READ}
        cursor = await connection.execute(_OUTPUTS, values)
        for run_id, key, is_unread, output in await cursor.fetchall():
            if is_unread:
                unread[run_id].add(key)
            else:
                outputs[run_id][key] = output
    return {
        run_id: Known(run_input=inputs.get(run_id), outputs=outputs[run_id], unread=frozenset(unread[run_id]))
        for run_id in wanted
    }
