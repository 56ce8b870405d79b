"""Performing a task and answering a question: opened from the journal, worked on, closed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.agents.application.assignment import (
    Answer,
    Assignment,
    Chat,
    DirectCall,
    DirectResult,
    Identity,
    Outcome,
    Question,
)
from cognitionos.agents.application.conversation import asked, objections, opening_of
from cognitionos.agents.application.grounding import Claims, Draft, sent_back
from cognitionos.agents.application.hand_off import Stage
from cognitionos.agents.application.loop import Loop
from cognitionos.agents.application.ports import Files, Journal, Models, Observer, Roster
from cognitionos.agents.application.review import Review
from cognitionos.agents.application.session import Session
from cognitionos.agents.application.thinking import Thinking, json_read
from cognitionos.agents.domain.agent_run import (
    AgentFailed,
    AgentRunStart,
    AgentRunState,
    AgentRunStatus,
    ToolFailed,
    ToolUnavailable,
)
from cognitionos.agents.domain.conversation import opening_of_turn
from cognitionos.agents.domain.role import BUILT_IN_VERSION, AgentDefinition, AgentNotFound
from cognitionos.agents.domain.room import room_of
from cognitionos.agents.domain.tool import CallOutcome, ToolSpec
from cognitionos.agents.domain.verdict import MOST_ROUNDS, Verdict, send_back
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.json_text import storable
from cognitionos.llm_gateway.facade import BudgetExhausted, ToolCall, system, user
from cognitionos.platform.telemetry import span


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRuns:
    """Agents at work. Everything a performance needs is in its assignment and its journal, nothing in this process."""

    roster: Roster
    journal: Journal
    files: Files
    models: Models
    loop: Loop
    thinking: Thinking
    review: Review
    claims: Claims
    observe: Observer
    now: Clock
    new_id: Callable[[], UUID]

    async def perform(self, assignment: Assignment) -> Outcome:
        """Do the task, or go on with it where its journal ends. The facade names what it raises."""
        lead = await self._agent(assignment, assignment.role, version=assignment.version)
        critics = [each for each in assignment.critics if each != lead.role] if assignment.review else []
        roles = [lead, *await self._roles(assignment, critics)]
        files = await self.files.of_run(assignment.tenant_id, assignment.run_id)
        prompt = await self.roster.prompt(assignment.tenant_id, roles[0].prompt)
        opening = opening_of(prompt.text, assignment, files, characters=await self._characters(assignment, lead))
        async with self._session(assignment, roles, opening) as session:
            stage = Stage(definition=session.agent(assignment.role), opening=session.state.opening, rest=[])
            draft, rounds = await self._drafts(session, stage, judged=assignment if assignment.review else None)
            return await self._outcome(session, draft, rounds=rounds)

    async def converse(self, chat: Chat) -> Outcome:
        """Answer a message, or go on with it where its journal ends. Raises as `perform`."""
        roles = await self._roles(chat, [chat.role])
        prompt = await self.roster.prompt(chat.tenant_id, roles[0].prompt)
        room = room_of(roles[0].limits, await self.models.window(chat.tenant_id, roles[0].model))
        half = room.prompt // 2  # the other half is for this turn's own steps
        opening = opening_of_turn(system(prompt.text), chat.exchange, limit=half)
        async with self._session(chat, roles, opening) as session:
            stage = Stage(definition=session.agent(chat.role), opening=session.state.opening, rest=[])
            stage.opening = await self.loop.folding.talk(session, stage, chat.exchange, limit=half)
            draft, _ = await self._drafts(session, stage, judged=None)
            return await self._outcome(session, draft, rounds=0)

    async def ask(self, question: Question) -> Answer:
        """One answer that is to be JSON. The facade names what it raises."""
        [definition] = await self._roles(question, [question.role])
        prompt = await self.roster.prompt(question.tenant_id, definition.prompt)
        opening = asked(prompt.text, question, characters=await self._characters(question, definition))
        async with self._session(question, [definition], opening) as session:
            key = f"{definition.role}/{len(question.previous)}"
            step = await self.thinking.json_said(
                session,
                f"{key}/0",
                definition=definition,
                messages=[*session.state.opening, *objections(question)],
                schema=question.schema,
            )
            step = session.done(f"{key}/1") or step  # earlier versions asked again by themselves for what was no JSON
            value, fault = json_read(step.content["text"])
            totals = session.totals
            return Answer(
                value=value,
                fault=fault,
                text=step.content["text"],
                model=step.model,
                simulated=step.simulated,
                prompt_version=session.state.prompts[definition.role],
                cost_nanousd=totals.cost_nanousd,
                prompt_tokens=totals.prompt_tokens,
                completion_tokens=totals.completion_tokens,
            )

    async def call_tool(self, call: DirectCall) -> DirectResult:
        """One tool call, journaled like an agent's. The facade names what it raises."""
        [definition] = await self._roles(call, [call.role])
        name = ToolSpec(name=call.tool, description="", parameters={}).wire_name
        wanted = ToolCall(id=call.task_key, name=name, arguments=json.dumps(call.arguments))
        async with self._session(call, [definition], ()) as session:
            step = await self.loop.toolbox.call_alone(
                session, f"{call.role}/tool.0", definition=definition, call=wanted, given=call.arguments
            )
            content = json.loads(step.content["result"])
            if step.content["outcome"] != CallOutcome.OK.value:
                failed = ToolUnavailable if step.content.get("passes") else ToolFailed
                raise failed(f"The tool '{call.tool}' gave no result: {_reason(content)}")
        return DirectResult(content=content, files=tuple(step.content["files"]))

    async def _characters(self, identity: Identity, lead: AgentDefinition) -> int | None:
        """What the agent's first question has room for, where its model's window is what bounds it."""
        return room_of(lead.limits, await self.models.window(identity.tenant_id, lead.model)).characters

    async def _roles(self, identity: Identity, names: Sequence[str]) -> list[AgentDefinition]:
        """The agents of these names as they are now, each once."""
        return [await self._agent(identity, name) for name in dict.fromkeys(names)]

    async def _agent(self, identity: Identity, name: str, *, version: int | None = None) -> AgentDefinition:
        """The agent as it is now; one that was deleted, as the run or the conversation began with it."""
        try:
            return await self.roster.agent(identity.tenant_id, name, version=version)
        except AgentNotFound:
            version = await self.journal.began_with(identity.tenant_id, identity.run_id, name)
            if version is None:
                raise
            return await self.roster.agent(identity.tenant_id, name, version=version)

    async def _drafts(self, session: Session, stage: Stage, *, judged: Assignment | None) -> tuple[Draft, int]:
        """The draft that stands, and how often critics looked at it; without critics, an agent that is asked about
        claims of its own is asked once.
        """
        for number in range(MOST_ROUNDS):
            text, stage = await self.loop.draft(session, stage, number=number)
            draft = await self.claims.checked(session, stage, text, number=number)
            if judged is not None:
                verdict = await self.review.judge(session, assignment=judged, draft=draft)
                if not verdict.accepted:
                    stage.rest.append(user(send_back(verdict)))
                    continue
            elif draft.doubts and number == 0:
                stage.rest.append(user(sent_back(draft)))
                continue
            await self.claims.must_stand(session, draft)
            return draft, 0 if judged is None else number + 1
        raise _rejected(session.identity, verdict)

    @asynccontextmanager
    async def _session(
        self, identity: Identity, roles: Sequence[AgentDefinition], opening: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[Session]:
        """The agent run, open for work under its limits; closed with how it ended."""
        with span("agent.run", attributes={"agent.role": roles[0].role, "task.key": identity.task_key}):
            session = await self._open(identity, roles, opening)
            lead = session.agent(roles[0].role)
            is_alone = isinstance(identity, DirectCall)  # no agent is at work: its limits are not the task's
            seconds = identity.deadline_s if is_alone else min(identity.deadline_s, lead.limits.seconds)
            try:
                async with asyncio.timeout(seconds) as limit:
                    yield session
            except (AgentFailed, BudgetExhausted, ToolUnavailable) as error:
                await session.finish(AgentRunStatus.FAILED, error=error.detail)
                raise
            except TimeoutError as error:
                if not limit.expired():
                    raise
                late = session.over(lead, f"did not end within {seconds:g} s.", limit="seconds")
                await session.finish(AgentRunStatus.FAILED, error=late.detail)
                raise late from error
            await session.finish(AgentRunStatus.SUCCEEDED)

    async def _open(
        self, identity: Identity, roles: Sequence[AgentDefinition], opening: Sequence[Mapping[str, Any]]
    ) -> Session:
        start = AgentRunStart(
            agent_run_id=self.new_id(),
            tenant_id=identity.tenant_id,
            run_id=identity.run_id,
            task_id=identity.task_id,
            task_key=identity.task_key,
            fence=identity.fence,
            role=roles[0].role,
            prompts={role.role: role.prompt for role in roles},
            opening=tuple(storable(list(opening))),
            started_at=self.now(),
            definitions={role.role: role.version for role in roles if not role.is_built_in},
        )
        state = await self.journal.open(start)
        begun = {role.role: await self._as_begun(identity, role, state) for role in roles}
        session = Session(
            identity=identity,
            journal=self.journal,
            observe=self.observe,
            state=state,
            roles=begun,
            chain=[begun[roles[0].role]],
        )
        if state.steps:
            self.observe.resumed(len(state.steps))
            await session.report("agent.resumed", {"role": roles[0].role, "steps": len(state.steps)})
        else:
            limit = session.agent(roles[0].role).limits.cost_nanousd
            await self.models.open_budget(identity.tenant_id, f"agent_run:{state.agent_run_id}", limit)
        return session

    async def _as_begun(self, identity: Identity, role: AgentDefinition, state: AgentRunState) -> AgentDefinition:
        """The agent in the version that the run began with, whatever has become of it since."""
        began_as = BUILT_IN_VERSION if role.role in state.prompts else role.version
        version = state.definitions.get(role.role, began_as)
        if version == role.version:
            return role
        return await self.roster.agent(identity.tenant_id, role.role, version=version)

    async def _outcome(self, session: Session, draft: Draft, *, rounds: int) -> Outcome:
        model, simulated = session.last_model
        totals = session.totals
        artifacts = await self.files.of_agent_run(session.identity.tenant_id, session.state.agent_run_id)
        return Outcome(
            text=draft.text,
            artifacts=tuple(artifacts),
            model=model,
            simulated=simulated,
            prompt_versions=session.prompts,
            cost_nanousd=totals.cost_nanousd,
            prompt_tokens=totals.prompt_tokens,
            completion_tokens=totals.completion_tokens,
            steps=totals.steps,
            rounds=rounds,
            check=draft.check,
        )


def _reason(content: Any) -> str:
    """Why a call did not work, in the tool's own words; the end of a traceback says most."""
    told = content if isinstance(content, dict) else {}
    words = [str(told[name]) for name in ("error", "stderr") if told.get(name)]
    return "; ".join(words)[-2_000:] or "it did not say why"


def _rejected(identity: Identity, verdict: Verdict) -> AgentFailed:
    reasons = "; ".join(verdict.reasons)
    return AgentFailed(
        f"The critic rejected the result of task '{identity.task_key}' {MOST_ROUNDS} times; at last: {reasons}"
    )
