"""Holds, settlements and budgets in PostgreSQL: one function call for each batch (hold.sql, settle.sql)."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any
from uuid import UUID
from weakref import ref

import msgspec
import psycopg

from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.domain.budget import EXHAUSTED_SHARE, Held, Hold, Period, Spend, Terms, check_shares
from cognitionos.llm_gateway.domain.errors import unknown_zone
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.infrastructure.batching import GroupCommit
from cognitionos.llm_gateway.infrastructure.ledger_detail import ledger_detail
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.database import Database
from cognitionos.platform.database_calls import Statement, Values
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

AFTER_HOLD = declare("llm_gateway.after_hold")
BEFORE_SETTLE = declare("llm_gateway.before_settle")
AFTER_SETTLE = declare("llm_gateway.after_settle")
DEAD_AFTER_S = 30.0
SWEEP_EVERY_S = 12.0
GRACE_S = 60.0
"""Added to a call's deadline before its hold counts as abandoned by a process that still lives."""
SETTLE_AGAIN_S = (0.1, 0.3, 0.5, 1.0, 1.0, 1.0, 2.0, 2.0)
"""Waits before a settlement is tried again while its answer waits for it; after that it is tried every `LATE_S`."""
LATE_S = 1.0
LONGEST_END_S = 5.0
"""So long a process that ends tries what PostgreSQL did not take until then."""

_HOLD = Statement(
    "llm_hold",
    "SELECT call_id, outcome, subject, left_nanousd, room_nanousd, to_jsonb(resets_at) #>> '{}', period, downgrade_to"
    " FROM llm_hold($1::jsonb)",
)
_SETTLE = Statement("llm_settle", "SELECT raised FROM llm_settle($1::jsonb) WHERE raised > 0")
_RELEASE = "SELECT llm_release(%s)"
_SEND = "SELECT llm_send(%s)"
_SWEEP = "SELECT booked, released, raised FROM llm_sweep_holds(%s, %s, %s)"
_ROLL = """
SELECT llm_roll_budgets(ARRAY(SELECT id FROM budgets WHERE subject = %(subject)s AND period = %(period)s FOR UPDATE),
  clock_timestamp())
"""
_OPEN = """
INSERT INTO budgets (tenant_id, subject, period, limit_nanousd, soft, halt, downgrade_to, time_zone, resets_at)
VALUES (%(tenant_id)s, %(subject)s, %(period)s, %(limit)s, %(soft)s, %(halt)s, %(downgrade_to)s, %(time_zone)s,
  llm_next_reset(%(period)s, COALESCE(%(time_zone)s, (SELECT time_zone FROM budget_settings), 'UTC'), now()))
ON CONFLICT (tenant_id, subject, period) DO UPDATE SET limit_nanousd = excluded.limit_nanousd,
  soft = CASE WHEN 'soft' = ANY (%(given)s) THEN excluded.soft ELSE budgets.soft END,
  halt = CASE WHEN 'halt' = ANY (%(given)s) THEN excluded.halt ELSE budgets.halt END,
  downgrade_to = CASE WHEN 'downgrade_to' = ANY (%(given)s) THEN excluded.downgrade_to ELSE budgets.downgrade_to END,
  time_zone = CASE WHEN 'time_zone' = ANY (%(given)s) THEN excluded.time_zone ELSE budgets.time_zone END,
  resets_at = CASE WHEN 'time_zone' = ANY (%(given)s) THEN excluded.resets_at ELSE budgets.resets_at END
RETURNING id, soft, halt
"""
_SPEND = """
SELECT limit_nanousd, CASE WHEN over THEN 0 ELSE held_nanousd END, CASE WHEN over THEN 0 ELSE spent_nanousd END,
  CASE WHEN over THEN 0 ELSE calls END
FROM (SELECT *, resets_at IS NOT NULL AND resets_at <= now() AS over FROM budgets WHERE subject = %s) AS b
ORDER BY limit_nanousd - CASE WHEN over THEN 0 ELSE held_nanousd + spent_nanousd END LIMIT 1
"""
_EXHAUSTED = f"""
INSERT INTO budget_alerts
  (tenant_id, budget_id, subject, period, threshold, share, window_start, resets_at, limit_nanousd, spent_nanousd)
SELECT tenant_id, id, subject, period, 'exhausted', 1, window_start, resets_at, limit_nanousd, spent_nanousd
FROM budgets WHERE subject = %s AND period = %s AND limit_nanousd > 0
  AND spent_nanousd >= COALESCE(halt_nanousd, limit_nanousd * {EXHAUSTED_SHARE})
ON CONFLICT DO NOTHING
"""  # noqa: S608 - a number of ours
_COLUMN_OF_SUBJECT = {
    "tenant": "tenant_id",
    "project": "project_id",
    "api_key": "api_key_id",
    "user": "user_id",
    "goal": "goal_id",
    "run": "run_id",
    "task": "task_id",
    "agent_run": "agent_run_id",
}
_TEXT_COLUMNS = frozenset({"user_id", "task_id"})


