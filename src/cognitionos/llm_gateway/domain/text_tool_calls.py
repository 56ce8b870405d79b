"""Tool calls that a weak model wrote as text: bare or fenced JSON, or between `<tool_call>` tags.

Only calls of offered names are recovered; anything else stays the text it is.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from cognitionos.kernel.json_text import read_json
from cognitionos.llm_gateway.domain.answer import first_choice
from cognitionos.llm_gateway.domain.chat import ToolCall

_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)
_FENCED = re.compile(r"```(?:json|tool_call|tool_code)?\s*\n(.*?)```", re.DOTALL)


def recovered_calls(text: str, *, offered: Collection[str], new_id: Callable[[], str]) -> tuple[ToolCall, ...]:
    """The calls in `text`; empty where there is none, or where one of them names what was not offered."""
    calls: list[ToolCall] = []
    for piece in _pieces(text):
        try:
            value = read_json(piece)
        except ValueError:
            return ()
        for wish in value if isinstance(value, list) else [value]:
            call = _call(wish, offered=offered, new_id=new_id)
            if call is None:
                return ()
            calls.append(call)
    return tuple(calls)


def with_recovered_calls(
    wire: dict[str, Any], *, offered: Collection[str], new_id: Callable[[], str]
) -> dict[str, Any] | None:
    """The answer with its text turned into the tool calls it spells; None where it spells none."""
    choice = first_choice(wire)
    message = choice.get("message") or {}
    content = message.get("content")
    if not offered or message.get("tool_calls") or not isinstance(content, str):
        return None
    calls = recovered_calls(content, offered=offered, new_id=new_id)
    if not calls:
        return None
    fixed = dict(message) | {"content": None, "tool_calls": [call.wire() for call in calls]}
    rest = wire["choices"][1:]
    return wire | {"choices": [dict(choice) | {"message": fixed, "finish_reason": "tool_calls"}, *rest]}


def _pieces(text: str) -> list[str]:
    text = text.strip()
    for pattern in (_TAGGED, _FENCED):
        found = pattern.findall(text)
        if found:
            return [piece.strip() for piece in found]
    return [text] if text.startswith(("{", "[")) else []


def _call(wish: object, *, offered: Collection[str], new_id: Callable[[], str]) -> ToolCall | None:
    if isinstance(wish, Mapping) and isinstance(wish.get("function"), Mapping):
        wish = wish["function"]
    if not isinstance(wish, Mapping):
        return None
    name = wish.get("name") or wish.get("function") or wish.get("tool")
    arguments = next((wish[key] for key in ("arguments", "parameters", "args", "input") if key in wish), None)
    if not isinstance(name, str) or name not in offered:
        return None
    if isinstance(arguments, str):
        try:
            arguments = read_json(arguments)
        except ValueError:
            return None
    if not isinstance(arguments, Mapping | None):
        return None
    return ToolCall(id=new_id(), name=name, arguments=json.dumps(arguments or {}))
