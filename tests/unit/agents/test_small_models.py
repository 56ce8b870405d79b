"""What agents say to a model of 1.5 billion parameters must leave it room: bounds, by our own estimate of tokens.

No such model runs here. Measured with three bytes a token, which is rather too many: a tokenizer gives about 3.3.
"""

import json
from typing import Any

import pytest

from cognitionos.agents.application.definitions import BUILT_IN, Definitions
from cognitionos.agents.domain.context_window import estimated_tokens
from cognitionos.agents.domain.verdict import VERDICT_SCHEMA
from cognitionos.agents.infrastructure.prompt_files import load_prompts
from cognitionos.composition import build
from cognitionos.llm_gateway.facade import json_schema, system, tool
from cognitionos.platform.config import Settings

WINDOW = 4_096
MOST = {"planner": 240, "executor": 1_200, "critic": 320, "researcher": 900, "summarizer": 140}
"""Of the window; the planner's schema has a bound of its own (`tests/unit/planning/test_replan.py`)."""


def said_to(role: str) -> int:
    """The tokens of prompt, tools and schema, before the first word of the task."""
    definitions = Definitions.of(BUILT_IN, load_prompts())
    agent = definitions.agent(role)
    told = estimated_tokens([system(definitions.prompt(agent.prompt).text)])
    tools = build(Settings(detect_local_models=False)).agents.toolbox.tools
    specs = [tools[name].spec for name in agent.tools]
    offered = [tool(spec.wire_name, spec.description, spec.parameters) for spec in specs]
    told += len(json.dumps(offered)) // 3 if offered else 0
    schema: Any = json_schema(role, VERDICT_SCHEMA) if role == "critic" else {}
    return told + (len(json.dumps(schema)) // 3 if schema else 0)


@pytest.mark.parametrize("role", [agent.role for agent in BUILT_IN])
def test_prompt_tools_and_schema_of_each_agent_leave_most_of_a_small_window(role: str) -> None:
    assert said_to(role) <= MOST[role]
    assert MOST[role] < WINDOW // 2
