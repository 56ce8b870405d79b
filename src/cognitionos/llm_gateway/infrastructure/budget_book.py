"""Budgets as their owners see them: changed, removed, counted anew. Holds and settlements: `budget_store.py`."""

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from cognitionos.kernel.time_zones import is_time_zone
from cognitionos.llm_gateway.domain.budget import BudgetSettings, Miscount, Period, check_shares
from cognitionos.llm_gateway.domain.errors import BudgetNotFound, unknown_zone
from cognitionos.platform.database import Database

_ROLL = "SELECT llm_roll_budgets(ARRAY(SELECT id FROM budgets WHERE id = %(id)s FOR UPDATE), clock_timestamp())"
_ROLL_ALL = "SELECT llm_roll_budgets(ARRAY(SELECT id FROM budgets ORDER BY id FOR UPDATE), clock_timestamp())"
_CHANGE = """
UPDATE budgets SET
  limit_nanousd = CASE WHEN 'limit' = ANY (%(given)s) THEN %(limit)s::bigint ELSE limit_nanousd END,
  soft = CASE WHEN 'soft' = ANY (%(given)s) THEN %(soft)s::numeric ELSE soft END,
  halt = CASE WHEN 'halt' = ANY (%(given)s) THEN %(halt)s::numeric ELSE halt END,
  downgrade_to = CASE WHEN 'downgrade_to' = ANY (%(given)s) THEN %(downgrade_to)s::text ELSE downgrade_to END,
  time_zone = CASE WHEN 'time_zone' = ANY (%(given)s) THEN %(time_zone)s::text ELSE time_zone END,
  resets_at = CASE WHEN 'time_zone' = ANY (%(given)s) THEN llm_next_reset(period,
    COALESCE(%(time_zone)s::text, (SELECT time_zone FROM budget_settings), 'UTC'), now()) ELSE resets_at END
WHERE id = %(id)s
RETURNING soft, halt
"""
_SETTINGS = "SELECT time_zone, downgrade_to FROM budget_settings"
_NAMES_CHEAPER = """
SELECT EXISTS (SELECT FROM budget_settings WHERE downgrade_to IS NOT NULL)
  OR EXISTS (SELECT FROM budgets WHERE downgrade_to IS NOT NULL)
"""
_PUT_SETTINGS = """
INSERT INTO budget_settings (tenant_id, time_zone, downgrade_to) VALUES (%(tenant_id)s, %(time_zone)s, %(downgrade_to)s)
ON CONFLICT (tenant_id) DO UPDATE SET time_zone = excluded.time_zone, downgrade_to = excluded.downgrade_to,
  changed_at = now()
"""
_FOLLOW = """
UPDATE budgets SET resets_at = llm_next_reset(period, %(time_zone)s, now())
WHERE time_zone IS NULL AND period <> 'total'
"""
_KNOWN_ZONE = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %s)"
# the rows are locked, so what is counted here is what was committed: a settlement needs the same locks
_COUNT = """
WITH spent AS (
  SELECT b.id, sum(c.cost_nanousd)::bigint AS cost, count(*) AS n
  FROM calls c CROSS JOIN LATERAL unnest(c.budget_ids) AS u(id) JOIN budgets b ON b.id = u.id
  WHERE c.held_at >= b.window_start GROUP BY b.id
), held AS (
  SELECT b.id, sum(h.amount_nanousd)::bigint AS amount
  FROM budget_holds h CROSS JOIN LATERAL unnest(h.budget_ids) AS u(id) JOIN budgets b ON b.id = u.id
  WHERE h.created_at >= b.window_start GROUP BY b.id
)
SELECT b.id, b.subject, b.period, b.spent_nanousd, b.held_nanousd, b.calls, sums.cost, sums.amount, sums.n
FROM budgets b LEFT JOIN spent s ON s.id = b.id LEFT JOIN held h ON h.id = b.id
  CROSS JOIN LATERAL (SELECT b.carried_nanousd + COALESCE(s.cost, 0) AS cost, COALESCE(h.amount, 0) AS amount,
    b.carried_calls + COALESCE(s.n, 0) AS n) AS sums
WHERE (b.spent_nanousd, b.held_nanousd, b.calls) <> (sums.cost, sums.amount, sums.n)
ORDER BY b.created_at, b.id
"""
_CORRECT = "UPDATE budgets SET spent_nanousd = %s, held_nanousd = %s, calls = %s WHERE id = %s"

