"""Answers in OpenAI's shape as Anthropic's messages, whole and event by event; Anthropic's own words pass unchanged."""

from collections.abc import Mapping
from typing import Any

import msgspec

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.domain.answer import first_choice, thoughts_of, words_of
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.infrastructure import chat_chunk
from cognitionos.llm_gateway.infrastructure.anthropic_answer import NATIVE
from cognitionos.llm_gateway.infrastructure.anthropic_errors import render
from cognitionos.llm_gateway.infrastructure.chat_chunk import Chunk, Delta
from cognitionos.llm_gateway.infrastructure.openai_schema import encode, usage_from, written_by_age
from cognitionos.llm_gateway.infrastructure.parts_in_order import CALL, Part, PartsInOrder, Step, Told
from cognitionos.platform.http_problems import problem_of

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_LAST = "message_stop"
_DELTAS = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    CALL: ("input_json_delta", "partial_json"),
}


def message_of(wire: Mapping[str, Any], *, message_id: str) -> Mapping[str, Any]:
    """The whole answer as a message."""
    own = wire.get(NATIVE)
    if isinstance(own, dict) and own.get("type") == "message":
        return own
    choice = first_choice(wire)
    said = choice.get("message") or {}
    content: list[dict[str, Any]] = [*_thoughts(said)]
    text = words_of(said.get("content")) or said.get("refusal")
    if text:
        content.append({"type": "text", "text": text})
    content += [_tool_use(call) for call in said.get("tool_calls") or ()]
    reason = "refusal" if said.get("refusal") else _reason(choice.get("finish_reason"), bool(said.get("tool_calls")))
    usage = usage_view(usage_from(wire.get("usage")) or Usage())
    return _empty(message_id, wire.get("model") or "") | {"content": content, "stop_reason": reason, "usage": usage}


def usage_view(usage: Usage) -> dict[str, Any]:
    """Anthropic's `usage`: `input_tokens` are those that were neither read from nor written to the cache."""
    by_age = {"cache_creation": written_by_age(usage)} if usage.cache_write else {}
    return by_age | {
        "input_tokens": max(usage.prompt - usage.cached - usage.cache_write, 0),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }


class MessageEvents:
    """The framing of one stream of `/v1/messages`. The last event waits for `end`, which comes after settlement."""

    ping = b'event: ping\ndata: {"type": "ping"}\n\n'

    def __init__(self, message_id: str, *, request_id: str = "") -> None:
        self._id = message_id
        self._request_id = request_id
        self._begun = False
        self._parts = PartsInOrder()
        self._blocks = 0
        self._reason: str | None = None
        self._refused = False
        self._usage: dict[str, Any] | None = None
        self._called = False
        self._last: bytes | None = None

    def event(self, data: bytes) -> bytes:
        """The bytes to send for one chunk. Raises `StreamBroken` for one that cannot be told."""
        chunk = chat_chunk.read(data)
        if chunk.type == _LAST:
            self._last = _framed(_LAST, data)
            return b""
        if chunk.type is not None:
            return _framed(chunk.type, data)
        own = bytes(chunk.anthropic)
        if own:
            self._begun = True
            return _framed("message_start", own)
        return b"".join(self._told(chunk))

    def end(self) -> bytes:
        """What ends the stream."""
        if self._last is not None:
            return self._last
        usage = usage_view(usage_from(self._usage) or Usage())
        reason = "refusal" if self._refused else _reason(self._reason, self._called)
        closing = [*self._start(""), *self._blocks_of(self._parts.end())]
        delta = {"stop_reason": reason, "stop_sequence": None}
        return b"".join([*closing, _event("message_delta", delta=delta, usage=usage), _event(_LAST)])

    def error(self, error: DomainError) -> bytes:
        """The error that the stream ends with."""
        body, _ = render(problem_of(error), self._request_id)
        return _framed("error", encode(body))

    def _told(self, chunk: Chunk) -> list[bytes]:
        events = self._start(chunk.model or "")
        self._usage = chunk.usage or self._usage
        for choice in chunk.first():
            self._reason = choice.finish_reason or self._reason
            if choice.delta is not None:
                events += self._added(choice.delta)
        return events

    def _start(self, model: str) -> list[bytes]:
        if self._begun:
            return []
        self._begun = True
        return [_event("message_start", message=_empty(self._id, model))]

    def _added(self, delta: Delta) -> list[bytes]:
        events: list[bytes] = []
        if delta.reasoning_content:
            events += self._blocks_of(self._parts.words("thinking", delta.reasoning_content))
        self._refused = self._refused or bool(delta.refusal)
        text = delta.content or delta.refusal
        if text:
            events += self._blocks_of(self._parts.words("text", text))
        for call in delta.tool_calls or ():
            if call is not None:
                self._called = True
                events += self._blocks_of(self._parts.call(call))
        return events

    def _blocks_of(self, told: Told) -> list[bytes]:
        return [self._block_event(step, part, text) for step, part, text in told]

    def _block_event(self, step: Step, part: Part, text: str) -> bytes:
        if step is Step.BEGUN:
            self._blocks += 1
            return _event("content_block_start", index=self._blocks - 1, content_block=_empty_block(part))
        if step is Step.OVER:
            return _event("content_block_stop", index=self._blocks - 1)
        kind, name = _DELTAS[part.kind]
        return _event("content_block_delta", index=self._blocks - 1, delta={"type": kind, name: text})


def _empty_block(part: Part) -> dict[str, Any]:
    if part.kind == CALL:
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": {}}
    if part.kind == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _event(kind: str, **fields: Any) -> bytes:
    return _framed(kind, encode({"type": kind} | fields))


def _framed(kind: str, data: bytes) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def _empty(message_id: str, model: str) -> dict[str, Any]:
    head = {"id": message_id, "type": "message", "role": "assistant", "model": model, "content": []}
    return head | {"stop_reason": None, "stop_sequence": None, "usage": usage_view(Usage())}


def _reason(finish_reason: str | None, called: bool) -> str:  # noqa: FBT001 - a fact of the answer
    """Why it ended; OpenAI says `stop` where one named function was forced."""
    return "tool_use" if called and finish_reason == "stop" else _REASONS.get(finish_reason or "", "end_turn")


def _thoughts(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    if said.get("thinking_blocks"):
        return list(said["thinking_blocks"])
    thought = thoughts_of(said)
    return [{"type": "thinking", "thinking": thought, "signature": ""}] if thought else []


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    try:
        arguments = msgspec.json.decode(function.get("arguments") or "{}", type=dict[str, Any])
    except msgspec.DecodeError:  # there is no form for them: shown whole, so that nobody takes them for good
        arguments = {"malformed_arguments": function.get("arguments")}
    return {"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": arguments}
