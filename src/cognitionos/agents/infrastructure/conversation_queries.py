"""Reads of conversations for the HTTP routes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, dict_row

from cognitionos.agents.domain.agent_run import Step, StepKind
from cognitionos.agents.domain.conversation import ConversationNotFound, Turn
from cognitionos.agents.infrastructure.conversation_rows import TURN, turns_of
from cognitionos.kernel.json_text import storable
from cognitionos.platform.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkRow:
    """A conversation with how far it is; `status` None: nobody has said anything."""

    id: UUID
    agent: str
    title: str
    created_at: datetime
    turns: int
    status: str | None
    user_name: str | None


_LIST = """
SELECT c.id, c.agent, c.title, c.created_at, c.user_name, COALESCE(l.number, 0) AS turns, l.status FROM conversations c
LEFT JOIN LATERAL (
  SELECT number, status FROM conversation_turns t WHERE t.conversation_id = c.id ORDER BY number DESC LIMIT 1
) l ON true
WHERE (%(id)s::uuid IS NULL OR c.id = %(id)s)
  AND (%(at)s::timestamptz IS NULL OR (c.created_at, c.id) < (%(at)s, %(after)s))
  AND (%(user)s::text IS NULL OR c.user_name = %(user)s
    OR EXISTS (SELECT FROM conversation_turns t WHERE t.conversation_id = c.id AND t.user_name = %(user)s))
ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
"""
_TURNS = f"""
SELECT {TURN} FROM conversation_turns t WHERE conversation_id = %s AND number > %s ORDER BY number LIMIT %s
"""  # noqa: S608 - words of ours
_TURN = f"""
SELECT {TURN} FROM conversation_turns t WHERE conversation_id = %s AND number = %s
"""  # noqa: S608 - words of ours
_TENDED = "SELECT status IN ('running', 'waiting') AND lease_until < now() FROM conversation_turns WHERE id = %s"
_LAST = "SELECT coalesce(max(number), 0) FROM conversation_turns WHERE conversation_id = %s"
_STEPS = """
SELECT s.seq, s.key, s.role, s.kind, s.content, s.model, s.simulated, s.cost_nanousd, s.prompt_tokens,
  s.completion_tokens, s.started_at, s.ended_at
FROM agent_runs r JOIN agent_steps s ON s.agent_run_id = r.id
WHERE r.run_id = %s AND r.task_id = %s AND s.seq > %s ORDER BY s.seq
"""


_SEARCH = "SELECT * FROM search_turns(%s, %s, %s)"
_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """A turn that was searched for, with the words around what was found."""

    conversation: UUID
    turn: int
    title: str
    agent: str
    user_name: str | None
    excerpt: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A turn as it stands, and its steps after one of them, each with its number in the turn.

    `is_untended`: nobody works on it although it has not ended, nor waits for people.
    """

    turn: Turn
    is_untended: bool
    steps: list[tuple[int, Step]]


@dataclass(frozen=True, slots=True)
class TalkQueries:
    """Reads of one tenant at a time."""

    database: Database

    async def listed(
        self,
        tenant_id: UUID,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None = None,
        only: UUID | None = None,
        user: str | None = None,
    ) -> list[TalkRow]:
        """The tenant's conversations, newest first, after one of them: all, `only` one, those that `user` spoke in."""
        place = {"limit": limit, "at": after and after[0], "after": after and after[1]}
        values = {"id": only, "user": user, **place}
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(TalkRow))
            return await (await cursor.execute(_LIST, values)).fetchall()

    async def turns(self, tenant_id: UUID, conversation_id: UUID, *, after: int, limit: int) -> list[Turn]:
        """Some turns after number `after`, in order."""
        async with self.database.transaction(tenant_id) as connection:
            return await turns_of(connection, _TURNS, (conversation_id, after, limit))

    async def search(self, tenant_id: UUID, question: str, *, user: str | None, limit: int) -> list[FoundRow]:
        """Turns in which the words stand, newest first."""
        async with self.database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(FoundRow))
            return await (await cursor.execute(_SEARCH, (storable(question), user, limit))).fetchall()

    async def whole(self, tenant_id: UUID, *, user: str | None) -> AsyncIterator[tuple[TalkRow, list[Turn]]]:
        """Every conversation with all its turns, newest first."""
        after: tuple[datetime, UUID] | None = None
        while rows := await self.listed(tenant_id, limit=_PAGE, after=after, user=user):
            for row in rows:
                turns: list[Turn] = []
                while more := await self.turns(tenant_id, row.id, after=len(turns), limit=_PAGE):
                    turns += more
                yield row, turns
            after = (rows[-1].created_at, rows[-1].id)

    async def one(self, tenant_id: UUID, conversation_id: UUID) -> TalkRow:
        """One. Raises `ConversationNotFound`."""
        found = await self.listed(tenant_id, limit=1, only=conversation_id)
        if not found:
            raise ConversationNotFound(f"There is no conversation {conversation_id}.")
        return found[0]

    async def last(self, tenant_id: UUID, conversation_id: UUID) -> int:
        """The number of the last turn; 0: there is none."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_LAST, (conversation_id,))).fetchone()
        return int(row[0]) if row else 0

    async def progress(self, tenant_id: UUID, conversation_id: UUID, *, number: int, after: int) -> Progress | None:
        """Turn `number` and its steps after number `after`: all of them where it has ended. None: no such turn."""
        async with (
            self.database.transaction(tenant_id) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            found = await turns_of(connection, _TURN, (conversation_id, number))  # first: its end comes after its steps
            if not found:
                return None
            rows = await (await cursor.execute(_STEPS, (conversation_id, found[0].id, after))).fetchall()
            tended = await (await connection.execute(_TENDED, (found[0].id,))).fetchone()
        steps = [(row.pop("seq"), Step(**{**row, "kind": StepKind(row["kind"])})) for row in rows]
        return Progress(turn=found[0], is_untended=bool(tended and tended[0]), steps=steps)
