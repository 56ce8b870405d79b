"""Approvals in PostgreSQL. The run's row lock comes first, as everywhere: its task cannot be parked in between."""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.agents.facade import ToolDecision
from cognitionos.planning.domain.approval import (
    Approval,
    ApprovalAlreadyDecided,
    ApprovalExpired,
    ApprovalNotFound,
    ApprovalStatus,
    Decision,
    NotAnApprover,
    must_be_approver,
    settle,
)
from cognitionos.planning.domain.run import Run, RunEvent
from cognitionos.planning.domain.task import ClaimedTask
from cognitionos.planning.infrastructure import parking_rows, run_rows
from cognitionos.planning.infrastructure.rows import RUN_COLUMNS, run_of
from cognitionos.platform.database import Database

Connection = AsyncConnection[Any]
WakeTurn = Callable[[Connection, UUID], Awaitable[None]]
"""Lock a turn of a conversation that waits, and let it go on when the transaction ends."""

_PLACE_OF = "SELECT run_id, turn_id FROM approvals WHERE id = %s"
_LOCK_RUN = f"SELECT {RUN_COLUMNS} FROM runs WHERE id = %s FOR NO KEY UPDATE"  # noqa: S608 - a constant
_LOCK = """
SELECT id, tenant_id, coalesce(run_id, conversation_id), coalesce(task_id, turn_id), key, approvers,
  status, deadline_at, decided_by, comment, token_hash, task_key,
  clock_timestamp()
FROM approvals WHERE id = %s FOR UPDATE
"""
_DECIDE = "UPDATE approvals SET status = %s, decided_by = %s, comment = %s, decided_at = %s WHERE id = %s"
_SET_SEQ = "UPDATE runs SET last_seq = %s WHERE id = %s"
_KEEP_LINK = "UPDATE approvals SET token_hash = %s, token_for = %s WHERE id = %s"
_PERSON_OF_LINK = "SELECT token_for FROM approvals WHERE id = %s AND token_hash = %s"
_EXPIRE = """
UPDATE approvals SET status = 'expired' WHERE task_id = %s AND status = 'pending' AND deadline_at <= now()
"""
_FORGET = """
UPDATE approvals a SET key = a.key || '/' || a.id FROM tasks t
WHERE a.task_id = %s AND a.status <> 'pending' AND t.id = a.task_id AND t.fence = %s
"""
# not those that a retry has set aside: their keys end with their ids
_DECISIONS = """
SELECT key, status, default_decision, decided_by, comment FROM approvals
WHERE task_id = %s AND right(key, 37) <> '/' || id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresApprovals:
    """An `ApprovalStore`, and what agents' tasks are told of decisions."""

    database: Database
    wake_turn: WakeTurn

    async def decide(
        self, tenant_id: UUID, approval_id: UUID, decision: Decision, *, token_hash: bytes | None = None
    ) -> tuple[Approval, bool]:
        """See `ApprovalStore.decide`."""
        async with self.database.transaction(tenant_id) as connection:
            run = await self._locked_place(connection, approval_id)
            approval, its_hash, task_key, _ = await _locked(connection, approval_id)
            if token_hash is not None and not hmac.compare_digest(its_hash or b"", token_hash):
                raise ApprovalNotFound("There is no approval for this link.")
            is_new = settle(approval, decision)
            if is_new:
                values = (decision.status, decision.by, decision.comment, decision.at, approval_id)
                await connection.execute(_DECIDE, values)
                if run is not None:
                    await _wake_task(connection, run, approval, decision, task_key)
        return approval, is_new

    async def give_token(
        self, tenant_id: UUID, approval_id: UUID, *, token_hash: bytes, person: str, for_approvers: bool
    ) -> Approval:
        """See `ApprovalStore.give_token`."""
        async with self.database.transaction(tenant_id) as connection:
            approval, _, _, at = await _locked(connection, approval_id)
            if approval.status is not ApprovalStatus.PENDING or approval.deadline_at <= at:
                raise ApprovalAlreadyDecided(f"The approval {approval_id} is no longer open.")
            must_be_approver(approval, person)
            if approval.approvers and not for_approvers:
                raise NotAnApprover(
                    f"A link for an approver of {approval_id} is made with a key that has the scope 'keys:admin'."
                )
            await connection.execute(_KEEP_LINK, (token_hash, person, approval_id))
        return approval

    async def by_token(self, tenant_id: UUID, approval_id: UUID, token_hash: bytes) -> str:
        """See `ApprovalStore.by_token`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_PERSON_OF_LINK, (approval_id, token_hash))).fetchone()
        if row is None:
            raise ApprovalNotFound("There is no approval for this link.")
        return str(row[0])

    async def decisions(self, task: ClaimedTask) -> dict[str, ToolDecision]:
        """What was decided about the calls of an agent's task, deadlines included.

        Raises `ApprovalExpired` where nobody decided and the task is to fail then.
        """
        async with self.database.transaction(task.tenant_id) as connection:
            await connection.execute(_EXPIRE, (task.id,))
            rows = await (await connection.execute(_DECISIONS, (task.id,))).fetchall()
        return decided(rows)

    async def forget(self, task: ClaimedTask) -> None:
        """Let no decision so far count for the calls that the task makes from now on, while its worker holds it."""
        async with self.database.transaction(task.tenant_id) as connection:
            await connection.execute(_FORGET, (task.id, task.fence))

    async def _locked_place(self, connection: Connection, approval_id: UUID) -> Run | None:
        """The run that waits, locked; None: a turn of a conversation does, which is locked and may go on."""
        found = await (await connection.execute(_PLACE_OF, (approval_id,))).fetchone()
        if found is None:
            raise ApprovalNotFound(f"There is no approval {approval_id}.")
        if found[0] is None:
            await self.wake_turn(connection, found[1])
            return None
        row = await (await connection.execute(_LOCK_RUN, (found[0],))).fetchone()
        if row is None:
            raise ApprovalNotFound(f"There is no approval {approval_id}.")
        return run_of(row)


def decided(rows: Sequence[Sequence[Any]]) -> dict[str, ToolDecision]:
    """Decisions by key, of (key, status, default, by, comment). Raises `ApprovalExpired` as its callers say."""
    found = {}
    for key, status, default, by, comment in rows:
        if status == ApprovalStatus.EXPIRED and default == "fail":
            raise ApprovalExpired("Nobody decided in time whether the agent may use its tool.")
        if status == ApprovalStatus.EXPIRED:
            found[key] = ToolDecision(approved=default == "approve", comment="nobody decided in time")
        elif status in {ApprovalStatus.APPROVED, ApprovalStatus.REJECTED}:
            found[key] = ToolDecision(approved=status == ApprovalStatus.APPROVED, by=by, comment=comment)
    return found


async def _wake_task(connection: Connection, run: Run, approval: Approval, decision: Decision, task_key: str) -> None:
    await parking_rows.wake(connection, approval.task_id, decision.as_state())
    data = {"approval_id": str(approval.id), **decision.as_state()}
    event = RunEvent(kind="approval.decided", task_key=task_key, data=data)
    await run_rows.append_events(connection, run, [event], at=decision.at)
    await connection.execute(_SET_SEQ, (run.last_seq, run.id))


async def _locked(connection: Connection, approval_id: UUID) -> tuple[Approval, bytes | None, str, datetime]:
    row = await (await connection.execute(_LOCK, (approval_id,))).fetchone()
    if row is None:
        raise ApprovalNotFound(f"There is no approval {approval_id}.")
    approval = Approval(
        id=row[0],
        tenant_id=row[1],
        run_id=row[2],
        task_id=row[3],
        key=row[4],
        approvers=tuple(row[5]),
        status=ApprovalStatus(row[6]),
        deadline_at=row[7],
        decided_by=row[8],
        comment=row[9],
    )
    return approval, row[10], row[11], row[12]
