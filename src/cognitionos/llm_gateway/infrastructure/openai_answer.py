"""The shape of a whole answer in OpenAI's format: looked at before it is accepted and booked."""

from collections.abc import Callable, Mapping
from typing import Any

from cognitionos.llm_gateway.domain.errors import AnswerLost, ProviderFailure


def check_answer(wire: Mapping[str, Any]) -> None:
    """Raise `ProviderFailure` for an answer that says nothing, or not in the shapes that are read."""
    choices = wire.get("choices")
    if not isinstance(choices, list) or not choices:
        failure = ProviderFailure if "error" in wire else AnswerLost
        raise failure("the answer has no choices")
    if not all(map(_is_choice, choices)):
        raise AnswerLost("the answer's choices are no messages")


def _is_choice(choice: object) -> bool:
    if not isinstance(choice, dict) or not isinstance(choice.get("finish_reason"), str | None):
        return False
    message = choice.get("message")
    if not isinstance(message, dict):
        return message is None
    return all(is_sound(message[name]) for name, is_sound in _FIELDS if message.get(name) is not None)


def _is_content(content: object) -> bool:
    return isinstance(content, str) or (isinstance(content, list) and all(isinstance(part, dict) for part in content))


def _are_calls(calls: object) -> bool:
    return isinstance(calls, list) and all(map(_is_call, calls))


def _is_call(call: object) -> bool:
    return isinstance(call, dict) and _is_function(call.get("function"))


def _is_function(function: object) -> bool:
    if function is None:  # a custom tool's
        return True
    return isinstance(function, dict) and all(isinstance(function.get(name), str | None) for name in _OF_A_FUNCTION)


def _are_blocks(blocks: object) -> bool:
    return isinstance(blocks, list) and all(isinstance(block, dict) for block in blocks)


def _is_text(text: object) -> bool:
    return isinstance(text, str)


_OF_A_FUNCTION = ("name", "arguments")
_FIELDS: tuple[tuple[str, Callable[[object], bool]], ...] = (
    ("content", _is_content),
    ("refusal", _is_text),
    ("tool_calls", _are_calls),
    ("function_call", _is_function),
    ("thinking_blocks", _are_blocks),
)
