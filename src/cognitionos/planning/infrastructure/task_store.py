"""The engine's hot path to PostgreSQL: claim, renew, hand back, record."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.errors import DeadlockDetected

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import Unavailable
from cognitionos.kernel.event import Event
from cognitionos.planning.application.ports import Before, Claimed, Compute, Recorded
from cognitionos.planning.domain.intake import MOST_IN, too_large
from cognitionos.planning.domain.reference import Known, Wanted
from cognitionos.planning.domain.step import Ended, Entry
from cognitionos.planning.domain.task import ClaimedTask
from cognitionos.planning.domain.urgency import BITE
from cognitionos.planning.infrastructure import metrics
from cognitionos.planning.infrastructure.known_rows import known_in
from cognitionos.planning.infrastructure.recording import Recording
from cognitionos.planning.infrastructure.rows import claimed_of, uuid_array
from cognitionos.platform import outbox
from cognitionos.platform.bus import Bus
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.database import Database
from cognitionos.platform.outbox import Outbox

DEADLOCK_RETRIES = 2
RELAY_WITHIN_S = 1.0
ASK_AGAIN_S = 0.1
_CLAIM = "SELECT * FROM claim_and_look(%s, %s, %s, %s)"
_RENEW = "SELECT task, task_fence FROM renew_held(%s, %s, %s::uuid[])"
_HAND_BACK = "SELECT hand_back_tasks(%s)"
_HOLD_RUNS = "SELECT FROM runs WHERE id = ANY(%s::uuid[]) ORDER BY id FOR SHARE"
_PUT_BACK = """
UPDATE tasks t SET ready_at = now(), lease_owner = NULL, lease_until = NULL, attempt = t.attempt - 1,
  status = CASE WHEN (SELECT r.status FROM runs r WHERE r.id = t.run_id) = 'paused' THEN 'paused' ELSE 'ready' END
