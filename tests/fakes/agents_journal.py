"""The journal and the runs' files in memory. They pass the same suite as PostgreSQL (`tests/integration/agents`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from cognitionos.agents.application.ports import EffectStart, Within
from cognitionos.agents.domain.agent_run import AgentRunStart, AgentRunState, AgentRunStatus, LeaseLost, Place, Step
from cognitionos.agents.domain.workspace import (
    Artifact,
    FileChanges,
    FileNotFound,
    InputIsReadOnly,
    NewFile,
    check_sizes,
    file_name,
    media_type_of,
)


@dataclass
class _Run:
    tenant_id: UUID
    state: AgentRunState
    fence: int
    steps: dict[str, Step] = field(default_factory=dict)
    effects: dict[str, str] = field(default_factory=dict)
    status: AgentRunStatus = AgentRunStatus.RUNNING
    error: str | None = None


@dataclass
class _File:
    tenant_id: UUID
    artifact: Artifact
    content: bytes
    agent_run_id: UUID | None
    task_id: UUID | None = None


@dataclass(frozen=True)
class _Act:
    """What a task left of a file; None: nothing."""

    tenant_id: UUID
    run_id: UUID
    name: str
    task_id: UUID | None
    file: _File | None


@dataclass
class JournalInMemory:
    """A `Journal` and `Files`."""

    runs: dict[tuple[UUID, UUID], _Run] = field(default_factory=dict)
    stored: dict[tuple[UUID, str], _File] = field(default_factory=dict)
    acts: list[_Act] = field(default_factory=list)
    aside: set[tuple[UUID, UUID]] = field(default_factory=set)

    async def began_with(self, tenant_id: UUID, run_id: UUID, role: str, /) -> int | None:
        found = [run.state.definitions.get(role) for (run_of, _), run in self.runs.items() if run_of == run_id]
        return next((version for version in reversed(found) if version is not None), None)

    async def open(self, start: AgentRunStart) -> AgentRunState:
        place = (start.run_id, start.task_id)
        run = self.runs.get(place)
        if run is None:
            state = AgentRunState(
                agent_run_id=start.agent_run_id,
                prompts=start.prompts,
                opening=start.opening,
                definitions=start.definitions,
                anew=place in self.aside,
            )
            run = self.runs[place] = _Run(start.tenant_id, state, start.fence)
        if run.fence > start.fence:
            raise LeaseLost("Another worker has taken this task over.")
        run.fence, run.status, run.error = start.fence, AgentRunStatus.RUNNING, None
        return replace(run.state, steps=dict(run.steps))

    async def record(
        self,
        place: Place,
        step: Step,
        *,
        changes: FileChanges,
        effect_key: str | None = None,
        within: Within | None = None,
    ) -> tuple[Artifact, ...]:
        written: tuple[Artifact, ...] = ()

        async def write(_connection: object) -> None:
            nonlocal written
            written = self._record(place, step, changes, effect_key)

        await (within(write) if within is not None else write(None))
        return written

    def _record(self, place: Place, step: Step, changes: FileChanges, effect_key: str | None) -> tuple[Artifact, ...]:
        run = self._held(place)
        before = dict(self.stored), list(self.acts)
        try:
            written = self._apply(place, changes)
        except Exception:
            self.stored, self.acts = before
            raise
        run.steps[step.key] = step
        run.state = replace(run.state, prompts={**run.state.prompts, **step.content.get("prompts", {})})
        if effect_key in run.effects:
            run.effects[effect_key] = "finished"
        return written

    async def newest(self, tenant_id: UUID, run_id: UUID, key: str) -> Mapping[str, Any] | None:
        found = [
            run.steps[key]
            for (its_run, _), run in self.runs.items()
            if (run.tenant_id, its_run) == (tenant_id, run_id) and key in run.steps
        ]
        return max(found, key=lambda step: step.ended_at).content if found else None

    async def begin_effect(self, place: Place, effect: EffectStart) -> bool:
        effects = self._held(place).effects
        may_begin = effects.get(effect.key) != "started"
        effects[effect.key] = "started"
        return may_begin

    async def finish(self, place: Place, status: AgentRunStatus, *, error: str | None = None) -> None:
        run = self._held(place)
        run.status, run.error = status, error

    async def of_run(self, tenant_id: UUID, run_id: UUID) -> list[Artifact]:
        return [
            file.artifact
            for (run, _), file in sorted(self.stored.items())
            if run == run_id and file.tenant_id == tenant_id
        ]

    async def of_agent_run(self, tenant_id: UUID, agent_run_id: UUID) -> list[Artifact]:
        return [
            file.artifact
            for _, file in sorted(self.stored.items())
            if file.agent_run_id == agent_run_id and file.tenant_id == tenant_id
        ]

    async def read(self, tenant_id: UUID, run_id: UUID, name: str) -> tuple[Artifact, bytes]:
        found = self.stored.get((run_id, file_name(name)))
        if found is None or found.tenant_id != tenant_id:
            raise FileNotFound(f"There is no file '{name}' in this run.", fields={"name": "not found"})
        return found.artifact, found.content

    async def put_input(self, tenant_id: UUID, run_id: UUID, *, name: str, media_type: str, content: bytes) -> Artifact:
        new = NewFile(name=file_name(name), content=content, media_type=media_type)
        check_sizes(new, self._sizes(run_id))
        artifact = replace(new.artifact, origin="input")
        self.stored[run_id, new.name] = _File(tenant_id, artifact, content, None)
        return artifact

    async def set_aside(self, tenant_id: UUID, run_id: UUID, tasks: Sequence[tuple[UUID, int]]) -> None:
        for task_id, fence in tasks:
            run = self.runs.get((run_id, task_id))
            if run is not None and run.fence <= fence:
                run.fence += 1
                self.aside.add((run_id, task_id))
                self.runs[run_id, uuid4()] = self.runs.pop((run_id, task_id))
                undone = [act for act in self.acts if (act.run_id, act.task_id) == (run_id, task_id)]
                self.acts = [act for act in self.acts if act not in undone]
                self._show(run_id, {act.name for act in undone})

    async def copy_files(self, tenant_id: UUID, run_id: UUID, *, to_run: UUID, tasks: Mapping[UUID, UUID]) -> None:
        for (of_run, name), file in list(self.stored.items()):
            if (file.tenant_id, of_run) == (tenant_id, run_id) and file.artifact.origin == "input":
                self.stored[to_run, name] = file
        for act in [act for act in self.acts if (act.tenant_id, act.run_id) == (tenant_id, run_id)]:
            if act.task_id not in tasks:
                continue
            task_id = tasks[act.task_id]
            file = None if act.file is None else replace(act.file, agent_run_id=None, task_id=task_id)
            self.acts.append(_Act(tenant_id, to_run, act.name, task_id, file))
        self._show(to_run, {act.name for act in self.acts if act.run_id == to_run})

    def _show(self, run_id: UUID, names: Iterable[str]) -> None:
        """Let the last act on each of these be what is there."""
        for name in names:
            last = next((act for act in reversed(self.acts) if (act.run_id, act.name) == (run_id, name)), None)
            self.stored.pop((run_id, name), None)
            if last is not None and last.file is not None:
                self.stored[run_id, name] = last.file

    def _held(self, place: Place) -> _Run:
        for run in self.runs.values():
            if run.state.agent_run_id == place.agent_run_id and run.fence == place.fence:
                return run
        raise LeaseLost("Another worker has taken this task over.")

    def _sizes(self, run_id: UUID) -> dict[str, int]:
        return {name: file.artifact.bytes for (run, name), file in self.stored.items() if run == run_id}

    def _apply(self, place: Place, changes: FileChanges) -> tuple[Artifact, ...]:
        for name in changes.removed:
            known = self.stored.get((place.run_id, name))
            if known is not None and known.artifact.origin == "output":
                del self.stored[place.run_id, name]
                self.acts.append(_Act(place.tenant_id, place.run_id, name, place.task_id, None))
        written = []
        for new in changes.written:
            name = file_name(new.name)
            known = self.stored.get((place.run_id, name))
            if known is not None and known.artifact.origin == "input":
                raise InputIsReadOnly(f"'{name}' is an input of the goal; write under another name.")
            check_sizes(replace(new, name=name), self._sizes(place.run_id))
            artifact = Artifact(
                name=name,
                media_type=new.media_type or media_type_of(name),
                bytes=len(new.content),
                sha256=sha256(new.content).hexdigest(),
                origin="output",
                task_id=place.task_id,
            )
            file = _File(place.tenant_id, artifact, new.content, place.agent_run_id, place.task_id)
            self.stored[place.run_id, name] = file
            self.acts.append(_Act(place.tenant_id, place.run_id, name, place.task_id, file))
            written.append(artifact)
        return tuple(written)
