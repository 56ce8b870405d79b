"""Agents, wired."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from cognitionos.agents.application.definitions import BUILT_IN, Definitions, ShippedRoster
from cognitionos.agents.application.folding import Folding
from cognitionos.agents.application.grounding import Claims
from cognitionos.agents.application.loop import Loop
from cognitionos.agents.application.ports import Files, Journal, KitOf, Models, Observer, Roster, Tool, no_kit
from cognitionos.agents.application.review import Review
from cognitionos.agents.application.runs import AgentRuns
from cognitionos.agents.application.thinking import Thinking
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.facade import Agents
from cognitionos.agents.infrastructure.agent_admin import AgentAdmin
from cognitionos.agents.infrastructure.definition_store import PostgresRoster
from cognitionos.agents.infrastructure.histories import PostgresHistories
from cognitionos.agents.infrastructure.http_mcp import McpDoor
from cognitionos.agents.infrastructure.http_request_tool import HttpRequestTool
from cognitionos.agents.infrastructure.http_tool import HttpTool
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.agents.infrastructure.known_names import PostgresNames
from cognitionos.agents.infrastructure.mcp_servers import McpServers
from cognitionos.agents.infrastructure.memory_tools import MemoryTools
from cognitionos.agents.infrastructure.metrics import AgentMetrics
from cognitionos.agents.infrastructure.prompt_files import load_prompts
from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox
from cognitionos.agents.infrastructure.python_tool import PythonTool
from cognitionos.agents.infrastructure.queries import AgentQueries
from cognitionos.agents.infrastructure.sandbox_packages import SandboxPackages
from cognitionos.agents.infrastructure.sandbox_sweeper import SandboxSweeper
from cognitionos.agents.infrastructure.sql_tool import SqlDatabases
from cognitionos.agents.infrastructure.tool_admin import ToolAdmin
from cognitionos.agents.infrastructure.tool_kit import Kits
from cognitionos.agents.infrastructure.tool_store import ToolStore
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.agents.infrastructure.workspace_tools import WorkspaceTools
from cognitionos.composition import conversing
from cognitionos.composition.base import Base, Resource
from cognitionos.composition.conversing import ConversationServices
from cognitionos.kernel.clock import Clock
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.memory.facade import Memory
from cognitionos.planning.application.http_tasks import MOST_BODY_BYTES
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.sealing import SealingKey

WARM_RUNNERS = 2
"""Locked processes that wait for code: with none a call takes 3 to 5 times as long, with more than 2 no shorter."""


@dataclass(frozen=True, kw_only=True)
class AgentsServices:
    """What planning and the HTTP edge use of agents."""

    agents: Agents
    agent_admin: AgentAdmin
    conversing: ConversationServices
    toolbox: Toolbox
    queries: AgentQueries
    task_http: HttpTool
    tool_store: ToolStore
    tool_admin: ToolAdmin
    mcp_door: McpDoor
    packages: SandboxPackages
    sweeper: SandboxSweeper
    resources: tuple[Resource, ...]


def build(base: Base, gateway: Gateway, memory: Memory) -> AgentsServices:
    """Agents on `base`. The only I/O is reading the prompts that ship with the product."""
    files = PostgresFiles(base.database)
    http = HttpTool(allowed_hosts=base.settings.http_allow)
    packages = SandboxPackages(base.database, base.settings.data_dir.absolute() / "packages")
    python = PythonTool(
        sandbox=PythonSandbox(backend=base.settings.sandbox, warm=WARM_RUNNERS),
        files=files,
        root=base.settings.data_dir.absolute() / "workspaces",
        packages=packages.places,
    )
    tools = (python.tool, *WorkspaceTools(files).tools, HttpRequestTool(http).tool, *MemoryTools(memory).tools)
    tenants_kits, admin = kits(base)
    door = McpDoor()
    shipped = Definitions.of(BUILT_IN, load_prompts())
    roster = PostgresRoster(base.database, shipped)
    runs = agent_runs(
        models=gateway,
        journal=PostgresJournal(base.database),
        files=files,
        tools=tools,
        observe=AgentMetrics(),
        now=base.now,
        new_id=base.new_id,
        kit_of=tenants_kits.of,
        roster=roster,
    )
    talking = conversing.build(base, gateway, memory, runs)
    built_in = {tool.spec.name: tool for tool in tools}
    names = PostgresNames(
        roster=roster, shipped=shipped.agents, tools=built_in, kit_of=tenants_kits.of, store=tenants_kits.store
    )
    return AgentsServices(
        agents=Agents(runs=runs, workspace=files, histories=PostgresHistories(base.database), names=names),
        agent_admin=AgentAdmin(roster=roster, tools=built_in, kit_of=tenants_kits.of),
        conversing=talking,
        toolbox=runs.loop.toolbox,
        queries=AgentQueries(base.database),
        task_http=replace(
            http, follows_redirects=False, max_request_bytes=None, max_response_bytes=MOST_BODY_BYTES
        ),  # what it sends is counted as the task takes it in
        tool_store=tenants_kits.store,
        tool_admin=admin,
        mcp_door=door,
        packages=packages,
        sweeper=SandboxSweeper(packages=packages, python=python),
        resources=(python, tenants_kits.servers, door, talking.far, talking.conversations),
    )


def kits(base: Base) -> tuple[Kits, ToolAdmin]:
    """What tenants add to the tools, and how they set it."""
    settings = base.settings
    store = ToolStore(base.database)
    key = SealingKey.of(settings, "tool-secrets")
    allowed = AllowedHosts.parse(settings.tool_allow)
    servers = McpServers(store=store, sealing_key=key, allowed=allowed, is_stdio_allowed=settings.mcp_stdio)
    databases = SqlDatabases(store=store, sealing_key=key, allowed=allowed)
    admin = ToolAdmin(store=store, servers=servers, databases=databases, sealing_key=key, new_id=base.new_id)
    return Kits(store=store, servers=servers, databases=databases), admin


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
    roster: Roster | None = None,
) -> AgentRuns:
    """The use cases over these ports. Without a `roster`, those of `agents` that ship with the product."""
    roster = roster or ShippedRoster(definitions=Definitions.of(agents, load_prompts()))
    thinking = Thinking(models=models, now=now)
    toolbox = Toolbox(tools={tool.spec.name: tool for tool in tools}, now=now, observe=observe, kit_of=kit_of)
    return AgentRuns(
        roster=roster,
        journal=journal,
        files=files,
        models=models,
        loop=Loop(thinking=thinking, folding=Folding(thinking=thinking, roster=roster), toolbox=toolbox, roster=roster),
        thinking=thinking,
        review=Review(thinking=thinking, files=files, observe=observe, roster=roster),
        claims=Claims(now=now),
        observe=observe,
        now=now,
        new_id=new_id,
    )
