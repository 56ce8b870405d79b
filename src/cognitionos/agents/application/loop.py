"""Think, act, observe, until the model answers without a tool call; each step is journaled before the next begins."""

from collections.abc import Sequence
from dataclasses import dataclass

from cognitionos.agents.application.session import Session
from cognitionos.agents.application.thinking import Thinking
from cognitionos.agents.application.toolbox import Toolbox
from cognitionos.agents.domain.agent_run import AgentFailed, Step
from cognitionos.agents.domain.context_window import Message
from cognitionos.agents.domain.role import AgentDefinition
from cognitionos.llm_gateway.facade import ToolCall, assistant, tool_result, user

_SAY_SOMETHING = "You gave no answer. Give your result as text now."
_NOTHING = "(nothing)"  # several providers refuse an empty message
_CUT = "\n\n[The answer was cut here: it reached the limit of one answer.]"
_TURNS_BEYOND_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Drives one agent through one draft."""

    thinking: Thinking
    toolbox: Toolbox

    async def draft(
        self,
        session: Session,
        definition: AgentDefinition,
        *,
        number: int,
        opening: Sequence[Message],
        rest: list[Message],
    ) -> str:
        """The agent's text. `rest` is the conversation since the opening and is continued in place.

        Raises `AgentFailed` when it comes to no end.
        """
        offered = await self.toolbox.offered(session.identity.tenant_id, definition)
        for turn in range(definition.limits.tool_calls + _TURNS_BEYOND_CALLS):
            key = f"{definition.role}/{number}/{turn}"
            step = await self.thinking.answer(
                session,
                key,
                definition=definition,
                opening=opening,
                rest=rest,
                tools=offered,
                tool_choice=None if session.calls_left(definition) else "none",
            )
            calls = _calls(step)
            rest.append(assistant(step.content["text"] or ("" if calls else _NOTHING), tool_calls=calls))
            if calls:
                ended = await self.toolbox.call_all(session, key, definition=definition, calls=calls)
                rest.extend(tool_result(each.content["call_id"], each.content["result"]) for each in ended)
            elif step.content["text"].strip():
                return _text(step)
            else:
                rest.append(user(_SAY_SOMETHING))
        raise AgentFailed(
            f"The {definition.role} of task '{session.identity.task_key}' came to no result within its "
            f"{definition.limits.tool_calls} tool calls."
        )


def _calls(step: Step) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in step.content["tool_calls"]
    )


def _text(step: Step) -> str:
    text: str = step.content["text"].strip()
    return text + _CUT if step.content["finish_reason"] == "length" else text
