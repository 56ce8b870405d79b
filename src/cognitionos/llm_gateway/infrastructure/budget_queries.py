"""Reads of budgets and their alerts, straight to what the API answers."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from cognitionos.kernel.money import usd_text
from cognitionos.llm_gateway.domain.errors import AlertNotFound, BudgetNotFound
from cognitionos.platform.database import Database
from cognitionos.platform.paging import Page, decode_cursor, page

_BUDGETS = """
SELECT b.*, COALESCE(b.time_zone, (SELECT time_zone FROM budget_settings), 'UTC') AS zone,
  b.resets_at IS NOT NULL AND b.resets_at <= now() AS is_over,
  llm_next_reset(b.period, COALESCE(b.time_zone, (SELECT time_zone FROM budget_settings), 'UTC'), now()) AS next_reset
FROM budgets b
WHERE (%(subject)s::text IS NULL OR subject = %(subject)s) AND (%(id)s::uuid IS NULL OR id = %(id)s)
  AND (%(after)s::timestamptz IS NULL OR (created_at, id) > (%(after)s, %(after_id)s))
ORDER BY created_at, id LIMIT %(limit)s
"""
_ALERTS = """
SELECT id, budget_id, subject, period, threshold, share, limit_nanousd, spent_nanousd, window_start, resets_at, at,
  acknowledged_at, acknowledged_by, note
FROM budget_alerts
WHERE (%(id)s::uuid IS NULL OR id = %(id)s)
  AND (%(subject)s::text IS NULL OR subject = %(subject)s)
  AND (%(threshold)s::text IS NULL OR threshold = %(threshold)s)
  AND (%(acknowledged)s::boolean IS NULL OR (acknowledged_at IS NOT NULL) = %(acknowledged)s)
  AND (%(before)s::timestamptz IS NULL OR (at, id) < (%(before)s, %(before_id)s))
ORDER BY at DESC, id DESC LIMIT %(limit)s
"""


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """One budget and its state in the current period; money in exact decimal dollars.

    `left_usd` is what the next call may hold. `soft`, `halt` and `downgrade_to` null: nothing happens there.
    """

    id: UUID
    subject: str
    period: str
    time_zone: str
    limit_usd: str
    soft: float | None
    halt: float | None
    downgrade_to: str | None
    spent_usd: str
    held_usd: str
    left_usd: str
    calls: int
    period_start: datetime
    resets_at: datetime | None


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """A share of a budget's limit was spent: `threshold` is soft, halt or exhausted. `spent_usd` is as of then."""

    id: UUID
    budget_id: UUID
    subject: str
    period: str
    threshold: str
    share: float
    limit_usd: str
    spent_usd: str
    period_start: datetime
    resets_at: datetime | None
    at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None


class BudgetQueries:
    """The tenant's own rows only, by row-level security."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def budgets(
        self, tenant_id: UUID, *, subject: str | None = None, limit: int = 1000, cursor: str | None = None
    ) -> Page[BudgetView]:
        """The tenant's budgets, oldest first; those of `subject` only where it is given."""
        after, after_id = decode_cursor(cursor, tuple[datetime, UUID]) or (None, None)
        values = {"subject": subject, "id": None, "after": after, "after_id": after_id, "limit": limit + 1}
        rows = await self._rows(tenant_id, _BUDGETS, values)
        shown = page(rows, limit, lambda row: (row["created_at"], row["id"]))
        return Page(items=[_budget(row) for row in shown.items], next_cursor=shown.next_cursor)

    async def budget(self, tenant_id: UUID, budget_id: UUID) -> BudgetView:
        """One of them. Raises `BudgetNotFound`."""
        values = {"subject": None, "id": budget_id, "after": None, "after_id": None, "limit": 1}
        rows = await self._rows(tenant_id, _BUDGETS, values)
        if not rows:
            raise BudgetNotFound(f"There is no budget {budget_id}.")
        return _budget(rows[0])

    async def alerts(
        self,
        tenant_id: UUID,
        *,
        subject: str | None = None,
        threshold: str | None = None,
        acknowledged: bool | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[AlertView]:
        """The tenant's alerts, latest first."""
        before, before_id = decode_cursor(cursor, tuple[datetime, UUID]) or (None, None)
        values: dict[str, Any] = {"id": None, "subject": subject, "threshold": threshold, "acknowledged": acknowledged}
        values |= {"before": before, "before_id": before_id, "limit": limit + 1}
        rows = await self._rows(tenant_id, _ALERTS, values)
        return page([_alert(row) for row in rows], limit, lambda alert: (alert.at, alert.id))

    async def alert(self, tenant_id: UUID, alert_id: UUID) -> AlertView:
        """One of them. Raises `AlertNotFound`."""
        values = dict.fromkeys(("subject", "threshold", "acknowledged", "before", "before_id"))
        rows = await self._rows(tenant_id, _ALERTS, values | {"id": alert_id, "limit": 1})
        if not rows:
            raise AlertNotFound(f"There is no alert {alert_id}.")
        return _alert(rows[0])

    async def _rows(self, tenant_id: UUID, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return await (await cursor.execute(query.encode(), values)).fetchall()


def _budget(row: dict[str, Any]) -> BudgetView:
    """A budget whose period is over and that nobody has called on since stands at nothing."""
    over = row["is_over"]
    spent, held = (0, 0) if over else (row["spent_nanousd"], row["held_nanousd"])
    return BudgetView(
        id=row["id"],
        subject=row["subject"],
        period=row["period"],
        time_zone=row["zone"],
        limit_usd=usd_text(row["limit_nanousd"]),
        soft=_share(row["soft"]),
        halt=_share(row["halt"]),
        downgrade_to=row["downgrade_to"],
        spent_usd=usd_text(spent),
        held_usd=usd_text(held),
        left_usd=usd_text(row["limit_nanousd"] - spent - held),
        calls=0 if over else row["calls"],
        period_start=row["resets_at"] if over else row["window_start"],
        resets_at=row["next_reset"] if over else row["resets_at"],
    )


def _alert(row: dict[str, Any]) -> AlertView:
    return AlertView(
        id=row["id"],
        budget_id=row["budget_id"],
        subject=row["subject"],
        period=row["period"],
        threshold=row["threshold"],
        share=float(row["share"]),
        limit_usd=usd_text(row["limit_nanousd"]),
        spent_usd=usd_text(row["spent_nanousd"]),
        period_start=row["window_start"],
        resets_at=row["resets_at"],
        at=row["at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        note=row["note"],
    )


def _share(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