WHERE t.id IN (
  SELECT h.id FROM tasks h JOIN unnest(%s::uuid[], %s::bigint[]) AS d(id, fence) ON d.id = h.id AND d.fence = h.fence
  WHERE h.lease_owner = %s AND h.status = 'running' ORDER BY h.id FOR NO KEY UPDATE OF h
)
"""
_WHAT_BECAME_OF = "SELECT pg_xact_status(%s::xid8)"
_IS_LIMITED = "SELECT EXISTS (SELECT FROM task_shares WHERE most_running IS NOT NULL)"
_AGAIN = """CASE WHEN r.parent_run_id IS NULL THEN r.forked_from IS NOT NULL ELSE EXISTS (
  WITH RECURSIVE line AS (
    SELECT r.forked_from, r.parent_run_id
    UNION ALL SELECT p.forked_from, p.parent_run_id FROM runs p JOIN line l ON p.id = l.parent_run_id
  ) SELECT FROM line WHERE forked_from IS NOT NULL) END"""
_IS_AGAIN = f"SELECT {_AGAIN} FROM runs r WHERE r.id = %s"  # noqa: S608 - a constant
_RUN_AND_GOAL = f"""
SELECT r.workflow, r.critical, g.statement, CASE WHEN r.parent_run_id IS NULL THEN '{{}}' ELSE ARRAY(
  WITH RECURSIVE above AS (
    SELECT p.id, p.workflow, p.parent_run_id FROM runs p WHERE p.id = r.parent_run_id
    UNION ALL SELECT p.id, p.workflow, p.parent_run_id FROM runs p JOIN above a ON p.id = a.parent_run_id
  )
  SELECT DISTINCT subject FROM above, unnest(ARRAY['run:' || id, 'workflow:' || workflow]) AS subject
  WHERE subject IS NOT NULL
) END, (
  SELECT sum(d.output_bytes) FROM tasks t JOIN tasks d ON d.id = ANY(t.dependencies) WHERE t.id = %s
), {_AGAIN}
FROM runs r LEFT JOIN goals g ON g.id = r.goal_id WHERE r.id = %s
"""  # noqa: S608 - a constant
_OUTPUTS = """
SELECT d.key, coalesce(p.body, d.output) FROM tasks t JOIN tasks d ON d.id = ANY(t.dependencies)
LEFT JOIN payloads p ON p.id = d.output_payload WHERE t.id = %s AND d.status <> 'skipped' ORDER BY d.position
"""

IN_RECORD = declare("engine.in_record")
BEFORE_RELAY = declare("engine.before_relay")


@dataclass(frozen=True, kw_only=True)
class PostgresTaskStore:
    """A `TaskStore`. Claims see every tenant by a function of the dispatch role; a record is one tenant's commit."""

    database: Database
    bus: Bus
    relay: Outbox
    pure: Mapping[str, Compute]
    now: Clock
    new_id: Callable[[], UUID]

    async def claim(self, *, worker: str, slots: int, lease_s: float) -> Claimed:
        """See `TaskStore.claim`."""
        async with self.database.connection() as connection:
            cursor = await connection.execute(_CLAIM, (worker, slots, BITE, lease_s))
            rows = await cursor.fetchall()
        more = bool(rows) and rows[-1][0] is None
        claimed = [claimed_of(row) for row in (rows[:-1] if more else rows)]
        metrics.CLAIMED.inc(len(claimed))
        return Claimed(claimed, more=more)

    async def renew(self, held: Collection[UUID], *, worker: str, lease_s: float) -> dict[UUID, int]:
        """See `TaskStore.renew`."""
        async with self.database.connection() as connection:
            cursor = await connection.execute(_RENEW, (worker, lease_s, uuid_array(list(held))))
            return {row[0]: row[1] for row in await cursor.fetchall()}

    async def hand_back(self, *, worker: str) -> int:
        """See `TaskStore.hand_back`."""
        async with self.database.connection() as connection:
            row = await (await connection.execute(_HAND_BACK, (worker,))).fetchone()
            return int(row[0]) if row else 0

    async def put_back(self, tasks: Sequence[ClaimedTask], *, worker: str) -> None:
        """See `TaskStore.put_back`."""
        ids, fences = uuid_array([task.id for task in tasks]), [task.fence for task in tasks]
        async with self.database.transaction(tasks[0].tenant_id) as connection:
            runs = uuid_array(list({task.run_id for task in tasks}))
            await connection.execute(_HOLD_RUNS, (runs,))  # runs before tasks; nor is one paused meanwhile
            await connection.execute(_PUT_BACK, (ids, fences, worker))

    async def upstream(self, task: ClaimedTask) -> Before:
        """See `Upstream`."""
        async with self.database.transaction(task.tenant_id) as connection:
            run = await (await connection.execute(_RUN_AND_GOAL, (task.id, task.run_id))).fetchone()
            workflow, critical, statement, above, size, again = run or (None, False, None, (), None, False)
            if (size or 0) > MOST_IN:
                raise too_large("What the tasks before it gave")
            outputs = await (await connection.execute(_OUTPUTS, (task.id,))).fetchall()
        return Before(
            statement=statement,
            outputs=dict(outputs),
            workflow=workflow,
            critical=critical,
            above=tuple(above),
            again=again,
        )

    async def is_again(self, task: ClaimedTask) -> bool:
        """Whether its run, or one above it, is a fork."""
        async with self.database.transaction(task.tenant_id) as connection:
            row = await (await connection.execute(_IS_AGAIN, (task.run_id,))).fetchone()
        return row is not None and bool(row[0])

    async def known(self, tenant_id: UUID, wanted: Mapping[UUID, Wanted]) -> dict[UUID, Known]:
        """See `TaskStore.known`."""
        async with self.database.transaction(tenant_id) as connection:
            return await known_in(connection, wanted)

    async def record(self, tenant_id: UUID, worker: str, entries: Sequence[Entry]) -> Recorded:
        """See `TaskStore.record`. After the commit its outbox rows are relayed."""
        for _ in range(DEADLOCK_RETRIES):
            with suppress(DeadlockDetected):
                return await self._record(tenant_id, worker, entries)
        return await self._record(tenant_id, worker, entries)

    async def _record(self, tenant_id: UUID, worker: str, entries: Sequence[Entry]) -> Recorded:
        transaction: str | None = None
        try:
            async with self.database.transaction(tenant_id) as connection:
                recording = Recording(connection=connection, pure=self.pure, now=self.now(), new_id=self.new_id)
                recorded, facts = await recording.write(worker, entries)
                if not recorded.ready and await _gave_back_a_place(connection, entries):
                    recorded = replace(recorded, ready=True)
                rows = await outbox.write(connection, self.bus, list[Event](facts)) if facts else []
                crash_point(IN_RECORD)
                transaction = recording.transaction
        except Unavailable:
            if transaction is None or not await self._has_committed(transaction):
                raise
        crash_point(BEFORE_RELAY)
        metrics.recorded(entries, facts, refused=len(recorded.refused))
        if facts:
            with suppress(TimeoutError):  # a Redis that hangs must not hold up the next commit: the sweep relays
                async with asyncio.timeout(RELAY_WITHIN_S):
                    await self.relay.relay(tenant_id, rows)
            await self.bus.committed(list[Event](facts))
        return recorded

    async def _has_committed(self, transaction: str) -> bool:
        """What became of a commit whose answer was lost: written again, reports would be told twice.

        Waits until the database answers: nothing can be recorded before.
        """
        while True:
            with suppress(Unavailable):
                async with self.database.connection() as connection:
                    row = await (await connection.execute(_WHAT_BECAME_OF, (transaction,))).fetchone()
                status = row[0] if row else None
                if status != "in progress":
                    return bool(status == "committed")
            await asyncio.sleep(ASK_AGAIN_S)


async def _gave_back_a_place(connection: AsyncConnection[Any], entries: Sequence[Entry]) -> bool:
    """Whether an end lets another task of a tenant that may run so many start: nothing else would tell of it."""
    if not any(isinstance(entry, Ended) for entry in entries):
        return False
    row = await (await connection.execute(_IS_LIMITED)).fetchone()
    return row is not None and bool(row[0])
