"""What agents ask people in conversations, kept with all other approvals. Written in the transaction of the turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.agents.facade import ToolApproval, ToolDecision
from cognitionos.planning.application.agent_tasks import asks_of
from cognitionos.planning.infrastructure.approval_store import decided
from cognitionos.planning.infrastructure.rows import jsonb
from cognitionos.platform.database import Database

Connection = AsyncConnection[Any]

_ASK = """
INSERT INTO approvals (id, tenant_id, conversation_id, turn_id, task_key, key, prompt, details, approvers,
  default_decision, status, created_at, deadline_at)
SELECT %s, tenant_id, %s, %s, %s, %s, %s, %s, '{}', %s, 'pending', now(), now() + make_interval(secs => %s)
FROM conversations WHERE id = %s
ON CONFLICT (turn_id, key) DO NOTHING
"""
_UNTIL = """
SELECT min(CASE WHEN status = 'pending' THEN deadline_at ELSE now() END) FROM approvals
WHERE turn_id = %s AND key = ANY(%s)
"""
_CLOSE = "UPDATE approvals SET status = 'cancelled' WHERE turn_id = %s AND status = 'pending'"
_EXPIRE = """
UPDATE approvals SET status = 'expired' WHERE turn_id = %s AND status = 'pending' AND deadline_at <= now()
"""
_DECISIONS = "SELECT key, status, default_decision, decided_by, comment FROM approvals WHERE turn_id = %s"
_ASKED = """
SELECT id, status, prompt, details, default_decision, deadline_at, decided_by, comment FROM approvals
WHERE turn_id = %s ORDER BY id
"""


class AskingTurn(Protocol):
    """As much of a turn as is kept with what it asks."""

    @property
    def id(self) -> UUID: ...
    @property
    def conversation_id(self) -> UUID: ...
    @property
    def number(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnApprovals:
    """Approvals that turns of conversations wait for."""

    database: Database
    new_id: Callable[[], UUID]

    async def ask(self, connection: Connection, turn: AskingTurn, requests: Sequence[ToolApproval]) -> datetime:
        """Put the questions; those that were put before stay. Gives when the first is decided or runs out."""
        asks = asks_of(requests)
        for ask in asks:
            place = (self.new_id(), turn.conversation_id, turn.id, f"turn {turn.number}", ask.key)
            terms = (ask.prompt, jsonb(ask.details), ask.default, ask.deadline_s)
            await connection.execute(_ASK, (*place, *terms, turn.conversation_id))
        until = await (await connection.execute(_UNTIL, (turn.id, [ask.key for ask in asks]))).fetchall()
        first: datetime = until[0][0]
        return first

    async def close(self, connection: Connection, turn_id: UUID) -> None:
        """Nobody needs to decide any more."""
        await connection.execute(_CLOSE, (turn_id,))

    async def decisions(self, tenant_id: UUID, turn_id: UUID) -> Mapping[str, ToolDecision]:
        """What was decided, deadlines included. Raises `ApprovalExpired` where the turn is to fail then."""
        async with self.database.transaction(tenant_id) as connection:
            await connection.execute(_EXPIRE, (turn_id,))
            return decided(await (await connection.execute(_DECISIONS, (turn_id,))).fetchall())

    async def asked(self, tenant_id: UUID, turn_id: UUID) -> list[dict[str, Any]]:
        """What the turn has asked, oldest first, as those who follow it are told."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_ASKED, (turn_id,))).fetchall()
        return [
            {
                "approval_id": str(row[0]),
                "status": row[1],
                "prompt": row[2],
                "details": row[3],
                "default": row[4],
                "deadline_at": row[5].isoformat(),
                "by": row[6],
                "comment": row[7],
            }
            for row in rows
        ]
