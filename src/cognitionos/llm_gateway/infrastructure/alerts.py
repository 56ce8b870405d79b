"""Budgets' alerts after they were written: told to the other contexts once, and taken note of by people."""

import asyncio
from contextlib import suppress
from uuid import UUID

from psycopg.rows import dict_row

from cognitionos.events.llm_gateway import BudgetThresholdReached
from cognitionos.llm_gateway.domain.errors import AlertNotFound
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.platform.database import Database
from cognitionos.platform.logging import get_logger
from cognitionos.platform.unit_of_work import Begin, UnitOfWork

log = get_logger(__name__)
LOOK_EVERY_S = 60.0
MOST_AT_ONCE = 100

_UNTOLD = "SELECT alert_id, tenant FROM llm_untold_alerts(%s)"
_TELL = """
UPDATE budget_alerts SET told_at = now() WHERE id = %s AND told_at IS NULL
RETURNING id, tenant_id, budget_id, subject, period, threshold, limit_nanousd, spent_nanousd, resets_at, at
"""
_ACKNOWLEDGE = """
UPDATE budget_alerts SET acknowledged_at = COALESCE(acknowledged_at, now()),
  acknowledged_by = CASE WHEN acknowledged_at IS NULL THEN %(who)s ELSE acknowledged_by END,
  note = CASE WHEN acknowledged_at IS NULL THEN %(note)s ELSE note END
WHERE id = %(id)s
"""


class BudgetAlerts:
    """Publishes `BudgetThresholdReached` for each alert, once, whichever process wrote it and whichever died."""

    def __init__(self, database: Database, *, begin: Begin[UnitOfWork], every_s: float = LOOK_EVERY_S) -> None:
        self._database = database
        self._begin = begin
        self._every_s = every_s
        self._due = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def look(self) -> None:
        """An alert was written in this process: tell of it at once."""
        self._due.set()

    async def open(self) -> None:
        """Look now, whenever told to, and every minute for what others left."""
        self._loop = asyncio.create_task(self._run(), name="llm_gateway.budget_alerts")

    async def close(self) -> None:
        """Stop looking; another process or the next start goes on."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def tell(self) -> int:
        """Publish what nobody was told of; gives how many. Two processes at once tell each alert once."""
        async with self._database.connection() as connection:
            untold = await (await connection.execute(_UNTOLD, (MOST_AT_ONCE,))).fetchall()
        return sum([await self._tell(alert_id, tenant_id) for alert_id, tenant_id in untold])

    async def acknowledge(self, tenant_id: UUID, alert_id: UUID, *, who: str, note: str | None) -> None:
        """Note who has seen it, and when; the first stands. Raises `AlertNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            values = {"id": alert_id, "who": who, "note": note}
            if (await connection.execute(_ACKNOWLEDGE, values)).rowcount == 0:
                raise AlertNotFound(f"There is no alert {alert_id}.")

    async def _tell(self, alert_id: UUID, tenant_id: UUID) -> bool:
        async with self._begin(tenant_id) as work:
            cursor = (await work.connection()).cursor(row_factory=dict_row)
            row = await (await cursor.execute(_TELL, (alert_id,))).fetchone()
            if row is None:
                return False
            resets_at = row.pop("resets_at")
            event_id = row.pop("id")
            event = BudgetThresholdReached(
                event_id=event_id, alert_id=event_id, resets_at=resets_at and resets_at.isoformat(), **row
            )
            work.publish(event)
        metrics.BUDGET_ALERTS.labels(event.threshold).inc()
        log.warning(
            "budget_threshold_reached",
            subject=event.subject,
            threshold=event.threshold,
            spent_nanousd=event.spent_nanousd,
            limit_nanousd=event.limit_nanousd,
        )
        return True

    async def _run(self) -> None:
        while True:
            self._due.clear()
            try:
                await self.tell()
            except Exception as error:  # noqa: BLE001 - the next look is the remedy, whatever it was
                log.warning("budget_alerts_not_told", reason=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._due.wait()
