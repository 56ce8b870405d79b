"""Kept answers of `/v1/messages`: a stream put together as the message it was, and a message told as its events again.

Source: Anthropic's API reference, "Streaming".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cognitionos.llm_gateway.domain.answer import as_chunks
from cognitionos.llm_gateway.domain.gathered import Gathered
from cognitionos.llm_gateway.infrastructure.anthropic_answer import NATIVE, completion
from cognitionos.llm_gateway.infrastructure.openai_schema import decode_object

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
_ARGUMENTS, _CITATION = "input_json_delta", "citations_delta"


class _Untold(Exception):
    """The stream says something that we cannot put together."""


def gathered(events: Sequence[bytes]) -> dict[str, Any] | None:
    """The answer of a finished stream as it would have come whole; None where it carries what we do not know."""
    if not events:
        return None
    first = decode_object(events[0])
    own = first.get(NATIVE)
    if not isinstance(own, dict):
        told = Gathered()
        for event in events:
            told.add(decode_object(event))
        return told.wire()
    message = _Message(dict(own.get("message") or {}))
    try:
        for event in events[1:]:
            message.add(decode_object(event))
        return completion(message.whole(), created=first.get("created", 0), native=True)
    except (_Untold, msgspec.DecodeError):
        return None


def replayed(wire: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events that a kept answer would have had as a stream: Anthropic's own, where it has its words."""
    own = wire.get(NATIVE)
    return list(_events(own)) if isinstance(own, dict) and own.get("type") == "message" else as_chunks(wire)


@dataclass(slots=True)
class _Message:
    """A message as far as its events have told it."""

    head: dict[str, Any]
    blocks: list[dict[str, Any]] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def add(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "content_block_start":
                self.blocks.append(dict(event.get("content_block") or {}))
            case "content_block_delta":
                self._add(event.get("delta") or {})
            case "content_block_stop" if self.arguments:
                text, self.arguments = "".join(self.arguments), []
                self.blocks[-1]["input"] = msgspec.json.decode(text or "{}")
            case "message_delta":
                said = event.get("usage") or {}
                usage = (self.head.get("usage") or {}) | {
                    name: value for name, value in said.items() if value is not None
                }
                self.head |= (event.get("delta") or {}) | {"usage": usage}

    def whole(self) -> dict[str, Any]:
        return self.head | {"content": self.blocks}

    def _add(self, delta: Mapping[str, Any]) -> None:
        kind = str(delta.get("type"))
        if not self.blocks:
            raise _Untold
        if kind in _TEXTS:
            name = _TEXTS[kind]
            self.blocks[-1][name] = self.blocks[-1].get(name, "") + delta.get(name, "")
        elif kind == _ARGUMENTS:
            self.arguments.append(delta.get("partial_json", ""))
        elif kind == _CITATION:
            self.blocks[-1]["citations"] = [*(self.blocks[-1].get("citations") or ()), delta.get("citation")]
        else:
            raise _Untold


def _events(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    usage = message.get("usage") or {}
    begun: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
    begun["usage"] = {**usage, "output_tokens": 0}
    yield {"type": "message_start", "message": {**message, **begun}}
    for index, block in enumerate(message.get("content") or ()):
        empty, deltas = _pieces(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {name: message.get(name) for name in ("stop_reason", "stop_sequence")}
    yield {"type": "message_delta", "delta": ended, "usage": usage}
    yield {"type": "message_stop"}


def _pieces(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a block begins, and what comes of it then; one that is told at once comes whole."""
    match block.get("type"):
        case "text":
            cited = [{"type": _CITATION, "citation": each} for each in block.get("citations") or ()]
            begun = {**block, "text": ""} | ({"citations": []} if cited else {})
            return begun, [*cited, {"type": "text_delta", "text": block.get("text", "")}]
        case "thinking":
            names = ("thinking", "signature")
            deltas = [{"type": f"{name}_delta", name: block[name]} for name in names if block.get(name)]
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            told = msgspec.json.encode(block.get("input") or {}).decode()
            return {**block, "input": {}}, [{"type": _ARGUMENTS, "partial_json": told}]
    return dict(block), []
