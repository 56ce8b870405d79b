"""Conversations in PostgreSQL: turns under a lease and a fencing number; a cancelled one refuses its late writer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cognitionos.agents.domain.approval import ToolApproval
from cognitionos.agents.domain.conversation import (
    ConversationBusy,
    ConversationNotFound,
    NothingToResume,
    Talk,
    Turn,
    TurnStatus,
)
from cognitionos.agents.infrastructure.conversation_rows import TURN, turns_of
from cognitionos.kernel.json_text import storable
from cognitionos.platform.database import Database

Connection = AsyncConnection[Any]
_CREATE = """
INSERT INTO conversations (id, tenant_id, project_id, agent, title, created_at, user_name)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_GET = "SELECT id, tenant_id, project_id, agent, title, created_at, user_name FROM conversations WHERE id = %s"
_LAST = """
SELECT t.number, t.status, t.lease_until > now() AS alive FROM conversation_turns t
WHERE t.conversation_id = %s ORDER BY t.number DESC LIMIT 1
"""
_BEGIN = f"""
INSERT INTO conversation_turns AS t (conversation_id, number, id, tenant_id, api_key_id, user_name, message, status,
  lease_until)
VALUES (%(conversation)s, %(number)s, %(id)s, %(tenant)s, %(api_key)s, %(user)s, %(message)s, 'running',
  now() + make_interval(secs => %(lease)s))
RETURNING {TURN}
"""  # noqa: S608 - words of ours
_TAKE_UP = f"""
UPDATE conversation_turns t SET fence = fence + 1, lease_until = now() + make_interval(secs => %(lease)s),
  broken_off = broken_off + (status = 'running' AND lease_until > '-infinity')::int, status = 'running'
WHERE conversation_id = %(conversation)s AND number = %(number)s RETURNING {TURN}
"""  # noqa: S608 - words of ours
_RENEW = """
UPDATE conversation_turns SET lease_until = now() + make_interval(secs => %s)
WHERE id = %s AND fence = %s AND status = 'running'
"""
_RELEASE = """
UPDATE conversation_turns SET lease_until = '-infinity' WHERE id = %s AND fence = %s AND status = 'running'
"""
_PARK = f"""
UPDATE conversation_turns t SET status = 'waiting' WHERE id = %s AND fence = %s AND status = 'running' RETURNING {TURN}
"""  # noqa: S608 - words of ours
_WAIT_UNTIL = "UPDATE conversation_turns SET lease_until = %s WHERE id = %s"
_WAKE = "UPDATE conversation_turns SET lease_until = least(lease_until, now()) WHERE id = %s AND status = 'waiting'"
_FINISH = f"""
UPDATE conversation_turns t SET status = %(status)s, answer = %(answer)s, error = %(error)s, outcome = %(outcome)s,
  ended_at = now()
WHERE id = %(id)s AND fence = %(fence)s AND status = 'running' RETURNING {TURN}
"""  # noqa: S608 - words of ours
_CANCEL = f"""
UPDATE conversation_turns t SET status = 'cancelled', fence = fence + 1, ended_at = now()
WHERE conversation_id = %s AND status IN ('running', 'waiting') RETURNING {TURN}
"""  # noqa: S608 - words of ours
# the journal of a turn is closed with it, so that its writer is refused at its next step
_CLOSE_JOURNAL = """
UPDATE agent_runs SET fence = fence + 1, status = 'failed', error = 'cancelled', ended_at = now()
WHERE run_id = %s AND task_id = %s
"""
_EARLIER = """
SELECT message, answer FROM conversation_turns
WHERE conversation_id = %s AND number < %s AND status = 'succeeded' ORDER BY number DESC LIMIT %s
"""
_DELETE_RUNS = "DELETE FROM agent_runs WHERE run_id = %s"
_DELETE_FILES = "DELETE FROM workspace_files WHERE run_id = %s"
_DELETE = "DELETE FROM conversations WHERE id = %s"


