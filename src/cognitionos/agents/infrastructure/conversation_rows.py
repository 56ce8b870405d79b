"""How turns stand in the table."""

from typing import Any

from psycopg import AsyncConnection

from cognitionos.agents.domain.conversation import Turn, TurnStatus

TURN = "t.id, conversation_id, number, api_key_id, user_name, message, status, fence, answer, error, outcome"
_BEFORE = "SELECT FROM conversation_turns b WHERE b.conversation_id = t.conversation_id AND b.number = t.number - 1"
TURN = f"{TURN}, started_at, ended_at, broken_off, EXISTS ({_BEFORE} AND b.status <> 'succeeded')"
"""The columns of a turn, of the table `conversation_turns t`."""


async def turns_of(connection: AsyncConnection[Any], statement: str, values: Any) -> list[Turn]:
    """The turns that `statement` gives."""
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
            broken_off=row[13],
            follows_failure=row[14],
        )
        for row in rows
    ]
