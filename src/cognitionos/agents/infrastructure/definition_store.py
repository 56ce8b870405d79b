"""What tenants say of agents and prompts: rows that are never changed, and which of them counts."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cognitionos.agents.application.definitions import Definitions
from cognitionos.agents.domain.grounding import Grounding
from cognitionos.agents.domain.prompt import Prompt, PromptNotFound, own_label, own_version
from cognitionos.agents.domain.role import AgentDefinition, AgentNotFound, Limits, OwnAgent
from cognitionos.platform.database import Database

# one round trip: the definition, and which version of its prompt counts now
_AGENT = """
WITH d AS (
  SELECT version, content FROM agent_definitions
  WHERE name = %(name)s AND (version = %(version)s OR (%(version)s::int IS NULL AND retired_at IS NULL))
  ORDER BY version DESC LIMIT 1
), p AS (SELECT COALESCE((SELECT content ->> 'prompt' FROM d), %(name)s) AS name)
SELECT (SELECT version FROM d), (SELECT content FROM d),
  (SELECT version FROM prompt_pins WHERE prompt_pins.name = p.name),
  (SELECT max(version) FROM prompt_versions WHERE prompt_versions.name = p.name)
FROM p
"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 17))"
_PUT_AGENT = """
INSERT INTO agent_definitions (tenant_id, name, version, content)
SELECT %(tenant)s, %(name)s, COALESCE(max(version), 0) + 1, %(content)s FROM agent_definitions WHERE name = %(name)s
RETURNING name, version, content, created_at, retired_at
"""
_AGENTS = """
SELECT DISTINCT ON (name) name, version, content, created_at, retired_at FROM agent_definitions
WHERE retired_at IS NULL ORDER BY name, version DESC
"""
_AGENT_VERSIONS = """
SELECT name, version, content, created_at, retired_at FROM agent_definitions WHERE name = %s ORDER BY version DESC
"""
_RETIRE = "UPDATE agent_definitions SET retired_at = now() WHERE name = %s AND retired_at IS NULL"
_PUT_PROMPT = """
INSERT INTO prompt_versions (tenant_id, name, version, text)
SELECT %(tenant)s, %(name)s, COALESCE(max(version), 0) + 1, %(text)s FROM prompt_versions WHERE name = %(name)s
RETURNING name, version, text, created_at
"""
_PROMPT = "SELECT text FROM prompt_versions WHERE name = %s AND version = %s"
_PROMPTS = "SELECT name, version, text, created_at FROM prompt_versions WHERE name = %s ORDER BY version DESC"
_ACTIVE = """
SELECT n.name, (SELECT version FROM prompt_pins p WHERE p.name = n.name),
  (SELECT max(version) FROM prompt_versions v WHERE v.name = n.name)
FROM (SELECT name FROM prompt_versions UNION SELECT name FROM prompt_pins) n
"""
_PIN = """
INSERT INTO prompt_pins (tenant_id, name, version) VALUES (%s, %s, %s)
ON CONFLICT (tenant_id, name) DO UPDATE SET version = excluded.version, changed_at = now()
"""
_UNPIN = "DELETE FROM prompt_pins WHERE name = %s"


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A definition as stored. `prompt_version` None: whichever counts when a run begins."""

    description: str
    prompt: str
    prompt_version: str | None = None
    model: str | None = None
    temperature: float | None = None
    tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    hand_off_to: tuple[str, ...] = ()
    grounding: Grounding = Grounding.OFF
    tokens: int
    cost_nanousd: int
    seconds: float
    tool_calls: int
    context_tokens: int
    completion_tokens: int


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant says of an agent that ships with the product; all else stays as it ships."""

    grounding: Grounding


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """A version of a tenant's agent, or of what it says of one that ships with the product."""

    name: str
    version: int
    content: dict[str, Any]
    created_at: datetime
    retired_at: datetime | None

    def definition(self, prompt_version: str) -> AgentDefinition:
        """As the use cases know it."""
        return _definition(self.name, self.version, msgspec.convert(self.content, Content), prompt_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRow:
    """A version of a prompt that a tenant wrote."""

    name: str
    version: int
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePrompt:
    """Which version of a prompt counts for a tenant: the one pinned, else its newest own; None: it says nothing."""

    pinned: str | None = None
    newest: int | None = None

    @property
    def label(self) -> str | None:
        """The version that counts."""
        return self.pinned or (own_label(self.newest) if self.newest is not None else None)


class PostgresRoster:
    """A `Roster`, and how tenants change theirs. `shipped` is what they all have."""

    def __init__(self, database: Database, shipped: Definitions) -> None:
        self._database = database
        self.shipped = shipped

    async def agent(self, tenant_id: UUID, role: str, *, version: int | None = None) -> AgentDefinition:
        """See `Roster.agent`."""
        if "\x00" in role:
            raise _no_agent(role)
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_AGENT, {"name": role, "version": version})).fetchone()
        own_number, content, pinned, newest = row or (None, None, None, None)
        active = ActivePrompt(pinned=pinned, newest=newest).label
        built_in = self.shipped.agents.get(role)
        if built_in is not None and content is not None:
            grounding = msgspec.convert(content, Override).grounding
            built_in = replace(built_in, version=own_number, grounding=grounding)
        if built_in is not None:
            return built_in if active is None else replace(built_in, prompt_version=active)
        if content is None:
            raise _no_agent(role)
        read = msgspec.convert(content, Content)
        shipped = self.shipped.newest(read.prompt)
        return _definition(role, own_number, read, read.prompt_version or active or shipped)

    async def own(self, tenant_id: UUID) -> list[OwnAgent]:
        """See `Roster.own`."""
        return [_own(row) for row in await self.agents(tenant_id)]

    async def prompt(self, tenant_id: UUID, name: str) -> Prompt:
        """See `Roster.prompt`."""
        role, _, label = name.rpartition("@")
        number = own_version(label)
        if number is None:
            return self.shipped.prompt(name)
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_PROMPT, (role, number))).fetchone()
        if row is None:
            raise PromptNotFound(f"There is no prompt '{name}'.")
        return Prompt(role=role, version=number, text=row[0], own=True)

    async def agents(self, tenant_id: UUID) -> list[AgentRow]:
        """The tenant's own, by name, in their newest version."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(AgentRow))
            rows = await (await cursor.execute(_AGENTS)).fetchall()
        return [row for row in rows if row.name not in self.shipped.agents]

    async def agent_versions(self, tenant_id: UUID, name: str) -> list[AgentRow]:
        """Every version of one, newest first, those of a deleted one as well."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(AgentRow))
            return await (await cursor.execute(_AGENT_VERSIONS, (name,))).fetchall()

    async def put_agent(self, tenant_id: UUID, name: str, content: Content | Override) -> AgentRow:
        """A new version, which counts for runs that begin from now on."""
        values = {"tenant": tenant_id, "name": name, "content": Jsonb(msgspec.to_builtins(content))}
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_LOCK, (f"{tenant_id}/agent/{name}",))
            cursor = connection.cursor(row_factory=class_row(AgentRow))
            [row] = await (await cursor.execute(_PUT_AGENT, values)).fetchall()
            return row

    async def retire_agent(self, tenant_id: UUID, name: str) -> bool:
        """No run begins with it any more; says whether it was there."""
        async with self._database.transaction(tenant_id) as connection:
            return (await connection.execute(_RETIRE, (name,))).rowcount > 0

    async def prompts(self, tenant_id: UUID, name: str) -> list[PromptRow]:
        """The tenant's own versions of a prompt, newest first."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(PromptRow))
            return await (await cursor.execute(_PROMPTS, (name,))).fetchall()

    async def active_prompts(self, tenant_id: UUID) -> dict[str, ActivePrompt]:
        """Which version counts, of the prompts that the tenant says anything of."""
        async with self._database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_ACTIVE)).fetchall()
        return {name: ActivePrompt(pinned=pinned, newest=newest) for name, pinned, newest in rows}

    async def put_prompt(self, tenant_id: UUID, name: str, text: str) -> PromptRow:
        """A new version, which counts unless another is pinned."""
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_LOCK, (f"{tenant_id}/prompt/{name}",))
            cursor = connection.cursor(row_factory=class_row(PromptRow))
            values = {"tenant": tenant_id, "name": name, "text": text}
            [row] = await (await cursor.execute(_PUT_PROMPT, values)).fetchall()
            return row

    async def pin_prompt(self, tenant_id: UUID, name: str, label: str | None) -> None:
        """Let this version count whatever comes after it; None: the newest own one again."""
        async with self._database.transaction(tenant_id) as connection:
            if label is None:
                await connection.execute(_UNPIN, (name,))
            else:
                await connection.execute(_PIN, (tenant_id, name, label))


def _definition(name: str, version: int, content: Content, prompt_version: str) -> AgentDefinition:
    return AgentDefinition(
        role=name,
        description=content.description,
        prompt_name=content.prompt,
        prompt_version=prompt_version,
        version=version,
        tools=content.tools,
        capabilities=content.capabilities,
        hand_off_to=content.hand_off_to,
        limits=_limits(content),
        model=content.model,
        temperature=content.temperature,
        grounding=content.grounding,
    )


def _own(row: AgentRow) -> OwnAgent:
    content = msgspec.convert(row.content, Content)
    return OwnAgent(
        name=row.name,
        version=row.version,
        description=content.description,
        capabilities=content.capabilities,
        tools=content.tools,
        limits=_limits(content),
    )


def _limits(content: Content) -> Limits:
    return Limits(
        tokens=content.tokens,
        cost_nanousd=content.cost_nanousd,
        seconds=content.seconds,
        tool_calls=content.tool_calls,
        context_tokens=content.context_tokens,
        completion_tokens=content.completion_tokens,
    )


def _no_agent(role: str) -> AgentNotFound:
    return AgentNotFound(f"There is no agent '{role[:100]}'.")
