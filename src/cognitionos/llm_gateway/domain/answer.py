"""Reading an answer in OpenAI's wire shape, and turning whole answers into streams and back."""

from collections.abc import Mapping
from typing import Any

from cognitionos.llm_gateway.domain.chat import ToolCall

COMPLETE, CUT = "stop", "length"
NOTHING_SAID: Mapping[str, Any] = {}
BYTES_OF_A_TOKEN = 4
"""About: where nobody counted."""
_SAID_APART = frozenset({"role", "content", "tool_calls"})
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")
"""Names of the same; some servers say it under several."""
_OUTPUT = ("refusal", "tool_calls", "function_call", "audio")
_EFFECTS = ("tool_calls", "function_call", "audio")
"""What is for whoever asked alone: calls of functions, and audio, whose id can be used once."""
_WORDS_IN_THEM = ("text", "summary", "transcript", "name", "arguments", "input", "function", "custom")


def first_choice(wire: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice of an answer; empty where there is none."""
    choices = wire.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def text_of(wire: Mapping[str, Any]) -> str:
    """The words of the first choice."""
    return words_of((first_choice(wire).get("message") or {}).get("content"))


def words_of(content: object, kind: str = "text") -> str:
    """The words of a content: a text, or the parts of a list that are of this kind, as Mistral's models say them."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping) and part.get("type") == kind]
        return "".join(words_of(part.get(kind)) for part in parts)
    return content if isinstance(content, str) else ""


def thoughts_of(said: Mapping[str, Any]) -> str:
    """What a message, or a piece of one, says of its thinking: beside its content, or as parts of it."""
    content = said.get("content")
    in_parts = words_of(content, "thinking") if isinstance(content, list) else ""
    return words_of(said.get("reasoning_content")) or in_parts


def tool_calls_of(wire: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The function calls of the first choice."""
    calls = (first_choice(wire).get("message") or {}).get("tool_calls") or ()
    return tuple(
        ToolCall(id=str(call.get("id", "")), name=function.get("name", ""), arguments=function.get("arguments") or "{}")
        for call in calls
        if isinstance(call, dict) and isinstance(function := call.get("function"), dict)
    )


def finish_reason_of(wire: Mapping[str, Any]) -> str:
    """Why the first choice ended; `unknown` where the provider did not say."""
    reason = first_choice(wire).get("finish_reason")
    return reason if isinstance(reason, str) else "unknown"


def is_for_one(wire: Mapping[str, Any]) -> bool:
    """Whether the answer is for whoever asked alone: calls of functions and audio are."""
    choices = wire.get("choices") or ()
    return any(any(map((choice.get("message") or NOTHING_SAID).get, _EFFECTS)) for choice in choices)


def is_whole(wire: Mapping[str, Any]) -> bool:
    """Whether no choice was cut short: an answer that was is for those only who wait for it."""
    choices = wire.get("choices") or ()
    return bool(choices) and all(each.get("finish_reason") == COMPLETE for each in choices)


def reached_limit(wire: Mapping[str, Any]) -> bool:
    """Whether a choice ends where its limit was."""
    return any(each.get("finish_reason") == CUT for each in wire.get("choices") or ())


def bytes_beside(message: Mapping[str, Any]) -> int:
    """The size of what a message, or a piece of one, says beside its content: thoughts, calls of tools, refusals."""
    thoughts = max(_size(message.get(name)) for name in _THOUGHTS)
    return thoughts + sum(_size(message.get(name)) for name in _OUTPUT)


def bytes_said(wire: Mapping[str, Any]) -> int:
    """The size of all that an answer, or an event of a stream, says in any of its choices."""
    choices = wire.get("choices")
    listed = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []
    messages = [choice.get("message") or choice.get("delta") for choice in listed]
    return sum(_size(each.get("content")) + bytes_beside(each) for each in messages if isinstance(each, Mapping))


def as_chunks(wire: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A whole answer as the events a stream would have had: role, thoughts, content, finish reason, the bare usage."""
    head = {
        "id": wire.get("id", ""),
        "object": "chat.completion.chunk",
        "created": wire.get("created", 0),
        "model": wire.get("model", ""),
    }
    chunks: list[dict[str, Any]] = []
    for choice in wire.get("choices") or ():
        index, message = choice.get("index", 0), choice.get("message") or {}
        chunks.append(head | {"choices": [_delta(index, {"role": "assistant", "content": ""})]})
        beside = {name: value for name, value in message.items() if value and name not in _SAID_APART}
        if beside:
            chunks.append(head | {"choices": [_delta(index, beside)]})
        if message.get("content"):
            said = _delta(index, {"content": message["content"]}) | {"logprobs": choice.get("logprobs")}
            chunks.append(head | {"choices": [said]})
        if message.get("tool_calls"):
            calls = [call | {"index": number} for number, call in enumerate(message["tool_calls"])]
            chunks.append(head | {"choices": [_delta(index, {"tool_calls": calls})]})
        chunks.append(head | {"choices": [_delta(index, {}, choice.get("finish_reason"))]})
    chunks.append(head | {"choices": [], "usage": wire.get("usage")})
    return chunks


def whole(head: Mapping[str, Any], *, text: str, finish_reason: str) -> dict[str, Any]:
    """A finished stream of plain words as the answer it would have been, but for its usage; `head` is one of its
    chunks."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    kept = {name: value for name, value in head.items() if name not in {"choices", "usage", "obfuscation"}}
    return kept | {"object": "chat.completion", "choices": [choice]}


def words_chunk(head: Mapping[str, Any], text: str) -> dict[str, Any]:
    """All words of a stream so far as its first event; `head` is the one it really had."""
    return {**head, "choices": [_delta(0, {"role": "assistant", "content": text})]}


def usage_chunk(head: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """The event that carries the usage and nothing else."""
    return {**head, "choices": [], "usage": usage}


def _size(said: object) -> int:
    if isinstance(said, str):
        return len(said.encode())
    if isinstance(said, Mapping):
        return sum(_size(said.get(name)) for name in _WORDS_IN_THEM)
    return sum(map(_size, said)) if isinstance(said, list) else 0


def _delta(index: int, delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
