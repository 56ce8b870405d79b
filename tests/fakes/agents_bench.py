"""Agents over a scripted model: what a test hands in, and what it sees of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.fakes.agents_gateway import ScriptedGateway
from tests.fakes.agents_journal import JournalInMemory

from cognitionos.agents.application.definitions import BUILT_IN
from cognitionos.agents.application.ports import Files, Journal, KitOf, RunTool, Tool, ToolAnswer, ToolContext, no_kit
from cognitionos.agents.domain.agent_run import Step
from cognitionos.agents.domain.role import AgentDefinition, Limits
from cognitionos.agents.domain.tool import CallOutcome, Effect, ToolSpec
from cognitionos.agents.facade import Agents, Assignment, Strangers
from cognitionos.agents.infrastructure.workspace_tools import WorkspaceTools
from cognitionos.composition.agents import agent_runs
from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.ids import new_id

NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


@dataclass
class Counts:
    """An `Observer` that a test can read."""

    steps: list[Step] = field(default_factory=list)
    tools: list[tuple[str, CallOutcome]] = field(default_factory=list)
    verdicts: list[bool] = field(default_factory=list)
    replayed: int = 0

    def step(self, step: Step) -> None:
        self.steps.append(step)

    def tool_call(self, tool: str, outcome: CallOutcome, seconds: float) -> None:
        self.tools.append((tool, outcome))

    def verdict(self, *, accepted: bool) -> None:
        self.verdicts.append(accepted)

    def resumed(self, steps: int) -> None:
        self.replayed += steps


@dataclass
class Recorder:
    """A tool that remembers its calls, and a `Report` that remembers its events."""

    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def run(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        self.calls.append((context.idempotency_key, dict(arguments)))
        return ToolAnswer(content={"doubled": arguments["n"] * 2})

    async def report(self, kind: str, data: Mapping[str, Any]) -> None:
        self.events.append((kind, data))


def a_tool(run: RunTool, *, name: str = "double", effect: Effect = Effect.NONE, timeout_s: float = 10) -> Tool:
    """A tool that takes {"n": integer}."""
    spec = ToolSpec(name=name, description="Doubles n.", parameters=NUMBER, effect=effect)
    return Tool(spec=spec, run=run, timeout_s=timeout_s)


def an_assignment(**changes: Any) -> Assignment:
    """A task for the executor, of a tenant and a run of its own."""
    given: dict[str, Any] = {
        "tenant_id": new_id(),
        "project_id": new_id(),
        "api_key_id": None,
        "user": None,
        "goal_id": new_id(),
        "run_id": new_id(),
        "task_id": new_id(),
        "task_key": "t1",
        "fence": 1,
        "role": "executor",
        "goal": "Know the double of 21",
        "instructions": "Double 21.",
        "deadline_s": 30.0,
    }
    return Assignment(**{**given, **changes})


class NoStrangers:
    """`KnownNames` where every name is somebody's."""

    async def strangers(self, tenant_id: UUID, *, agents: Collection[str], tools: Collection[str]) -> Strangers:
        return Strangers()


@dataclass
class Bench:
    """`agents` over a script; another `on` the same journal is another worker."""

    gateway: ScriptedGateway
    agents: Agents
    recorder: Recorder
    counts: Counts
    journal: Journal
    files: Files

    @classmethod
    def of(
        cls,
        *lines: Any,
        tools: Sequence[Tool] = (),
        journal: Journal | None = None,
        files: Files | None = None,
        limits: Limits | None = None,
        recorder: Recorder | None = None,
        gateway: ScriptedGateway | None = None,
        kit_of: KitOf = no_kit,
        agents: Sequence[AgentDefinition] = (),
    ) -> "Bench":
        """Agents whose model says `lines`, with `double` and the file tools unless `tools` says otherwise.

        `agents` are there besides those that are built in.
        """
        memory = JournalInMemory()
        journal, files = journal or memory, files or memory
        gateway, recorder, counts = gateway or ScriptedGateway(list(lines)), recorder or Recorder(), Counts()
        chosen = [*(tools or [a_tool(recorder.run)]), *WorkspaceTools(files).tools]
        runs = agent_runs(
            models=gateway,
            journal=journal,
            files=files,
            tools=chosen,
            observe=counts,
            now=utc_now,
            new_id=new_id,
            agents=[*_roles([tool.spec.name for tool in chosen], limits), *agents],
            kit_of=kit_of,
        )
        return cls(
            gateway,
            Agents(runs=runs, workspace=files, histories=journal, names=NoStrangers()),
            recorder,
            counts,
            journal,
            files,
        )

    def another(self, *lines: Any, **changes: Any) -> "Bench":
        """Another worker on the same journal and files."""
        given: dict[str, Any] = {"journal": self.journal, "files": self.files, "recorder": self.recorder}
        return Bench.of(*lines, **{**given, **changes})

    async def texts(self, tenant_id: UUID, run_id: UUID) -> dict[str, str]:
        """The run's files as texts."""
        names = [file.name for file in await self.files.of_run(tenant_id, run_id)]
        return {name: (await self.files.read(tenant_id, run_id, name))[1].decode() for name in names}


def _roles(tools: Sequence[str], limits: Limits | None) -> list[AgentDefinition]:
    return [
        AgentDefinition(
            role=each.role,
            description=each.description,
            prompt_version=each.prompt_version,
            tools=tuple(tools) if each.role == "executor" else (),
            limits=limits or each.limits,
        )
        for each in BUILT_IN
    ]
