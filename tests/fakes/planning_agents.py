"""Agents, gateway and memory as planning sees them: scripted, in memory. The real ones have suites of their own."""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from cognitionos.agents.facade import (
    Answer,
    Artifact,
    Assignment,
    DirectCall,
    DirectResult,
    Outcome,
    OwnAgent,
    Question,
    Strangers,
)
from cognitionos.kernel.errors import NotFound

Do = Callable[[Assignment], Awaitable[str]]


def a_plan(**depends_on: Sequence[str]) -> dict[str, Any]:
    """A planner's answer: each key with what it depends on."""
    return {
        key: {"title": f"Do {key}", "instructions": f"instructions of {key}", "depends_on": list(parents)}
        for key, parents in depends_on.items()
    }


async def said(assignment: Assignment) -> str:
    """What a scripted agent says when nobody scripts it."""
    return f"{assignment.role} did {assignment.task_key} with {sorted(assignment.inputs)}"


async def no_strangers(tenant_id: UUID, *, agents: Collection[str], tools: Collection[str]) -> Strangers:
    """Every name is somebody's."""
    return Strangers()


@dataclass(kw_only=True)
class ScriptedAgents:
    """Answers plans from `plans`, in order (the last one for ever, a callable is asked); does tasks by `do`."""

    plans: list[Any]
    do: Do = said
    model: str = "scripted/model"
    questions: list[Question] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    calls: list[DirectCall] = field(default_factory=list)
    team: dict[UUID, Sequence[OwnAgent]] = field(default_factory=dict)
    anew: list[UUID] = field(default_factory=list)
    kept: dict[tuple[UUID, UUID, str], tuple[Artifact, bytes]] = field(default_factory=dict)

    async def ask(self, question: Question) -> Answer:
        """The next plan."""
        self.questions.append(question)
        value = self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        value = value(question) if callable(value) else value
        return Answer(
            value=value,
            text=str(value),
            model=self.model,
            simulated=False,
            prompt_version="planner@1",
            cost_nanousd=1,
            prompt_tokens=10,
            completion_tokens=5,
        )

    async def perform(self, assignment: Assignment) -> Outcome:
        """Do one task; it says one thing on the way."""
        self.assignments.append(assignment)
        await assignment.report("agent.step", {"role": assignment.role})
        return Outcome(
            text=await self.do(assignment),
            artifacts=(),
            model=self.model,
            simulated=False,
            prompt_versions={assignment.role: f"{assignment.role}@1"},
            cost_nanousd=2,
            prompt_tokens=10,
            completion_tokens=5,
            steps=1,
            rounds=1,
        )

    async def call_tool(self, call: DirectCall) -> DirectResult:
        """What the call was."""
        self.calls.append(call)
        return DirectResult(content={"tool": call.tool, "arguments": dict(call.arguments)}, files=())

    async def own(self, tenant_id: UUID) -> Sequence[OwnAgent]:
        """Those that a test put there."""
        return self.team.get(tenant_id, ())

    async def strangers(self, tenant_id: UUID, *, agents: Collection[str], tools: Collection[str]) -> Strangers:
        """Scripted agents go by every name."""
        return await no_strangers(tenant_id, agents=agents, tools=tools)

    async def set_aside(self, tenant_id: UUID, run_id: UUID, tasks: Sequence[tuple[UUID, int]]) -> None:
        """Remember which."""
        self.anew += [task_id for task_id, _ in tasks]

    async def copy_files(self, tenant_id: UUID, run_id: UUID, *, to_run: UUID, tasks: Mapping[UUID, UUID]) -> None:
        """All of them."""
        for (tenant, run, name), file in list(self.kept.items()):
            if (tenant, run) == (tenant_id, run_id):
                self.kept[tenant_id, to_run, name] = file

    async def recorded(self, tenant_id: UUID, run_id: UUID) -> list[dict[str, Any]]:
        """Scripted agents keep no journal."""
        return []

    def replay(self, recorded: Sequence[Any]) -> Any:
        """Nothing was kept that could be replayed: each task is taken over."""
        return SimpleNamespace(ask=None, perform=None)

    async def put_file(
        self, tenant_id: UUID, run_id: UUID, *, name: str, media_type: str, content: bytes, origin: Any = "input"
    ) -> Artifact:
        """Keep a file."""
        digest = hashlib.sha256(content).hexdigest()
        artifact = Artifact(name=name, media_type=media_type, bytes=len(content), sha256=digest, origin=origin)
        self.kept[tenant_id, run_id, name] = (artifact, content)
        return artifact

    async def files(self, tenant_id: UUID, run_id: UUID) -> list[Artifact]:
        """What the run has."""
        return [file for (tenant, run, _), (file, _) in self.kept.items() if (tenant, run) == (tenant_id, run_id)]

    async def read_file(self, tenant_id: UUID, run_id: UUID, name: str) -> tuple[Artifact, bytes]:
        """One of them."""
        found = self.kept.get((tenant_id, run_id, name))
        if found is None:
            raise NotFound(f"There is no file {name}.")
        return found


@dataclass(kw_only=True)
class CountingGateway:
    """Budgets as planning opens and reads them."""

    budgets: dict[tuple[UUID, str], int] = field(default_factory=dict)
    spent_nanousd: int = 0

    async def open_budget(self, tenant_id: UUID, subject: str, limit_nanousd: int) -> None:
        """Remember the limit."""
        self.budgets[tenant_id, subject] = limit_nanousd

    async def spent(self, tenant_id: UUID, subject: str) -> Any:
        """What was spent, by whomever."""
        return SimpleNamespace(spent_nanousd=self.spent_nanousd)


@dataclass(kw_only=True)
class KnownTexts:
    """A memory that recalls the same texts whatever is asked."""

    texts: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    async def recall(self, tenant_id: UUID, project_id: UUID, query: str, limit: int) -> list[Any]:
        """Every text."""
        self.queries.append(query)
        return [SimpleNamespace(content=text) for text in self.texts[:limit]]
