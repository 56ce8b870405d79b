"""Conversations in PostgreSQL: turns under a lease and a fencing number; a cancelled one refuses its late writer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cognitionos.agents.domain.agent_run import storable
from cognitionos.agents.domain.conversation import (
    ConversationBusy,
    ConversationNotFound,
    NothingToResume,
    Talk,
    Turn,
    TurnStatus,
)
from cognitionos.platform.database import Database

_TURN = "t.id, conversation_id, number, api_key_id, user_name, message, status, fence, answer, error, outcome"
_TURN = f"{_TURN}, started_at, ended_at"
_CREATE = """
INSERT INTO conversations (id, tenant_id, project_id, agent, title, created_at) VALUES (%s, %s, %s, %s, %s, %s)
"""
_GET = "SELECT id, tenant_id, project_id, agent, title, created_at FROM conversations WHERE id = %s"
_LAST = """
SELECT t.number, t.status, t.lease_until > now() AS alive FROM conversation_turns t
WHERE t.conversation_id = %s ORDER BY t.number DESC LIMIT 1
"""
_BEGIN = f"""
INSERT INTO conversation_turns AS t (conversation_id, number, id, tenant_id, api_key_id, user_name, message, status,
  lease_until)
VALUES (%(conversation)s, %(number)s, %(id)s, %(tenant)s, %(api_key)s, %(user)s, %(message)s, 'running',
  now() + make_interval(secs => %(lease)s))
RETURNING {_TURN}
"""  # noqa: S608 - words of ours
_TAKE_UP = f"""
UPDATE conversation_turns t SET fence = fence + 1, lease_until = now() + make_interval(secs => %(lease)s)
WHERE conversation_id = %(conversation)s AND number = %(number)s RETURNING {_TURN}
"""  # noqa: S608 - words of ours
_RENEW = """
UPDATE conversation_turns SET lease_until = now() + make_interval(secs => %s)
WHERE id = %s AND fence = %s AND status = 'running'
"""
_FINISH = f"""
UPDATE conversation_turns t SET status = %(status)s, answer = %(answer)s, error = %(error)s, outcome = %(outcome)s,
  ended_at = now()
WHERE id = %(id)s AND fence = %(fence)s AND status = 'running' RETURNING {_TURN}
"""  # noqa: S608 - words of ours
_CANCEL = f"""
UPDATE conversation_turns t SET status = 'cancelled', fence = fence + 1, ended_at = now()
WHERE conversation_id = %s AND status = 'running' RETURNING {_TURN}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkRow:
    """A conversation with how far it is; `status` None: nobody has said anything."""

    id: UUID
    agent: str
    title: str
    created_at: datetime
    turns: int
    status: str | None


_LIST = """
SELECT c.id, c.agent, c.title, c.created_at, COALESCE(l.number, 0) AS turns, l.status FROM conversations c
LEFT JOIN LATERAL (
  SELECT number, status FROM conversation_turns t WHERE t.conversation_id = c.id ORDER BY number DESC LIMIT 1
) l ON true
WHERE %(id)s::uuid IS NULL AND (%(at)s::timestamptz IS NULL OR (c.created_at, c.id) < (%(at)s, %(after)s))
  OR c.id = %(id)s
ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
"""
_TURNS = f"""
SELECT {_TURN} FROM conversation_turns t WHERE conversation_id = %s AND number > %s ORDER BY number LIMIT %s
"""  # noqa: S608 - words of ours


