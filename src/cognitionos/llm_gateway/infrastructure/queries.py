"""Reads of the ledger, straight to what the API answers."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from cognitionos.kernel.money import usd_text
from cognitionos.platform.database import Database

GroupBy = Literal["model", "provider", "goal", "run", "task", "user", "api_key", "project", "agent_run", "day"]
MOST_GROUPS = 1000
_COLUMNS = {
    "model": "provider || '/' || model",
    "provider": "provider",
    "goal": "goal_id::text",
    "run": "run_id::text",
    "task": "task_id",
    "user": "user_id",
    "api_key": "api_key_id::text",
    "project": "project_id::text",
    "agent_run": "agent_run_id::text",
    "day": "to_char(settled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
}


class UsageGroup(msgspec.Struct, frozen=True):
    """Sums over the calls with one value of the grouping; `key` null: the calls without one.

    `unpriced_calls` cost something that nobody told: they are not in `cost_usd`.
    """

    key: str | None
    calls: int
    cached_calls: int
    failed_calls: int
    unpriced_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str
    saved_usd: str


class Usage(msgspec.Struct, frozen=True):
    """The tenant's usage, dearest group first, and the sum over all of it."""

    group_by: str
    groups: list[UsageGroup]
    total_usd: str


class UsageQueries:
    """The tenant's own rows only, by row-level security."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(
        self, tenant_id: UUID, group_by: GroupBy, *, since: datetime | None = None, until: datetime | None = None
    ) -> Usage:
        """Calls, tokens and money by `group_by`, of the calls settled in [since, until)."""
        query = f"""
            SELECT {_COLUMNS[group_by]} AS key, count(*) AS calls,
              count(*) FILTER (WHERE cache <> 'none') AS cached_calls,
              count(*) FILTER (WHERE outcome NOT IN ('ok', 'aborted')) AS failed_calls,
              count(*) FILTER (WHERE NOT priced) AS unpriced_calls,
              sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens,
              sum(cost_nanousd)::bigint AS cost, sum(saved_nanousd)::bigint AS saved,
              sum(sum(cost_nanousd)) OVER ()::bigint AS total
            FROM calls
            WHERE (%(since)s::timestamptz IS NULL OR settled_at >= %(since)s)
              AND (%(until)s::timestamptz IS NULL OR settled_at < %(until)s)
            GROUP BY 1 ORDER BY cost DESC, calls DESC, key LIMIT {MOST_GROUPS}
        """  # noqa: S608 - a column of the table above
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(query.encode(), {"since": since, "until": until})).fetchall()
        groups = [
            UsageGroup(
                key=row["key"],
                calls=row["calls"],
                cached_calls=row["cached_calls"],
                failed_calls=row["failed_calls"],
                unpriced_calls=row["unpriced_calls"],
                prompt_tokens=row["prompt_tokens"],
                completion_tokens=row["completion_tokens"],
                cost_usd=usd_text(row["cost"]),
                saved_usd=usd_text(row["saved"]),
            )
            for row in rows
        ]
        return Usage(group_by=group_by, groups=groups, total_usd=usd_text(rows[0]["total"] if rows else 0))
