"""Reads for the HTTP routes, straight to their answers."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from cognitionos.agents.domain.tool import clipped
from cognitionos.kernel.money import usd_text
from cognitionos.platform.database import Database

_MOST_SHOWN = 4_000


class After(NamedTuple):
    """Where a page begins: after the step with this number."""

    number: int


_STEPS = """
SELECT s.number, r.task_key, r.task_id, s.key, s.role, s.kind, s.content, s.model, s.simulated, s.cost_nanousd,
       s.prompt_tokens, s.completion_tokens, s.started_at, s.ended_at, r.prompts ->> s.role
FROM agent_steps s JOIN agent_runs r ON r.id = s.agent_run_id
WHERE s.run_id = %(run)s AND s.number > %(after)s
ORDER BY s.number LIMIT %(rows)s
"""


class ToolCallView(msgspec.Struct, frozen=True, kw_only=True):
    """A call: `arguments` and `result` are JSON texts, long ones clipped with a note. `outcome`: ok, error, refused,
    timed_out or interrupted.
    """

    tool: str
    arguments: str
    outcome: str
    result: str
    files: list[str]


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    """One journaled step. `kind`: model, tool, verdict or decision (a hand-off, a consensus); `call`
    is set for tools, `text` for the others.

    `calls` are the tools a model's answer asked for.
    """

    number: int
    task: str
    task_id: UUID
    step: str
    role: str
    kind: str
    prompt: str | None
    text: str | None
    calls: list[str]
    call: ToolCallView | None
    model: str | None
    simulated: bool
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str
    started_at: datetime
    ended_at: datetime


class AgentQueries:
    """Reads of one tenant at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def steps(self, tenant_id: UUID, run_id: UUID, *, limit: int, after: After | None) -> list[StepView]:
        """The next `limit + 1` steps of the run, in the order they were finished."""
        values = {"run": run_id, "after": 0 if after is None else after.number, "rows": limit + 1}
        async with self._database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_STEPS, values)).fetchall()
        return [_view(row) for row in rows]


def _view(row: tuple[Any, ...]) -> StepView:
    content = row[6]
    is_tool = row[5] == "tool"
    return StepView(
        number=row[0],
        task=row[1],
        task_id=row[2],
        step=row[3],
        role=row[4],
        kind=row[5],
        prompt=row[14],
        text=None if is_tool else clipped(content["text"], _MOST_SHOWN),
        calls=[call["function"]["name"] for call in content.get("tool_calls", ())],
        call=_call(content) if is_tool else None,
        model=row[7] or None,
        simulated=row[8],
        prompt_tokens=row[10],
        completion_tokens=row[11],
        cost_usd=usd_text(row[9]),
        started_at=row[12],
        ended_at=row[13],
    )


def _call(content: dict[str, Any]) -> ToolCallView:
    return ToolCallView(
        tool=content["tool"],
        arguments=clipped(content["arguments"], _MOST_SHOWN),
        outcome=content["outcome"],
        result=clipped(content["result"], _MOST_SHOWN),
        files=content["files"],
    )
