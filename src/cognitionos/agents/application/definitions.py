"""The agents there are, and their prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cognitionos.agents.domain.prompt import Prompt, PromptNotFound
from cognitionos.agents.domain.role import AgentDefinition, AgentNotFound, OwnAgent

CRITIC = "critic"

BUILT_IN: tuple[AgentDefinition, ...] = (
    AgentDefinition(role="planner", description="Turns a goal into a plan of tasks.", prompt_version="2"),
    AgentDefinition(
        role="executor",
        description="Does a task with tools and says what came out.",
        prompt_version="2",
        tools=("python", "list_files", "read_file", "write_file", "http_request", "recall", "remember"),
    ),
    AgentDefinition(
        role=CRITIC,
        description="Judges a result against its task: accepts it or sends it back with reasons.",
        prompt_version="2",
    ),
    AgentDefinition(
        role="researcher",
        description="Finds out from files, memory and the web what a task asks, and names its sources.",
        prompt_version="2",
        capabilities=("research",),
        tools=("list_files", "read_file", "http_request", "recall", "remember"),
    ),
    AgentDefinition(
        role="summarizer", description="Answers the goal from the results of its tasks.", prompt_version="2"
    ),
)


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """Agents by role and prompts by name. Old prompt versions stay, for runs that began with them."""

    agents: Mapping[str, AgentDefinition]
    prompts: Mapping[str, Prompt] = field(default_factory=dict)

    @classmethod
    def of(cls, agents: Sequence[AgentDefinition], prompts: Sequence[Prompt]) -> "Definitions":
        """Raises `PromptNotFound` for an agent whose prompt version is not there."""
        made = cls(agents={each.role: each for each in agents}, prompts={each.name: each for each in prompts})
        for each in agents:
            made.prompt(each.prompt)
        return made

    def agent(self, role: str) -> AgentDefinition:
        """The agent with this role. Raises `AgentNotFound`."""
        found = self.agents.get(role)
        if found is None:
            raise AgentNotFound(f"There is no agent '{role}'; there are {', '.join(self.agents)}.")
        return found

    def prompt(self, name: str) -> Prompt:
        """The prompt `role@version`. Raises `PromptNotFound`."""
        found = self.prompts.get(name)
        if found is None:
            raise PromptNotFound(f"There is no prompt '{name}'.")
        return found

    def versions(self, role: str) -> list[Prompt]:
        """The prompt versions there are of a role, oldest first."""
        found = (prompt for prompt in self.prompts.values() if prompt.role == role)
        return sorted(found, key=lambda prompt: prompt.version)

    def newest(self, role: str) -> str:
        """The label of the newest version of a role's prompt that ships; of another name, the first."""
        return str(max((prompt.version for prompt in self.versions(role)), default=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedRoster:
    """A `Roster` of what ships with the product, the same for every tenant."""

    definitions: Definitions

    async def agent(self, tenant_id: UUID, role: str, *, version: int | None = None) -> AgentDefinition:
        """See `Roster.agent`."""
        return self.definitions.agent(role)

    async def own(self, tenant_id: UUID) -> Sequence[OwnAgent]:
        """See `Roster.own`."""
        return ()

    async def prompt(self, tenant_id: UUID, name: str) -> Prompt:
        """See `Roster.prompt`."""
        return self.definitions.prompt(name)
