"""Agents, wired."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.agents.application.definitions import BUILT_IN, Definitions
from cognitionos.agents.application.loop import Loop
from cognitionos.agents.application.ports import Files, Journal, KitOf, Models, Observer, Tool, no_kit
from cognitionos.agents.application.review import Review
from cognitionos.agents.application.runs import AgentRuns
from cognitionos.agents.application.thinking import Thinking
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.facade import Agents
from cognitionos.agents.infrastructure.histories import PostgresHistories
from cognitionos.agents.infrastructure.http_request_tool import HttpRequestTool
from cognitionos.agents.infrastructure.http_tool import HttpTool
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.agents.infrastructure.memory_tools import MemoryTools
from cognitionos.agents.infrastructure.metrics import AgentMetrics
from cognitionos.agents.infrastructure.prompt_files import load_prompts
from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox
from cognitionos.agents.infrastructure.python_tool import PythonTool
from cognitionos.agents.infrastructure.queries import AgentQueries
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.agents.infrastructure.workspace_tools import WorkspaceTools
from cognitionos.composition.base import Base, Resource
from cognitionos.kernel.clock import Clock
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.memory.facade import Memory


@dataclass(frozen=True, kw_only=True)
class AgentsServices:
    """What planning and the HTTP edge use of agents."""

    agents: Agents
    definitions: Definitions
    toolbox: Toolbox
    queries: AgentQueries
    http: HttpTool
    resources: tuple[Resource, ...]


def build(base: Base, gateway: Gateway, memory: Memory) -> AgentsServices:
    """Agents on `base`. The only I/O is reading the prompts that ship with the product."""
    files = PostgresFiles(base.database)
    http = HttpTool(allowed_hosts=base.settings.http_allow)
    python = PythonTool(
        sandbox=PythonSandbox(backend=base.settings.sandbox),
        files=files,
        root=base.settings.data_dir.absolute() / "workspaces",
    )
    tools = (
        python.tool,
        *WorkspaceTools(files).tools,
        HttpRequestTool(http).tool,
        *MemoryTools(memory).tools,
    )
    runs = agent_runs(
        models=gateway,
        journal=PostgresJournal(base.database),
        files=files,
        tools=tools,
        observe=AgentMetrics(),
        now=base.now,
        new_id=base.new_id,
    )
    return AgentsServices(
        agents=Agents(runs=runs, workspace=files, histories=PostgresHistories(base.database)),
        definitions=runs.definitions,
        toolbox=runs.loop.toolbox,
        queries=AgentQueries(base.database),
        http=http,
        resources=(python,),
    )


def agent_runs(
    *,
    models: Models,
    journal: Journal,
    files: Files,
    tools: Iterable[Tool],
    observe: Observer,
    now: Clock,
    new_id: Callable[[], UUID],
    agents: Sequence[AgentDefinition] = BUILT_IN,
    kit_of: KitOf = no_kit,
) -> AgentRuns:
    """The use cases over these ports."""
    thinking = Thinking(models=models, now=now)
    toolbox = Toolbox(tools={tool.spec.name: tool for tool in tools}, now=now, observe=observe, kit_of=kit_of)
    return AgentRuns(
        definitions=Definitions.of(agents, load_prompts()),
        journal=journal,
        files=files,
        models=models,
        loop=Loop(thinking=thinking, toolbox=toolbox),
        thinking=thinking,
        review=Review(thinking=thinking, files=files, observe=observe),
        observe=observe,
        now=now,
        new_id=new_id,
    )