@dataclass(frozen=True, slots=True)
class PostgresTalks:
    """`Talks`, and the reads of the HTTP routes."""

    database: Database

    async def create(self, talk: Talk) -> None:
        """See `Talks.create`."""
        values = (talk.id, talk.tenant_id, talk.project_id, talk.agent, talk.title, talk.created_at)
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
            if last is not None and last[1] == TurnStatus.RUNNING.value:
                raise _busy(alive=last[2])
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
            [turn] = await _turns(connection, _BEGIN, values)
            return turn

    async def take_up(self, tenant_id: UUID, conversation_id: UUID, *, lease_s: float) -> Turn:
        """See `Talks.take_up`."""
        async with self.database.transaction(tenant_id) as connection:
            await _locked(connection, conversation_id)
            last = await (await connection.execute(_LAST, (conversation_id,))).fetchone()
            if last is None or last[1] != TurnStatus.RUNNING.value:
                raise NothingToResume("No turn of this conversation was broken off.")
            if last[2]:
                raise _busy(alive=True)
            values = {"conversation": conversation_id, "number": last[0], "lease": lease_s}
            [turn] = await _turns(connection, _TAKE_UP, values)
            return turn

    async def renew(self, tenant_id: UUID, turn: Turn, *, lease_s: float) -> bool:
        """See `Talks.renew`."""
        async with self.database.transaction(tenant_id) as connection:
            return (await connection.execute(_RENEW, (lease_s, turn.id, turn.fence))).rowcount > 0

    async def release(self, tenant_id: UUID, turn: Turn) -> None:
        """See `Talks.release`."""
        await self.renew(tenant_id, turn, lease_s=0)

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
            found = await _turns(connection, _FINISH, values)
        return found[0] if found else None

    async def cancel(self, tenant_id: UUID, conversation_id: UUID) -> Turn | None:
        """See `Talks.cancel`."""
        async with self.database.transaction(tenant_id) as connection:
            await _locked(connection, conversation_id)
            found = await _turns(connection, _CANCEL, (conversation_id,))
            for turn in found:
                await connection.execute(_CLOSE_JOURNAL, (conversation_id, turn.id))
        return found[0] if found else None

    async def earlier(
        self, tenant_id: UUID, conversation_id: UUID, *, before: int, limit: int
    ) -> list[tuple[str, str]]:
        """See `Talks.earlier`."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_EARLIER, (conversation_id, before, limit))).fetchall()
        return [(message, answer or "") for message, answer in reversed(rows)]

    async def listed(
        self, tenant_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None, only: UUID | None = None
    ) -> list[TalkRow]:
        """The tenant's conversations, newest first, after one of them; or `only` one."""
        values = {"id": only, "limit": limit, "at": after and after[0], "after": after and after[1]}
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(TalkRow))
            return await (await cursor.execute(_LIST, values)).fetchall()

    async def turns(self, tenant_id: UUID, conversation_id: UUID, *, after: int, limit: int) -> list[Turn]:
        """Some turns after number `after`, in order."""
        async with self.database.transaction(tenant_id) as connection:
            return await _turns(connection, _TURNS, (conversation_id, after, limit))


async def _locked(connection: AsyncConnection[Any], conversation_id: UUID) -> None:
    """One change of a conversation at a time."""
    row = await connection.execute(f"{_GET} FOR UPDATE".encode(), (conversation_id,))
    if await row.fetchone() is None:
        raise _no(conversation_id)


async def _turns(connection: AsyncConnection[Any], statement: str, values: Any) -> list[Turn]:
    rows = await (await connection.execute(statement.encode(), values)).fetchall()
    return [
        Turn(
            id=row[0],
            conversation_id=row[1],
            number=row[2],
            api_key_id=row[3],
            user_name=row[4],
            message=row[5],
            status=TurnStatus(row[6]),
            fence=row[7],
            answer=row[8],
            error=row[9],
            outcome=row[10],
            started_at=row[11],
            ended_at=row[12],
        )
        for row in rows
    ]


def _json(value: Mapping[str, Any]) -> Jsonb:
    return Jsonb(storable(dict(value)), dumps=msgspec.json.encode)


def _no(conversation_id: UUID) -> ConversationNotFound:
    return ConversationNotFound(f"There is no conversation {conversation_id}.")


def _busy(*, alive: bool) -> ConversationBusy:
    if alive:
        return ConversationBusy("The agent is still at work on the last message; wait for it, or cancel it.")
    return ConversationBusy("The last message was broken off; resume it, or cancel it.")
