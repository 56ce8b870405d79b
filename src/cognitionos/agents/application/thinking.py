"""One question to a model, journaled: asked once, however often the task is taken up again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from cognitionos.agents.application.assignment import HearWords
from cognitionos.agents.application.conversation import NOTHING
from cognitionos.agents.application.ports import Models
from cognitionos.agents.application.request_digest import request_digest
from cognitionos.agents.application.session import Session
from cognitionos.agents.domain.agent_run import AgentFailed, Step, StepKind
from cognitionos.agents.domain.context_window import Message, estimated_tokens, pack
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.agents.domain.room import LEAST_ANSWER, Room, room_of
from cognitionos.agents.domain.structured import json_in
from cognitionos.kernel.clock import Clock
from cognitionos.kernel.json_schema import faults_of, in_words
from cognitionos.kernel.json_text import storable
from cognitionos.llm_gateway.facade import (
    ANEW,
    USUAL,
    ChatRequest,
    ChatResult,
    StreamBroken,
    assistant,
    json_schema,
    user,
)
from cognitionos.platform.crash_points import crash_point, declare

AFTER_MODEL_ANSWER = declare("agents.after_model_answer")
ATTEMPTS_AT_JSON = 2
TIMES_LISTENED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """Asks models for agents."""

    models: Models
    now: Clock

    async def room(
        self, session: Session, definition: AgentDefinition, *, beside: Sequence[Mapping[str, Any]] = ()
    ) -> Room:
        """What one question of this agent may show its model, with `beside` (tools, a schema) told too.

        Where the model's window is what bounds it, that is a step of the journal: a replay needs it.
        """
        key = f"window/{definition.role}"
        if key not in session.windows:
            done = session.done(key)
            window = done.content["tokens"] if done is not None else None
            if done is None:
                window = await self.models.window(session.identity.tenant_id, definition.model)
                if room_of(definition.limits, window).window is not None:
                    await session.record(_window(key, definition, window, at=self.now()))
            session.windows[key] = window
        room = room_of(definition.limits, session.windows[key])
        if room.window is None or not beside:
            return room
        return replace(room, prompt=room.prompt - estimated_tokens([{"tool_calls": list(beside)}]))

    async def answer(
        self,
        session: Session,
        key: str,
        *,
        definition: AgentDefinition,
        opening: Sequence[Message],
        rest: Sequence[Message] = (),
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> Step:
        """What the model says next; from the journal if it has said it before. `more` is journaled with it."""
        done = session.done(key)
        if done is not None:
            return done
        room = await self.room(session, definition, beside=tools)
        request = _request(session, definition, opening, rest, room=room)
        if tools:
            request = replace(request, tools=tuple(tools), tool_choice=tool_choice)
        return await self._ask(session, key, definition=definition, request=request, kind=StepKind.MODEL, more=more)

    async def structured(
        self,
        session: Session,
        key: str,
        *,
        definition: AgentDefinition,
        messages: Sequence[Message],
        schema: Mapping[str, Any],
        kind: StepKind = StepKind.MODEL,
    ) -> Any:
        """A JSON answer that fits. One that does not is asked for once more, with its faults named.

        Raises `AgentFailed` when the second is no better.
        """
        asked = list(messages)
        fault, model = "", None
        for attempt in range(ATTEMPTS_AT_JSON):
            step = await self.json_said(
                session, f"{key}/{attempt}", definition=definition, messages=asked, schema=schema, kind=kind
            )
            text, model = step.content["text"], step.model
            value, fault = json_read(text, schema)
            if not fault:
                return value
            asked += [assistant(text or NOTHING), user(f"That does not fit: {fault}. Answer with JSON only.")]
        raise AgentFailed(f"The {definition.role} did not answer as asked: {fault}. The model was {model}.")

    async def json_said(
        self,
        session: Session,
        key: str,
        *,
        definition: AgentDefinition,
        messages: Sequence[Message],
        schema: Mapping[str, Any],
        kind: StepKind = StepKind.MODEL,
    ) -> Step:
        """What the model says when it is asked for JSON of this schema, whatever that is; asked once."""
        done = session.done(key)
        if done is not None:
            return done
        room = await self.room(session, definition, beside=[schema])
        request = _request(session, definition, messages[:2], messages[2:], room=room)
        request = replace(request, response_format=json_schema(definition.role, schema))
        return await self._ask(session, key, definition=definition, request=request, kind=kind)

    async def _ask(
        self,
        session: Session,
        key: str,
        *,
        definition: AgentDefinition,
        request: ChatRequest,
        kind: StepKind,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> Step:
        started = self.now()
        hear = None if more else session.identity.hear  # nobody listens to what sums up
        asking = estimated_tokens(request.messages)
        session.asking[definition.role] += asking  # critics are asked side by side
        try:
            result = await self._said(session, key, definition=definition, request=request, hear=hear)
        finally:
            session.asking[definition.role] -= asking
        step = Step(
            key=key,
            role=definition.role,
            kind=kind,
            content=storable({**_content(result), "request": request_digest(request), **more}),
            started_at=started,
            ended_at=self.now(),
            model=result.model,
            simulated=result.simulated,
            cost_nanousd=result.cost_nanousd,
            prompt_tokens=result.usage.prompt,
            completion_tokens=result.usage.completion,
        )
        await session.record(step)
        crash_point(AFTER_MODEL_ANSWER)
        return step

    async def _said(
        self, session: Session, key: str, *, definition: AgentDefinition, request: ChatRequest, hear: HearWords | None
    ) -> ChatResult:
        """The answer; its words go to whoever listens. Where they broke off they are taken back and asked for again,
        the last time without a stream, which the gateway tries elsewhere by itself.
        """
        if hear is not None:
            for _ in range(TIMES_LISTENED):
                try:
                    return await self.models.listen(session.caller, request, partial(hear, definition.role, key))
                except StreamBroken:
                    await session.report("agent.restarted", {"role": definition.role, "step": key})
        return await self.models.complete(session.caller, request)


def _request(
    session: Session, definition: AgentDefinition, opening: Sequence[Message], rest: Sequence[Message], *, room: Room
) -> ChatRequest:
    """What is asked, within what one call may show and what the role has left. Raises `AgentFailed` for too little."""
    limits, left = definition.limits, session.tokens_left(definition)
    messages = pack(opening, rest, limit=min(room.prompt, left))
    asking = estimated_tokens(messages)
    if asking >= left:
        raise session.over(
            definition, f"has {left} of its {limits.tokens} tokens left; its next question alone is about {asking}."
        )
    completion = room.completion
    if room.window is not None and asking > room.prompt:
        completion -= asking - room.prompt
        if completion < LEAST_ANSWER:
            words = f"cannot ask its model, which reads {room.window} tokens: the question alone is about {asking}."
            raise session.over(definition, words, limit="context window")
    return ChatRequest(
        messages=tuple(messages),
        model=definition.model,
        temperature=definition.temperature,
        max_tokens=min(completion, left - asking),
        deadline_s=limits.seconds,
        cache_wish=ANEW if session.asks_anew else USUAL,
        role=definition.role,
    )


def _window(key: str, definition: AgentDefinition, window: int | None, *, at: datetime) -> Step:
    """What bounds the agent's questions, as a step."""
    content = {"text": f"The model of the {definition.role} reads {window} tokens.", "tokens": window}
    return Step(key=key, role=definition.role, kind=StepKind.DECISION, content=content, started_at=at, ended_at=at)


def _content(result: ChatResult) -> dict[str, Any]:
    return {
        "text": result.text,
        "tool_calls": [call.wire() for call in result.tool_calls],
        "finish_reason": result.finish_reason,
        "call_id": str(result.call_id),
    }


def json_read(text: str, schema: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, str]:
    """The JSON in `text` and what is wrong with it; nothing where it is JSON and fits."""
    try:
        value = json_in(text)
    except ValueError as error:
        return None, f"it is not JSON ({error})"
    return value, in_words(faults_of(value, schema))
