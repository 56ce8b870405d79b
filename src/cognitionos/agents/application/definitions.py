"""The agents there are, and their prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cognitionos.agents.domain.prompt import Prompt, PromptNotFound
from cognitionos.agents.domain.role import AgentDefinition, AgentNotFound

CRITIC = "critic"

BUILT_IN: tuple[AgentDefinition, ...] = (
    AgentDefinition(role="planner", description="Turns a goal into a plan of tasks."),
    AgentDefinition(
        role="executor",
        description="Does a task with tools and says what came out.",
        tools=("python", "list_files", "read_file", "write_file", "http_request", "recall", "remember"),
    ),
    AgentDefinition(
        role=CRITIC,
        description="Judges a result against its task: accepts it or sends it back with reasons.",
    ),
    AgentDefinition(role="summarizer", description="Answers the goal from the results of its tasks."),
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

    def versions(self, role: str) -> list[int]:
        """The prompt versions there are of a role, oldest first."""
        return sorted(prompt.version for prompt in self.prompts.values() if prompt.role == role)
