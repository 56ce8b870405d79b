"""Think, act, observe, until the model answers without a tool call; each step is journaled before the next begins."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.folding import Folding
from cognitionos.agents.application.hand_off import Stage, handed_to, next_stage
from cognitionos.agents.application.ports import Roster
from cognitionos.agents.application.session import Session
from cognitionos.agents.application.thinking import Thinking
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.agent_run import Step
from cognitionos.llm_gateway.facade import ToolCall, assistant, tool_result, user

_SAY_SOMETHING = "You gave no answer. Give your result as text now."
_NOTHING = "(nothing)"  # several providers refuse an empty message
_CUT = "\n\n[The answer was cut here: it reached the limit of one answer.]"
_TURNS_BEYOND_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Drives one agent, and those it hands its task to, through one draft."""

    thinking: Thinking
    folding: Folding
    toolbox: Toolbox
    roster: Roster

    async def draft(self, session: Session, stage: Stage, *, number: int) -> tuple[str, Stage]:
        """The text, and whose it is: who goes on if it is sent back. The stage's conversation is continued in place.

        Raises `AgentFailed` when it comes to no end.
        """
        while True:
            ended = await self._work(session, stage, number=number)
            if isinstance(ended, str):
                return ended, stage
            stage = await next_stage(session, stage, call=ended, roster=self.roster, now=self.thinking.now)

    async def _work(self, session: Session, stage: Stage, *, number: int) -> str | Mapping[str, Any]:
        """One agent's text, or its hand-off as the tool's arguments."""
        definition, rest = stage.allowed, stage.rest
        offered = await self.toolbox.offered(session.identity.tenant_id, definition)
        for turn in range(definition.limits.tool_calls + _TURNS_BEYOND_CALLS):
            key = f"{definition.role}/{stage.place(number)}/{turn}"
            await self.folding.fit(session, stage, key, tools=offered)
            step = await self.thinking.answer(
                session,
                key,
                definition=definition,
                opening=stage.shown,
                rest=rest,
                tools=offered,
                tool_choice=None if session.calls_left(definition) else "none",
            )
            calls = _calls(step)
            rest.append(assistant(step.content["text"] or ("" if calls else _NOTHING), tool_calls=calls))
            if calls:
                ended = await self.toolbox.call_all(session, key, definition=definition, calls=calls)
                rest.extend(tool_result(each.content["call_id"], each.content["result"]) for each in ended)
                handed = handed_to(ended)
                if handed is not None:
                    arguments: Mapping[str, Any] = json.loads(handed.content["arguments"])
                    return arguments
            elif step.content["text"].strip():
                return _text(step)
            else:
                rest.append(user(_SAY_SOMETHING))
        raise session.over(
            definition, f"came to no result within its {definition.limits.tool_calls} tool calls.", limit="tool_calls"
        )


def _calls(step: Step) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in step.content["tool_calls"]
    )


def _text(step: Step) -> str:
    text: str = step.content["text"].strip()
    return text + _CUT if step.content["finish_reason"] == "length" else text
