"""The journal of agent runs in PostgreSQL: one commit per step, refused from an older fencing number in the statement.

`agent_runs.fence` is raised when a worker takes the task; each write first updates that row `WHERE fence = mine`, so
the row's lock orders the writers and a late one changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from cognitionos.agents.application.ports import EffectStart, Within
from cognitionos.agents.domain.agent_run import (
    AgentRunStart,
    AgentRunState,
    AgentRunStatus,
    LeaseLost,
    Place,
    Step,
    StepKind,
)
from cognitionos.agents.domain.workspace import Artifact, FileChanges
from cognitionos.agents.infrastructure.workspace_store import apply_changes
from cognitionos.platform.database import Database, Row

_INSERT_RUN = """
INSERT INTO agent_runs (id, tenant_id, run_id, task_id, task_key, role, prompts, definitions, opening, status, fence,
                        started_at)
VALUES (%(id)s, %(tenant)s, %(run)s, %(task)s, %(key)s, %(role)s, %(prompts)s, %(definitions)s, %(opening)s,
        'running', %(fence)s, %(at)s)
ON CONFLICT (run_id, task_id) DO UPDATE SET fence = EXCLUDED.fence, status = 'running', ended_at = NULL, error = NULL
WHERE agent_runs.fence <= EXCLUDED.fence
RETURNING id, prompts, opening, steps, definitions,
  EXISTS (SELECT FROM agent_runs b WHERE b.run_id = %(run)s AND b.set_aside_from = %(task)s)
"""
_STEPS = """
SELECT key, role, kind, content, model, simulated, cost_nanousd, prompt_tokens, completion_tokens, started_at, ended_at
FROM agent_steps WHERE agent_run_id = %s ORDER BY seq
"""
_INSERT_STEP = """
WITH held AS (
  UPDATE agent_runs
  SET steps = steps + 1, cost_nanousd = cost_nanousd + %(cost)s, prompt_tokens = prompt_tokens + %(prompt)s,
      completion_tokens = completion_tokens + %(completion)s, simulated = simulated OR %(simulated)s,
      prompts = prompts || %(prompts)s,
      model = CASE WHEN role = %(role)s AND %(model)s <> '' THEN %(model)s ELSE model END
  WHERE id = %(agent_run)s AND fence = %(fence)s
  RETURNING steps
)
INSERT INTO agent_steps (agent_run_id, key, seq, tenant_id, run_id, role, kind, content, model, simulated,
                         cost_nanousd, prompt_tokens, completion_tokens, started_at, ended_at)
SELECT %(agent_run)s, %(key)s, held.steps, %(tenant)s, %(run)s, %(role)s, %(kind)s, %(content)s, %(model)s,
       %(simulated)s, %(cost)s, %(prompt)s, %(completion)s, %(started)s, %(ended)s
