"""The tools `recall` and `remember`: the project's memory, for agents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.ports import Tool, ToolAnswer, ToolContext
from cognitionos.agents.domain.tool import Effect, ToolSpec
from cognitionos.memory.facade import Memory, MemoryKind, Source

_MOST = 10

RECALL = ToolSpec(
    name="recall",
    description="Search the project's memory of earlier work.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": 2000},
            "limit": {"type": "integer", "minimum": 1, "maximum": _MOST},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)
REMEMBER = ToolSpec(
    name="remember",
    description="Keep something in the project's memory for later work. One fact at a time.",
    parameters={
        "type": "object",
        "properties": {
            "content": {"type": "string", "minLength": 1, "maxLength": 8000},
            "kind": {"type": "string", "enum": [kind.value for kind in MemoryKind]},
        },
        "required": ["content"],
        "additionalProperties": False,
    },
    effect=Effect.IDEMPOTENT,  # the same content is stored once
)


@dataclass(frozen=True, slots=True)
class MemoryTools:
    """Memory of the project that a call belongs to."""

    memory: Memory

    @property
    def tools(self) -> tuple[Tool, ...]:
        """As agents know them."""
        return (Tool(spec=RECALL, run=self.recall), Tool(spec=REMEMBER, run=self.remember))

    async def recall(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        """What is known, best first."""
        found = await self.memory.recall(
            context.tenant_id,
            context.project_id,
            arguments["query"],
            arguments.get("limit", 5),
            caller=context.caller,
        )
        return ToolAnswer(content={"memories": [{"content": each.content, "kind": each.kind} for each in found]})

    async def remember(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Keep it, with this run as its source."""
        source = Source(goal_id=context.goal_id, run_id=context.run_id, user=context.user)
        kept = await self.memory.remember(
            context.tenant_id,
            context.project_id,
            arguments["content"],
            arguments.get("kind", "fact"),
            source,
            caller=context.caller,
        )
        return ToolAnswer(content={"remembered": str(kept)})
