"""Agents done again from their journals: the same code, with recorded answers of models and results of tools.

No model is called and no tool is run. The first question that is put otherwise than it was recorded is a divergence.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.agents.application.assignment import Answer, Assignment, DirectCall, DirectResult, Outcome, Question
from cognitionos.agents.application.ports import EffectStart, Within, no_kit
from cognitionos.agents.application.request_digest import request_digest
from cognitionos.agents.application.runs import AgentRuns
from cognitionos.agents.domain.agent_run import AgentRunStart, AgentRunState, AgentRunStatus, Place, Step, StepKind
from cognitionos.agents.domain.tool import MAX_ARGUMENT_CHARACTERS, CallOutcome, clipped
from cognitionos.agents.domain.workspace import Artifact, FileChanges, FileNotFound
from cognitionos.kernel.json_text import storable
from cognitionos.llm_gateway.facade import Caller, ChatRequest, ChatResult, Hear, ToolCall, Usage

_AHEAD = (StepKind.TOOL, StepKind.DECISION)


class Diverged(Exception):
    """The replay does not do what was recorded: at which step, in what, and how."""

    def __init__(self, step: str, field_name: str, *, expected: Any, actual: Any) -> None:
        super().__init__(f"{step}: {field_name}")
        self.step, self.field_name, self.expected, self.actual = step, field_name, expected, actual


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAgentRun:
    """A finished journal. `steps` in the order in which they were finished."""

    task_id: UUID
    prompts: Mapping[str, str]
    opening: tuple[Mapping[str, Any], ...]
    steps: tuple[Step, ...]
    definitions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> "RecordedAgentRun":
        """From JSON."""
        return cls(
            task_id=UUID(recorded["task_id"]),
            prompts=recorded["prompts"],
            opening=tuple(recorded["opening"]),
            definitions=recorded.get("definitions", {}),
            steps=tuple(_step(each) for each in recorded["steps"]),
        )


@dataclass(kw_only=True)
class _Replayed:
    """Stands where models, journal, files and metrics are; `left` are the answers that nobody has asked for yet.

    `unasked` is the key of one that earlier versions asked for within a round of questions, and this one does not.
    """

    recorded: RecordedAgentRun
    agent_run_id: UUID
    unasked: str = ""
    left: list[Step] = field(init=False)
    served: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Every answer is there, none has been asked for."""
        self.left = [step for step in self.recorded.steps if not self._is_ahead(step) and not self._is_settled(step)]

    def _is_ahead(self, step: Step) -> bool:
        return step.kind in _AHEAD or step.key == self.unasked

    def _is_settled(self, step: Step) -> bool:
        """Whether it is a vote (`critic/0.2/0`) of critics whose consensus (`consensus/0`) was recorded."""
        number = step.key.partition("/")[2].partition(".")[0]
        is_vote = step.kind is StepKind.VERDICT and "." in step.key
        return is_vote and any(each.key == f"consensus/{number}" for each in self.recorded.steps)

    async def complete(self, _caller: Caller, request: ChatRequest, /) -> ChatResult:
        """The recorded answer to this question."""
        actual = request_digest(request)
        if not self.left:
            raise Diverged("after the last step", "step", expected=None, actual="another question to a model")
        fits = (step for step in self.left if step.content.get("request") in (None, actual))
        step = next(fits, None)
        if step is None:
            raise _difference(self.left[0], actual)
        self.left.remove(step)
        self.served.append(step)
        return _answer(step)

    async def window(self, _tenant_id: UUID, _model: str | None, /) -> int | None:
        """A window that bounded a question is in the journal."""
        return None

    async def listen(self, caller: Caller, request: ChatRequest, _hear: Hear, /) -> ChatResult:
        """As `complete`: nobody listens to what was said before."""
        return await self.complete(caller, request)

    async def open_budget(self, _tenant_id: UUID, _subject: str, _limit: int, /) -> None:
        """Nothing is paid."""

    async def open(self, start: AgentRunStart) -> AgentRunState:
        """As it began, with what its tools answered ahead, and what is not asked for any more."""
        ahead = {step.key: step for step in self.recorded.steps if self._is_ahead(step)}
        opening = self.recorded.opening or start.opening
        return AgentRunState(
            agent_run_id=self.agent_run_id,
            prompts=self.recorded.prompts,
            opening=opening,
            ahead=ahead,
            definitions=self.recorded.definitions,
        )

    async def began_with(self, _tenant_id: UUID, _run_id: UUID, role: str, /) -> int | None:
        """As recorded."""
        return self.recorded.definitions.get(role)

    async def record(
        self,
        place: Place,
        step: Step,
        *,
        changes: FileChanges,
        effect_key: str | None = None,
        within: Within | None = None,
    ) -> tuple[Artifact, ...]:
        """The step must be the one whose answer was given."""
        if not self.served:
            raise Diverged(step.key, "step", expected=None, actual=f"{step.kind} {step.key}")
        expected = self.served.pop()
        if expected.key != step.key:
            raise Diverged(expected.key, "key", expected=expected.key, actual=step.key)
        return ()

    async def begin_effect(self, place: Place, effect: EffectStart) -> bool:
        """A tool that was not recorded would be run here."""
        raise Diverged(effect.step_key, "step", expected=None, actual=f"tool {effect.tool}")

    async def newest(self, _tenant_id: UUID, _run_id: UUID, _key: str, /) -> Mapping[str, Any] | None:
        """Of conversations, which are not replayed."""
        return None

    async def finish(self, place: Place, status: AgentRunStatus, *, error: str | None = None) -> None:
        """Everything recorded must have happened."""
        if status is AgentRunStatus.SUCCEEDED and self.left:
            raise Diverged(self.left[0].key, "step", expected=self.left[0].key, actual=None)

    async def of_run(self, tenant_id: UUID, run_id: UUID) -> list[Artifact]:
        """What the opening says of files is recorded with it."""
        return []

    async def of_agent_run(self, tenant_id: UUID, agent_run_id: UUID) -> list[Artifact]:
        """What tools had written before the next answer that nobody has asked for."""
        files: dict[str, Artifact] = {}
        for step in self.recorded.steps:
            if self.left and step is self.left[0]:
                break
            for name in step.content.get("removed", ()):
                files.pop(name, None)
            for name, media_type, size in step.content.get("wrote", ()):
                files[name] = Artifact(name=name, media_type=media_type, bytes=size, sha256="", origin="output")
        return [files[name] for name in sorted(files)]

    async def read(self, tenant_id: UUID, run_id: UUID, name: str) -> tuple[Artifact, bytes]:
        """No tool runs, so nobody reads."""
        raise FileNotFound(f"There is no file '{name}' in a replay.")

    async def put_input(self, tenant_id: UUID, run_id: UUID, *, name: str, media_type: str, content: bytes) -> Artifact:
        """No tool runs, so nobody writes."""
        raise FileNotFound(f"There is no file '{name}' in a replay.")

    def step(self, step: Step) -> None:
        """Not counted."""

    def tool_call(self, tool: str, outcome: CallOutcome, seconds: float) -> None:
        """Not counted."""

    def verdict(self, *, accepted: bool) -> None:
        """Not counted."""

    def resumed(self, steps: int) -> None:
        """Not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentReplay:
    """The agents of one recorded run. Raises `Diverged` where they would do otherwise than they did."""

    runs: AgentRuns
    recorded: Mapping[UUID, RecordedAgentRun]

    @classmethod
    def of(cls, runs: AgentRuns, recorded: Sequence[Mapping[str, Any]]) -> "AgentReplay":
        """From the JSON of the journals."""
        made = [RecordedAgentRun.of(each) for each in recorded]
        return cls(runs=runs, recorded={each.task_id: each for each in made})

    async def perform(self, assignment: Assignment) -> Outcome:
        """What the agent gives this time."""
        return await self._replaying(assignment.task_id).perform(assignment)

    async def ask(self, question: Question) -> Answer:
        """What the agent answers this time; each round of questions has its own part of the journal."""
        prefix = f"{question.role}/{len(question.previous)}/"
        return await self._replaying(question.task_id, prefix=prefix).ask(question)

    async def call_tool(self, call: DirectCall) -> DirectResult:
        """What the tool had given, if it is called with the same arguments."""
        replaying = self._replaying(call.task_id)
        fitting = [storable(clipped(text, MAX_ARGUMENT_CHARACTERS)) for text in _arguments(call)]
        for step in self.recorded[call.task_id].steps:
            if step.kind is StepKind.TOOL and step.content["arguments"] not in fitting:
                raise Diverged(step.key, "arguments", expected=step.content["arguments"], actual=fitting[0])
        return await replaying.call_tool(call)

    def _replaying(self, task_id: UUID, prefix: str = "") -> AgentRuns:
        found = self.recorded.get(task_id)
        if found is None:
            raise Diverged("before the first step", "journal", expected=None, actual="an agent at work")
        steps = tuple(step for step in found.steps if step.key.startswith(prefix) or step.kind in _AHEAD)
        unasked = f"{prefix}1" if prefix else ""
        stand_in = _Replayed(recorded=replace(found, steps=steps), agent_run_id=task_id, unasked=unasked)
        thinking = replace(self.runs.thinking, models=stand_in)
        return replace(
            self.runs,
            models=stand_in,
            journal=stand_in,
            files=stand_in,
            observe=stand_in,
            thinking=thinking,
            loop=replace(
                self.runs.loop,
                thinking=thinking,
                folding=replace(self.runs.loop.folding, thinking=thinking, recorded={step.key: step for step in steps}),
                toolbox=replace(self.runs.loop.toolbox, observe=stand_in, kit_of=no_kit),
            ),
            review=replace(self.runs.review, thinking=thinking, files=stand_in, observe=stand_in),
        )


def _arguments(call: DirectCall) -> list[str]:
    """As they are journaled, and as earlier versions did: they wrote the input of code into the code."""
    texts, given = [json.dumps(call.arguments)], call.arguments
    if call.tool == "python" and "input" in given:
        pasted = f"import json; data = json.loads({json.dumps(given['input'])!r})\n{given['code']}"
        texts.append(json.dumps({"code": pasted}))
    return texts


def _difference(step: Step, actual: Mapping[str, Any]) -> Diverged:
    """The first field of the request that is not as recorded."""
    expected = step.content["request"]
    for name in ("model", "temperature", "max_tokens", "tool_choice"):
        if expected.get(name) != actual[name]:
            return Diverged(step.key, f"request.{name}", expected=expected.get(name), actual=actual[name])
    were, are = expected["messages"], actual["messages"]
    for number, (was, now) in enumerate(zip(were, are, strict=False)):
        if was != now:
            return Diverged(step.key, f"request.messages.{number}", expected=was, actual=now)
    return Diverged(step.key, "request.messages", expected=len(were), actual=len(are))


def _answer(step: Step) -> ChatResult:
    content = step.content
    calls = content.get("tool_calls") or ()
    return ChatResult(
        call_id=UUID(content["call_id"]),
        text=content["text"],
        tool_calls=tuple(
            ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
            for call in calls
        ),
        finish_reason=content["finish_reason"],
        provider="journal",
        model=step.model,
        usage=Usage(prompt=step.prompt_tokens, completion=step.completion_tokens),
        cost_nanousd=step.cost_nanousd,
        simulated=step.simulated,
        wire={},
    )


def _step(recorded: Mapping[str, Any]) -> Step:
    return Step(
        key=recorded["key"],
        role=recorded["role"],
        kind=StepKind(recorded["kind"]),
        content=recorded["content"],
        started_at=datetime.fromisoformat(recorded["started_at"]),
        ended_at=datetime.fromisoformat(recorded["ended_at"]),
        model=recorded["model"],
        simulated=recorded["simulated"],
        cost_nanousd=recorded["cost_nanousd"],
        prompt_tokens=recorded["prompt_tokens"],
        completion_tokens=recorded["completion_tokens"],
    )