class Asking(Protocol):
    """Where what agents ask people is kept, written in the transactions of the turns it belongs to."""

    async def ask(self, connection: Connection, turn: Turn, requests: Sequence[ToolApproval]) -> datetime:
        """Put the questions; those that were put before stay. Gives when the first is decided or runs out."""
        ...

    async def close(self, connection: Connection, turn_id: UUID) -> None:
        """Nobody needs to decide any more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTalks:
    """`Talks`."""

    database: Database
    asking: Asking

    async def create(self, talk: Talk) -> None:
        """See `Talks.create`."""
        values = (talk.id, talk.tenant_id, talk.project_id, talk.agent, talk.title, talk.created_at, talk.user_name)
        async with self.database.transaction(talk.tenant_id) as connection:
            await connection.execute(_CREATE, values)

    async def get(self, tenant_id: UUID, conversation_id: UUID) -> Talk:
        """See `Talks.get`."""
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(Talk))
            found = await (await cursor.execute(_GET, (conversation_id,))).fetchone()
        if found is None:
            raise _no(conversation_id)
        return found

    async def delete(self, tenant_id: UUID, conversation_id: UUID) -> None:
        """See `Talks.delete`."""
        async with self.database.transaction(tenant_id) as connection:
            await _locked(connection, conversation_id)
            for statement in (_DELETE_FILES, _DELETE_RUNS, _DELETE):
                await connection.execute(statement, (conversation_id,))

    async def begin(
        self,
        tenant_id: UUID,
        conversation_id: UUID,
        *,
        turn_id: UUID,
        message: str,
        api_key_id: UUID | None,
        user: str | None,
        lease_s: float,
    ) -> Turn:
        """See `Talks.begin`."""
        async with self.database.transaction(tenant_id) as connection:
            await _locked(connection, conversation_id)
            last = await (await connection.execute(_LAST, (conversation_id,))).fetchone()
            if last is not None and not TurnStatus(last[1]).is_final:
                raise _busy(TurnStatus(last[1]), alive=last[2])
            values = {
                "conversation": conversation_id,
                "number": 1 if last is None else last[0] + 1,
                "id": turn_id,
                "tenant": tenant_id,
                "api_key": api_key_id,
                "user": user,
                "message": storable(message),
                "lease": lease_s,
            }
            [turn] = await turns_of(connection, _BEGIN, values)
            return turn

    async def take_up(self, tenant_id: UUID, conversation_id: UUID, *, lease_s: float) -> Turn:
        """See `Talks.take_up`."""
        async with self.database.transaction(tenant_id) as connection:
            await _locked(connection, conversation_id)
            last = await (await connection.execute(_LAST, (conversation_id,))).fetchone()
            if last is None or TurnStatus(last[1]).is_final:
                raise NothingToResume("No turn of this conversation was broken off.")
            if last[2]:
                raise _busy(TurnStatus(last[1]), alive=True)
            values = {"conversation": conversation_id, "number": last[0], "lease": lease_s}
            [turn] = await turns_of(connection, _TAKE_UP, values)
            return turn

    async def renew(self, tenant_id: UUID, turn: Turn, *, lease_s: float) -> bool:
        """See `Talks.renew`."""
        async with self.database.transaction(tenant_id) as connection:
            return (await connection.execute(_RENEW, (lease_s, turn.id, turn.fence))).rowcount > 0

    async def release(self, tenant_id: UUID, turn: Turn) -> None:
        """See `Talks.release`."""
        async with self.database.transaction(tenant_id) as connection:
            await connection.execute(_RELEASE, (turn.id, turn.fence))

    async def untended(self, *, grace_s: float, most: int) -> list[tuple[UUID, UUID]]:
        """See `Talks.untended`."""
        async with self.database.connection() as connection:
            rows = await connection.execute("SELECT * FROM open_turns(%s, %s)", (grace_s, most))
            return [(row[0], row[1]) for row in await rows.fetchall()]

    async def park(self, tenant_id: UUID, turn: Turn, requests: Sequence[ToolApproval]) -> Turn | None:
        """See `Talks.park`."""
        async with self.database.transaction(tenant_id) as connection:
            found = await turns_of(connection, _PARK, (turn.id, turn.fence))
            if found:
                until = await self.asking.ask(connection, found[0], requests)
                await connection.execute(_WAIT_UNTIL, (until, turn.id))
        return found[0] if found else None

    async def finish(
        self,
        tenant_id: UUID,
        turn: Turn,
        status: TurnStatus,
        *,
        answer: str | None = None,
        error: Mapping[str, Any] | None = None,
        outcome: Mapping[str, Any] | None = None,
    ) -> Turn | None:
        """See `Talks.finish`."""
        values = {
            "id": turn.id,
            "fence": turn.fence,
            "status": status.value,
            "answer": storable(answer),
            "error": None if error is None else _json(error),
            "outcome": None if outcome is None else _json(outcome),
        }
        async with self.database.transaction(tenant_id) as connection:
            found = await turns_of(connection, _FINISH, values)
            if found:
                await self.asking.close(connection, turn.id)
        return found[0] if found else None

    async def cancel(self, tenant_id: UUID, conversation_id: UUID) -> Turn | None:
        """See `Talks.cancel`."""
        async with self.database.transaction(tenant_id) as connection:
            await _locked(connection, conversation_id)
            found = await turns_of(connection, _CANCEL, (conversation_id,))
            for turn in found:
                await connection.execute(_CLOSE_JOURNAL, (conversation_id, turn.id))
                await self.asking.close(connection, turn.id)
        return found[0] if found else None

    async def earlier(
        self, tenant_id: UUID, conversation_id: UUID, *, before: int, limit: int
    ) -> list[tuple[str, str]]:
        """See `Talks.earlier`."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_EARLIER, (conversation_id, before, limit))).fetchall()
        return [(message, answer or "") for message, answer in reversed(rows)]


async def wake_turn(connection: Connection, turn_id: UUID) -> None:
    """Let a turn that waits be taken up at once; locks it until the transaction ends."""
    await connection.execute(_WAKE, (turn_id,))


async def _locked(connection: AsyncConnection[Any], conversation_id: UUID) -> None:
    """One change of a conversation at a time."""
    row = await connection.execute(f"{_GET} FOR UPDATE".encode(), (conversation_id,))
    if await row.fetchone() is None:
        raise _no(conversation_id)


def _json(value: Mapping[str, Any]) -> Jsonb:
    return Jsonb(storable(dict(value)), dumps=msgspec.json.encode)


def _no(conversation_id: UUID) -> ConversationNotFound:
    return ConversationNotFound(f"There is no conversation {conversation_id}.")


def _busy(status: TurnStatus, *, alive: bool) -> ConversationBusy:
    if status is TurnStatus.WAITING:
        return ConversationBusy("The agent waits for people to approve what it wants to do (GET /v1/approvals).")
    if alive:
        return ConversationBusy("The agent is still at work on the last message; wait for it, or cancel it.")
    return ConversationBusy("The last message was broken off; it will be gone on with. Resume it now, or cancel it.")
