"""Who does a task: a definition is data, so that a role is added without code."""

from dataclasses import dataclass, field

from cognitionos.agents.domain.grounding import Grounding
from cognitionos.kernel.errors import NotFound
from cognitionos.kernel.money import NANOUSD_PER_USD

BUILT_IN_VERSION = 0


class AgentNotFound(NotFound):
    """No agent has this role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one agent run may use. `context_tokens` is what one call may show the model, by our own estimate."""

    tokens: int = 32_000
    cost_nanousd: int = NANOUSD_PER_USD
    seconds: float = 300.0
    tool_calls: int = 10
    context_tokens: int = 16_000
    completion_tokens: int = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefinition:
    """A role: its prompt version, the tools it may use, its limits. `model` None is the gateway's default.

    `temperature` None is the model's own: several models refuse any other. `prompt_name` None is the role's own prompt.
    `version` 0 is built in, others are a tenant's. `capabilities` say what it is good for, `hand_off_to` names the
    agents that it may give its task to. `grounding`: what is done with claims of its answers that nothing supports.
    """

    role: str
    description: str
    prompt_version: str = "1"
    prompt_name: str | None = None
    version: int = BUILT_IN_VERSION
    tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    hand_off_to: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    model: str | None = None
    temperature: float | None = None
    grounding: Grounding = Grounding.OFF

    @property
    def prompt(self) -> str:
        """Which prompt it works with, as recorded on every run."""
        return f"{self.prompt_name or self.role}@{self.prompt_version}"

    @property
    def is_built_in(self) -> bool:
        """Whether it ships with the product."""
        return self.version == BUILT_IN_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAgent:
    """An agent that a tenant wrote, as it is listed: what it is good for and what it may use."""

    name: str
    version: int
    description: str = ""
    capabilities: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
