"""What references lead to: outputs of tasks that have ended, and inputs of runs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.planning.domain.reference import Known, Wanted
from cognitionos.planning.infrastructure.rows import uuid_array

_OUTPUTS = """
SELECT t.run_id, t.key,
  CASE WHEN t.status = 'failed' THEN jsonb_build_object('error', t.error) ELSE coalesce(p.body, t.output) END
FROM tasks t LEFT JOIN payloads p ON p.id = t.output_payload
WHERE t.run_id = ANY(%s::uuid[]) AND t.key = ANY(%s) AND t.status IN ('succeeded', 'failed')
"""
_INPUTS = "SELECT id, input FROM runs WHERE id = ANY(%s::uuid[])"


async def known_in(connection: AsyncConnection[Any], wanted: Mapping[UUID, Wanted]) -> dict[UUID, Known]:
    """What is wanted of each run, of the tenant of the transaction."""
    keys = sorted({key for each in wanted.values() for key in each.outputs})
    inputs: dict[UUID, Any] = {}
    asking = [run_id for run_id, each in wanted.items() if each.run_input]
    if asking:
        inputs = dict(await (await connection.execute(_INPUTS, (uuid_array(asking),))).fetchall())
    known = {run_id: Known(run_input=inputs.get(run_id)) for run_id in wanted}
    if keys:
        cursor = await connection.execute(_OUTPUTS, (uuid_array(list(wanted)), keys))
        for run_id, key, output in await cursor.fetchall():
            known[run_id].outputs[key] = output
    return known