Owns = Callable[[UUID, str, UUID], Awaitable[bool]]
"""Whether a tenant has what a subject names, by its kind and id, as far as anybody knows."""


class BudgetBook:
    """The tenant's budgets by id, and what it wants of all of them. `raised` is told when a change made an alert."""

    def __init__(self, database: Database, *, owns: Owns, raised: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self.owns = owns
        self._raised = raised

    async def change(self, tenant_id: UUID, budget_id: UUID, changes: Mapping[str, object]) -> None:
        """Set what `changes` names: limit (nano-dollars), soft, halt, downgrade_to, time_zone.

        Raises `BudgetNotFound`, `TimeZoneUnknown`, `SharesCrossed`.
        """
        fields = ("limit", "soft", "halt", "downgrade_to", "time_zone")
        values = {name: changes.get(name) for name in fields} | {"given": list(changes), "id": budget_id}
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_ROLL, values)
            try:
                changed = await (await connection.execute(_CHANGE, values)).fetchone()
            except psycopg.errors.InvalidParameterValue as error:
                raise unknown_zone(str(changes.get("time_zone"))) from error
            if changed is None:
                raise _no_budget(budget_id)
            if not {"soft", "halt"}.isdisjoint(changes):
                check_shares(*changed)
            await connection.execute("SELECT llm_raise_alerts(ARRAY[%s::uuid])", (budget_id,))
        self._raised()

    async def remove(self, tenant_id: UUID, budget_id: UUID) -> None:
        """Take the limit away; the ledger keeps what was spent. Raises `BudgetNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            if (await connection.execute("DELETE FROM budgets WHERE id = %s", (budget_id,))).rowcount == 0:
                raise _no_budget(budget_id)

    async def settings(self, tenant_id: UUID) -> BudgetSettings:
        """What the tenant wants of its budgets."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(BudgetSettings))
            return await (await cursor.execute(_SETTINGS)).fetchone() or BudgetSettings()

    async def names_cheaper(self, tenant_id: UUID) -> bool:
        """Whether one of its budgets, or what it wants of all of them, has a cheaper model answer near the end."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_NAMES_CHEAPER)).fetchone()
        return bool(row and row[0])

    async def put_settings(self, tenant_id: UUID, settings: BudgetSettings) -> None:
        """Say it anew; budgets without a time zone of their own follow at once. Raises `TimeZoneUnknown`."""
        values = {"time_zone": settings.time_zone, "downgrade_to": settings.downgrade_to, "tenant_id": tenant_id}
        await self.check_zone(settings.time_zone)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_ROLL_ALL)
            await connection.execute(_PUT_SETTINGS, values)
            await connection.execute(_FOLLOW, values)

    async def check_zone(self, name: str) -> None:
        """Raise `TimeZoneUnknown` unless PostgreSQL's list, whose calendar decides, has it."""
        if not is_time_zone(name):
            raise unknown_zone(name)
        async with self._database.connection() as connection:
            row = await (await connection.execute(_KNOWN_ZONE, (name,))).fetchone()
        if not (row and row[0]):
            raise unknown_zone(name)

    async def recount(self, tenant_id: UUID, *, correct: bool) -> list[Miscount]:
        """Sum up the ledger and the holds, for all budgets in one step; those whose counters say something else.

        `correct` sets them to the sums. Calls wait meanwhile.
        """
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_ROLL_ALL)
            rows = await (await connection.execute(_COUNT)).fetchall()
            if correct:
                for row in rows:
                    await connection.execute(_CORRECT, (row[6], row[7], row[8], row[0]))
        return [
            Miscount(
                budget_id=row[0],
                subject=row[1],
                period=Period(row[2]),
                spent_nanousd=(row[3], row[6]),
                held_nanousd=(row[4], row[7]),
                calls=(row[5], row[8]),
            )
            for row in rows
        ]


def _no_budget(budget_id: UUID) -> BudgetNotFound:
    return BudgetNotFound(f"There is no budget {budget_id}.")
