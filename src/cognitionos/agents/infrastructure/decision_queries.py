"""What models decided in a run, as the journal has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.agents.domain.structured import json_in
from cognitionos.agents.domain.tool import clipped
from cognitionos.platform.database import Database

_MOST_SHOWN = 1_000
_GROUNDING = ("draft", "checked", "unsupported")
_MEMORIES = "## Known from memory\n"
_DECISIONS = """
SELECT s.number, r.task_key, s.key, s.role, s.kind, s.content, r.prompts ->> s.role, s.model, s.simulated, s.ended_at,
  r.opening, s.prompt_tokens, s.completion_tokens
FROM agent_steps s JOIN agent_runs r ON r.id = s.agent_run_id
WHERE s.run_id = %s AND s.kind <> 'tool' AND s.number > %s ORDER BY s.number LIMIT %s
"""
_PROMPTS = """
SELECT DISTINCT s.role, r.prompts ->> s.role FROM agent_steps s JOIN agent_runs r ON r.id = s.agent_run_id
WHERE s.run_id = %s AND s.kind <> 'tool' AND r.prompts ? s.role
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One answer of a model. `call_id` names its row in the ledger; `verdict` is a critic's, `grounding` what a check
    of claims found, None for others. `number` is its place in the run.
    """

    number: int
    task: str
    step: str
    role: str
    prompt: str | None
    model: str
    simulated: bool
    at: datetime
    tokens: int
    call_id: UUID | None
    text: str
    tools: list[str]
    memories: list[str]
    verdict: Mapping[str, Any] | None
    grounding: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class DecisionQueries:
    """Reads of one tenant at a time."""

    database: Database

    async def of_run(self, tenant_id: UUID, run_id: UUID, *, after: int, limit: int) -> list[Decision]:
        """At most `limit` decisions of a run, in order, after the one with this number."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_DECISIONS, (run_id, after, limit))).fetchall()
        return [_decision(row) for row in rows]

    async def prompts(self, tenant_id: UUID, run_id: UUID) -> dict[str, str]:
        """The prompt version of each role that answered in a run, whatever became of its task."""
        async with self.database.transaction(tenant_id) as connection:
            return dict(await (await connection.execute(_PROMPTS, (run_id,))).fetchall())


def _decision(row: tuple[Any, ...]) -> Decision:
    content = row[5]
    call_id = content.get("call_id")
    return Decision(
        number=row[0],
        task=row[1],
        step=row[2],
        role=row[3],
        prompt=row[6],
        model=row[7],
        simulated=row[8],
        at=row[9],
        tokens=row[11] + row[12],
        call_id=UUID(call_id) if call_id else None,
        text=clipped(content["text"], _MOST_SHOWN),
        tools=[call["function"]["name"] for call in content.get("tool_calls", ())],
        memories=_memories(row[10]) if row[4] == "model" else [],
        verdict=_verdict(content["text"]) if row[4] == "verdict" else None,
        grounding={name: content[name] for name in _GROUNDING} if "unsupported" in content else None,
    )


def _memories(opening: list[dict[str, Any]]) -> list[str]:
    """What memory gave the agent: a part of the message that it began with."""
    for message in opening:
        text = str(message.get("content") or "")
        if _MEMORIES in text:
            part = text.partition(_MEMORIES)[2].partition("\n\n## ")[0]
            return [line.removeprefix("- ") for line in part.splitlines() if line.startswith("- ")]
    return []


def _verdict(text: str) -> Mapping[str, Any] | None:
    try:
        value = json_in(text)
    except ValueError:
        return None
    is_verdict = isinstance(value, dict) and isinstance(value.get("accepted"), bool)
    return {"accepted": value["accepted"], "reasons": list(value.get("reasons") or ())} if is_verdict else None