class PostgresBudgetStore:
    """The money of every process. `owner` is this process: its holds are swept when it gives no sign of life.

    `raised` is told when a settlement or a refusal made an alert.
    """

    def __init__(self, database: Database, *, owner: UUID, raised: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._owner = owner
        self._raised = raised
        self._holds: GroupCommit[Hold, Held] = GroupCommit(self._hold, alone_on=psycopg.DataError)
        self._settlements: GroupCommit[Call, None] = GroupCommit(self._settle, alone_on=psycopg.DataError)
        self._known: set[ref[Hold]] = set()
        self._ending: set[UUID] = set()
        self._late: set[asyncio.Task[None]] = set()

    def hold(self, hold: Hold) -> "asyncio.Future[Held]":
        """Hold the amount on every budget of the call's subjects, all or nothing. Safe to repeat."""
        self._known.add(ref(hold, self._known.discard))
        return self._holds.submit(hold)

    def settle(self, call: Call) -> "asyncio.Future[None]":
        """Write the ledger row, book the cost, release the hold: once per call id, however often it is called.

        While PostgreSQL is gone it is tried for some seconds, then raises `Unavailable`, and is tried on all the same.
        """
        self._ending.add(call.call_id)
        return self._settlements.submit(call)

    async def release(self, call_id: UUID) -> None:
        """Give back a hold whose call never started; nothing is booked. Tried until PostgreSQL is there."""
        self._ending.add(call_id)
        try:
            while True:
                try:
                    async with self._database.connection() as connection:
                        await connection.execute(_RELEASE, (call_id,))
                    return
                except Unavailable as error:
                    log.warning("release_delayed", reason=str(error), again_in_s=LATE_S)
                    await asyncio.sleep(LATE_S)
        finally:
            self._ending.discard(call_id)

    async def send(self, call_id: UUID) -> bool:
        """Note that a call which queued goes to its provider now. False: its hold is gone, so it must not."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_SEND, (call_id,))).fetchone()
        return bool(row and row[0])

    async def exhausted(self, tenant_id: UUID, subject: str, period: Period) -> None:
        """Note that a budget near its end refused a call: an alert, once in its period."""
        async with self._database.transaction(tenant_id) as connection:
            made = (await connection.execute(_EXHAUSTED.encode(), (subject, str(period)))).rowcount
        if made:
            self._raised()

    async def open(
        self,
        tenant_id: UUID,
        subject: str,
        *,
        limit_nanousd: int,
        period: Period,
        terms: Terms | None = None,
        given: Collection[str] = (),
    ) -> UUID:
        """Make the budget of `subject`, or change its limit and the `given` terms.

        Calls held before it was made do not count. Raises `TimeZoneUnknown`, `SharesCrossed`.
        """
        terms = terms or Terms()
        values = {"tenant_id": tenant_id, "subject": subject, "period": str(period), "limit": limit_nanousd}
        values |= {"soft": terms.soft, "halt": terms.halt, "downgrade_to": terms.downgrade_to}
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_ROLL, values)
            try:
                values |= {"time_zone": terms.time_zone, "given": list(given)}
                row = await (await connection.execute(_OPEN, values)).fetchone()
            except psycopg.errors.InvalidParameterValue as error:
                raise unknown_zone(terms.time_zone) from error
            if row is None:
                raise Unavailable("the budget was not stored")
            if not {"soft", "halt"}.isdisjoint(given):
                check_shares(row[1], row[2])
        return UUID(str(row[0]))

    async def spend(self, tenant_id: UUID, subject: str) -> Spend:
        """The state of the subject's tightest budget; without one, the sum of its ledger rows."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_SPEND, (subject,))).fetchone()
            if row is not None:
                return Spend(limit_nanousd=row[0], held_nanousd=row[1], spent_nanousd=row[2], calls=row[3])
            kind, _, identifier = subject.partition(":")
            column = _COLUMN_OF_SUBJECT.get(kind)
            value = identifier if column in _TEXT_COLUMNS else _uuid(identifier)
            if column is None or value is None:
                return Spend(limit_nanousd=None, held_nanousd=0, spent_nanousd=0, calls=0)
            total = f"SELECT COALESCE(sum(cost_nanousd), 0)::bigint, count(*) FROM calls WHERE {column} = %s"  # noqa: S608 - a column of the table above
            sums = await (await connection.execute(total.encode(), (value,))).fetchone() or (0, 0)
        return Spend(limit_nanousd=None, held_nanousd=0, spent_nanousd=sums[0], calls=sums[1])

    async def sweep(self, *, dead_after_s: float = DEAD_AFTER_S) -> int:
        """Give a sign of life, then close the holds of dead processes and calls; gives how many.

        A call that was sent is booked at its amount and marked as an estimate, one that still queued is released.
        """
        under_way = [*(hold.row.call_id for each in tuple(self._known) if (hold := each())), *self._ending]
        async with self._database.connection() as connection:
            row = await (await connection.execute(_SWEEP, (self._owner, dead_after_s, under_way))).fetchone()
        booked, released, raised = row or (0, 0, 0)
        if booked or released:
            log.warning("lost_holds_closed", booked=booked, released=released)
        if raised:
            self._raised()
        return int(booked + released)

    async def drain(self) -> None:
        """Wait until every hold and settlement under way is committed."""
        await self._holds.drain()
        await self._settlements.drain()
        if self._late:
            await asyncio.wait(self._late, timeout=LONGEST_END_S)

    async def _hold(self, holds: list[Hold]) -> list[Held]:
        wishes = [
            {
                "call_id": hold.row.call_id,
                "tenant_id": hold.row.caller.tenant_id,
                "subjects": [subject.replace("\0", "") for subject in hold.row.caller.subjects],
                "amount": hold.amount_nanousd,
                "owner": self._owner,
                "expires_s": hold.deadline_s + GRACE_S,
                "halts": hold.halts,
                "downgraded": hold.downgraded,
                "sent": hold.sent,
                "facts": ledger_row(hold.row),
            }
            for hold in holds
        ]
        async with self._database.connection() as connection:
            rows = await _HOLD.rows(connection, msgspec.json.encode(wishes))
        crash_point(AFTER_HOLD)
        answers = {row[0]: row for row in rows}
        return [_held(answers[str(hold.row.call_id).encode()]) for hold in holds]

    async def _settle(self, calls: list[Call]) -> list[None]:
        rows = msgspec.json.encode([ledger_row(call) for call in calls])
        crash_point(BEFORE_SETTLE)
        ids = [call.call_id for call in calls]
        self._ending.update(ids)
        try:
            await self._write_soon(rows, ids)
        except Unavailable:
            task = asyncio.create_task(self._write_late(rows, ids), name="llm_gateway.late_settlement")
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            raise
        except BaseException:  # what no row can be written of is booked at its bound, by the sweep
            self._ending.difference_update(ids)
            lost = [each for each in self._known if (hold := each()) and hold.row.call_id in ids]
            self._known.difference_update(lost)
            raise
        self._ending.difference_update(ids)
        crash_point(AFTER_SETTLE)
        return [None] * len(calls)

    async def _write_soon(self, rows: bytes, ids: list[UUID]) -> None:
        for wait_s in SETTLE_AGAIN_S:
            try:
                await self._write(rows)
                return
            except Unavailable as error:
                log.warning("settlement_delayed", calls=len(ids), reason=str(error), again_in_s=wait_s)
                await asyncio.sleep(wait_s)
        await self._write(rows)

    async def _write_late(self, rows: bytes, ids: list[UUID]) -> None:
        """For calls whose callers were told that it failed: the provider answered, so its bill must not be lost."""
        try:
            while True:
                await asyncio.sleep(LATE_S)
                with contextlib.suppress(Unavailable):
                    await self._write(rows)
                    log.warning("settled_late", calls=len(ids))
                    return
        finally:
            self._ending.difference_update(ids)

    async def _write(self, rows: bytes) -> None:
        async with self._database.connection() as connection:
            has_raised = await _SETTLE.rows(connection, rows)
        if has_raised:
            self._raised()


class HoldSweeper:
    """This process's sign of life, and the sweep that closes the holds of processes that give none."""

    def __init__(
        self, store: PostgresBudgetStore, *, every_s: float = SWEEP_EVERY_S, dead_after_s: float = DEAD_AFTER_S
    ) -> None:
        self._store = store
        self._every_s = every_s
        self._dead_after_s = dead_after_s
        self._loop: asyncio.Task[None] | None = None

    async def run_once(self) -> int:
        """One sweep; how many holds it closed."""
        return await self._store.sweep(dead_after_s=self._dead_after_s)

    async def open(self) -> None:
        """Sweep now and then every few seconds on the running loop, in every process that holds."""
        self._loop = asyncio.create_task(self._run(), name="llm_gateway.hold_sweeper")

    async def close(self) -> None:
        """Commit what is under way and stop."""
        await self._store.drain()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.run_once()
            except Exception as error:  # noqa: BLE001 - the sweep of the next round is the remedy, whatever it was
                log.warning("hold_sweep_failed", reason=str(error))
            await asyncio.sleep(self._every_s)


def ledger_row(call: Call) -> dict[str, Any]:
    """A call under the ledger's column names (`settled_at` is the database's)."""
    caller, usage = call.caller, call.usage
    return {
        "call_id": call.call_id,
        "tenant_id": caller.tenant_id,
        "project_id": caller.project_id,
        "api_key_id": caller.api_key_id,
        "user_id": _text(caller.user),
        "goal_id": caller.goal_id,
        "run_id": caller.run_id,
        "task_id": _text(caller.task_id),
        "agent_run_id": caller.agent_run_id,
        "kind": call.kind,
        "outcome": call.outcome,
        "model_asked": _text(call.model_asked),
        "provider": call.provider,
        "model": _text(call.model),
        "route_reason": call.route_reason,
        "cache": call.cache,
        "cache_age_s": call.cache_age_s,
        "prompt_tokens": usage.prompt,
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write,
        "completion_tokens": usage.completion,
        "reasoning_tokens": usage.reasoning,
        "estimated": usage.estimated,
        "cost_nanousd": call.cost_nanousd,
        "priced": call.priced,
        "saved_nanousd": call.saved_nanousd,
        "latency_ms": call.latency_ms,
        "first_token_ms": call.first_token_ms,
        "attempts": call.attempts,
        "finish_reason": _text(call.finish_reason),
        "streamed": call.streamed,
        "simulated": call.simulated,
        "limit_lowered": call.limit_lowered,
    } | ledger_detail(call)


def _uuid(text: str) -> UUID | None:
    """The id in a subject; None where it is none, which then has no calls."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _text(value: object) -> str | None:
    """A value as PostgreSQL can store it: one NUL in a caller's text must not fail the batch of all others."""
    return None if value is None else str(value).replace("\0", "")


def _held(row: Values) -> Held:
    _, outcome, subject, left, room, resets_at, period, downgrade_to = row
    return Held(
        granted=outcome == b"held",
        price_missing=outcome == b"price_unknown",
        halted=outcome == b"halted",
        downgrade_to=downgrade_to.decode() if downgrade_to is not None else None,
        subject=subject.decode() if subject is not None else None,
        period=Period(period.decode()) if period else Period.TOTAL,
        left_nanousd=int(left or 0),
        room_nanousd=int(room or 0),
        resets_at=datetime.fromisoformat(resets_at.decode()) if resets_at is not None else None,
    )