FROM held RETURNING seq
"""
_END_EFFECT = "UPDATE tool_effects SET status = 'finished', ended_at = %s WHERE tenant_id = %s AND key = %s"
_BEGIN_EFFECT = """
WITH held AS (SELECT id FROM agent_runs WHERE id = %(agent_run)s AND fence = %(fence)s FOR UPDATE),
noted AS (
  INSERT INTO tool_effects (tenant_id, key, run_id, agent_run_id, step_key, tool, effect, arguments, status, started_at)
  SELECT %(tenant)s, %(key)s, %(run)s, held.id, %(step_key)s, %(tool)s, %(effect)s, %(arguments)s, 'started', now()
  FROM held ON CONFLICT (tenant_id, key) DO UPDATE
  SET agent_run_id = EXCLUDED.agent_run_id, status = 'started', started_at = EXCLUDED.started_at, ended_at = NULL
  WHERE tool_effects.status = 'finished'  -- by a journal that a retry has set aside
  RETURNING 1
)
SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM noted)
"""
_BEGAN_WITH = """
SELECT definitions ->> %(role)s FROM agent_runs WHERE run_id = %(run)s AND definitions ->> %(role)s IS NOT NULL
ORDER BY started_at DESC LIMIT 1
"""
_NEWEST = "SELECT content FROM agent_steps WHERE run_id = %s AND key = %s ORDER BY number DESC LIMIT 1"
_FINISH = "UPDATE agent_runs SET status = %s, error = %s, ended_at = now() WHERE id = %s AND fence = %s RETURNING 1"


@dataclass(frozen=True, slots=True)
class PostgresJournal:
    """A `Journal`."""

    database: Database

    async def open(self, start: AgentRunStart) -> AgentRunState:
        """See `Journal.open`."""
        async with self.database.transaction(start.tenant_id) as connection:
            row = await (await connection.execute(_INSERT_RUN, _run_values(start))).fetchone()
            if row is None:
                raise _lost()
            steps = await _steps(connection, row[0]) if row[3] else {}
            return AgentRunState(
                agent_run_id=row[0],
                prompts=row[1],
                opening=tuple(row[2]),
                steps=steps,
                definitions=row[4],
                anew=row[5],
            )

    async def began_with(self, tenant_id: UUID, run_id: UUID, role: str, /) -> int | None:
        """See `Journal.began_with`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_BEGAN_WITH, {"run": run_id, "role": role})).fetchone()
            return None if row is None else int(row[0])

    async def record(
        self,
        place: Place,
        step: Step,
        *,
        changes: FileChanges,
        effect_key: str | None = None,
        within: Within | None = None,
    ) -> tuple[Artifact, ...]:
        """See `Journal.record`."""
        written: tuple[Artifact, ...] = ()

        async def write(connection: AsyncConnection[Row]) -> None:
            nonlocal written
            if await (await connection.execute(_INSERT_STEP, _step_values(place, step))).fetchone() is None:
                raise _lost()
            if effect_key is not None:
                await connection.execute(_END_EFFECT, (step.ended_at, place.tenant_id, effect_key))
            written = await apply_changes(connection, place, changes)

        if within is not None:
            await within(write)
        else:
            async with self.database.transaction(place.tenant_id) as connection:
                await write(connection)
        return written

    async def begin_effect(self, place: Place, effect: EffectStart) -> bool:
        """See `Journal.begin_effect`."""
        values = {
            "agent_run": place.agent_run_id,
            "fence": place.fence,
            "tenant": place.tenant_id,
            "run": place.run_id,
            "key": effect.key,
            "step_key": effect.step_key,
            "tool": effect.tool,
            "effect": effect.effect.value,
            "arguments": effect.arguments,
        }
        async with self.database.transaction(place.tenant_id) as connection:
            row = await (await connection.execute(_BEGIN_EFFECT, values)).fetchone()
        if row is None or not row[0]:
            raise _lost()
        return bool(row[1])

    async def newest(self, tenant_id: UUID, run_id: UUID, key: str, /) -> Mapping[str, Any] | None:
        """See `Journal.newest`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_NEWEST, (run_id, key))).fetchone()
        return None if row is None else row[0]

    async def finish(self, place: Place, status: AgentRunStatus, *, error: str | None = None) -> None:
        """See `Journal.finish`."""
        async with self.database.transaction(place.tenant_id) as connection:
            ended = await connection.execute(_FINISH, (status.value, error, place.agent_run_id, place.fence))
            if await ended.fetchone() is None:
                raise _lost()


def _run_values(start: AgentRunStart) -> dict[str, Any]:
    return {
        "id": start.agent_run_id,
        "tenant": start.tenant_id,
        "run": start.run_id,
        "task": start.task_id,
        "key": start.task_key,
        "role": start.role,
        "prompts": _json(dict(start.prompts)),
        "definitions": _json(dict(start.definitions)),
        "opening": _json([dict(message) for message in start.opening]),
        "fence": start.fence,
        "at": start.started_at,
    }


def _step_values(place: Place, step: Step) -> Mapping[str, Any]:
    return {
        "agent_run": place.agent_run_id,
        "fence": place.fence,
        "tenant": place.tenant_id,
        "run": place.run_id,
        "key": step.key,
        "role": step.role,
        "kind": step.kind.value,
        "content": _json(dict(step.content)),
        "prompts": _json(step.content.get("prompts") or {}),
        "model": step.model,
        "simulated": step.simulated,
        "cost": step.cost_nanousd,
        "prompt": step.prompt_tokens,
        "completion": step.completion_tokens,
        "started": step.started_at,
        "ended": step.ended_at,
    }


async def _steps(connection: AsyncConnection[Any], agent_run_id: Any) -> dict[str, Step]:
    rows = await (await connection.execute(_STEPS, (agent_run_id,))).fetchall()
    return {
        row[0]: Step(
            key=row[0],
            role=row[1],
            kind=StepKind(row[2]),
            content=row[3],
            model=row[4],
            simulated=row[5],
            cost_nanousd=row[6],
            prompt_tokens=row[7],
            completion_tokens=row[8],
            started_at=row[9],
            ended_at=row[10],
        )
        for row in rows
    }


def _json(value: Any) -> Jsonb:
    return Jsonb(value, dumps=msgspec.json.encode)


def _lost() -> LeaseLost:
    return LeaseLost("Another worker has taken this task over.")
