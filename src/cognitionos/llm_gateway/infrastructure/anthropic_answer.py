"""Anthropic's answers, whole and streamed, in OpenAI's shape; with `native`, its own words beside it, unchanged.

Thinking becomes `reasoning_content`, and `thinking_blocks` with their signatures, which may be sent back as they are.
Source: Anthropic's API reference, "Messages" and "Streaming".
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.domain.errors import AnswerLost, ProviderFailure
from cognitionos.llm_gateway.domain.price import tier_of
from cognitionos.llm_gateway.infrastructure.openai_schema import (
    encode,
    error_details,
    error_text,
    is_count,
    write_usage,
)

NATIVE = "anthropic"
"""The field of an answer, and of a stream's first chunk, that holds Anthropic's own words."""
_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNTED_APART = frozenset({"compaction", "advisor_message"})
"""Passes that the sums of `usage` leave out."""
_OF_ANOTHER_MODEL = frozenset({"advisor_message", "fallback_message"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_TEXTS_OF_A_BLOCK = {"text": ("text",), "thinking": ("thinking",), "tool_use": ("id", "name")}
_SEARCH, _FOUND = ("server_tool_use", "web_search"), "web_search_tool_result"


class _Part(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    partial_json: str = ""
    content: Any = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: dict[str, Any] = {}
    content_block: _Part | None = None
    delta: _Part | None = None
    usage: dict[str, Any] = {}
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


def completion(message: Mapping[str, Any], *, created: int, native: bool) -> dict[str, Any]:
    """A whole `message` as a chat completion; raises `ProviderFailure` where it is none."""
    content = message.get("content")
    blocks: list[Any] = content if isinstance(content, list) else [content]
    if message.get("type") != "message" or not all(map(_is_block, blocks)):
        raise AnswerLost("the answer is not a message")
    said: dict[str, Any] = {"role": "assistant", "content": _joined(blocks, "text", "text") or None, "refusal": None}
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    if calls:
        said["tool_calls"] = calls
    thoughts = [block for block in blocks if block.get("type") in _THOUGHTS]
    if thoughts:
        said |= {"reasoning_content": _joined(thoughts, "thinking", "thinking"), "thinking_blocks": thoughts}
    wire = _head(message, created, "chat.completion")
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": _reason(message.get("stop_reason"))}
    wire |= {"choices": [choice], "usage": usage_wire(usage_of(message.get("usage")) or Usage())}
    return wire | {NATIVE: message} if native else wire


def usage_of(usage: object) -> Usage | None:
    """Anthropic's `usage`: its `input_tokens` leave out what was read from and written to the cache.

    Passes that it counts apart are added. Those of another model are, too, at this model's price, and so estimated.
    """
    if not isinstance(usage, dict) or not isinstance(usage.get("output_tokens"), int):
        return None
    if not isinstance(usage.get("input_tokens"), int | None):
        return None
    if not (is_count(usage["output_tokens"]) and is_count(usage.get("input_tokens"))):
        return None
    listed = usage.get("iterations")
    passes = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    counted = [usage, *(each for each in passes if each.get("type") in _COUNTED_APART)]
    cached = sum(_count(each, "cache_read_input_tokens") for each in counted)
    written = sum(_count(each, "cache_creation_input_tokens") for each in counted)
    longer = sum(_count(each.get("cache_creation"), "ephemeral_1h_input_tokens") for each in counted)
    return Usage(
        prompt=sum(_count(each, "input_tokens") for each in counted) + cached + written,
        completion=sum(_count(each, "output_tokens") for each in counted),
        cached=cached,
        cache_write=written,
        cache_write_1h=min(longer, written),
        reasoning=_count(usage.get("output_tokens_details"), "thinking_tokens"),
        searches=_count(usage.get("server_tool_use"), "web_search_requests"),
        service_tier=tier_of(usage),
        estimated=any(each.get("type") in _OF_ANOTHER_MODEL for each in passes),
    )


def usage_wire(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`, with the cache counted as Anthropic counts it beside."""
    return write_usage(usage) | {
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": usage.cache_write,
    }


class StreamReader:
    """Reads the events of one stream. `finished` says that its last one has come."""

    def __init__(self, *, created: int, native: bool) -> None:
        self.finished = False
        self._created = created
        self._native = native
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._searches = 0
        self._tools = -1
        self._thoughts = -1
        self._block = _Part()

    def read(self, data: bytes) -> Chunk | None:
        """The chunk that an event makes; None where it adds nothing. Raises `ProviderFailure` for an error."""
        try:
            event = _decode_event(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise AnswerLost("the stream carries something that is no event") from error
        match event.type:
            case "message_start":
                return self._start(event, data)
            case "content_block_start":
                return self._open(event.content_block or _Part(), data)
            case "content_block_delta":
                return self._delta(event.delta or _Part(), data)
            case "content_block_stop":
                return self._close(data)
            case "message_delta":
                return self._ending(event, data)
            case "message_stop":
                return self._end(data)
            case "error":
                failure = ProviderFailure(f"the stream ended with an error: {error_text(event.error)}")
                failure.details = error_details(event.error)
                raise failure
        return Chunk(data=data, plain=False) if self._native and event.type != "ping" else None

    def _start(self, event: _Event, data: bytes) -> Chunk:
        self._head = _head(event.message, self._created, "chat.completion.chunk")
        self._take(event.message.get("usage"))
        first = self._head | {"choices": [_choice({"role": "assistant", "content": ""})]}
        shown = encode(first | {NATIVE: msgspec.Raw(data)} if self._native else first)
        return Chunk(data=shown, usage=self._so_far())

    def _open(self, block: _Part, data: bytes) -> Chunk | None:
        self._block = block
        if block.type == "text":
            return self._chunk(data, {"content": block.text} if block.text else None, text=block.text)
        if block.type == "tool_use":
            self._tools += 1
            function = {"name": block.name, "arguments": ""}
            call = {"index": self._tools, "id": block.id, "type": "function", "function": function}
            named = len(block.name.encode())
            return self._chunk(data, {"tool_calls": [call]}, tokens=1, beside=named, plain=False, shared=False)
        if (block.type, block.name) == _SEARCH or block.type == _FOUND:
            if block.type != _FOUND:
                self._searches += 1
            elif _failed(block.content):
                self._searches -= 1
            shown = self._shown(data, [_choice({})])
            return Chunk(data=shown, plain=not self._native, usage=self._so_far())
        return self._chunk(data, None, plain=False)

    def _delta(self, delta: _Part, data: bytes) -> Chunk | None:
        match delta.type:
            case "text_delta":
                return self._chunk(data, {"content": delta.text}, text=delta.text)
            case "input_json_delta" if self._block.type == "tool_use":
                call = {"index": self._tools, "function": {"arguments": delta.partial_json}}
                size = len(delta.partial_json.encode())
                spoken = {"tool_calls": [call]} if size else None
                return self._chunk(data, spoken, tokens=min(size, 1), beside=size, plain=False, shared=False)
            case "thinking_delta":
                self._block.thinking += delta.thinking
                size = len(delta.thinking.encode())
                return self._chunk(data, {"reasoning_content": delta.thinking}, tokens=1, beside=size, plain=False)
            case "signature_delta":
                self._block.signature += delta.signature
        return self._chunk(data, None, beside=len(delta.partial_json.encode()), plain=False)

    def _close(self, data: bytes) -> Chunk | None:
        block, self._block = self._block, _Part()
        if block.type not in _THOUGHTS:
            return self._chunk(data, None)
        names = ("data",) if block.type == "redacted_thinking" else ("thinking", "signature")
        self._thoughts += 1
        thought = {"index": self._thoughts, "type": block.type} | {name: getattr(block, name) for name in names}
        return self._chunk(data, {"thinking_blocks": [thought]}, plain=False)

    def _ending(self, event: _Event, data: bytes) -> Chunk:
        self._take(event.usage)
        stop = event.delta.stop_reason if event.delta else None
        shown = self._shown(data, [_choice({}, _reason(stop))])
        plain = stop == "end_turn" or not self._native
        return Chunk(data=shown, finish_reason=_reason(stop), plain=plain, usage=self._so_far())

    def _end(self, data: bytes) -> Chunk:
        self.finished = True
        usage = usage_of(self._usage)
        if self._native:
            return Chunk(data=data, usage=usage)
        last = self._head | {"choices": [], "usage": usage_wire(usage or Usage())}
        return Chunk(data=encode(last), usage=usage, bare_usage=True)

    def _chunk(
        self,
        data: bytes,
        delta: dict[str, Any] | None,
        *,
        text: str = "",
        tokens: int = 0,
        beside: int = 0,
        plain: bool = True,
        shared: bool = True,
    ) -> Chunk | None:
        if delta is None and not self._native:
            return None
        shown = self._shown(data, [_choice(delta or {})])
        spoken = 1 if text else tokens
        return Chunk(data=shown, text=text, tokens=spoken, beside=beside, plain=plain, shared=shared)

    def _shown(self, data: bytes, choices: list[dict[str, Any]]) -> bytes:
        return data if self._native else encode(self._head | {"choices": choices})

    def _so_far(self) -> Usage | None:
        """What a stream that ends here has cost: as far as it was said, and the searches that were seen."""
        said = usage_of(self._usage)
        if said is None:
            return None
        return replace(said, searches=max(said.searches, self._searches), estimated=True)

    def _take(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}


def _is_block(block: object) -> bool:
    """Whether it is one in the shapes that are read; of kinds that are not read any will do."""
    if not isinstance(block, dict):
        return False
    kind = str(block.get("type"))
    if kind == "tool_use" and not isinstance(block.get("input"), dict | None):
        return False
    return all(isinstance(block.get(name, ""), str) for name in _TEXTS_OF_A_BLOCK.get(kind, ()))


def _head(message: Mapping[str, Any], created: int, kind: str) -> dict[str, Any]:
    return {"id": message.get("id", ""), "object": kind, "created": created, "model": message.get("model", "")}


def _choice(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _reason(stop_reason: object) -> str:
    return _REASONS.get(str(stop_reason), "stop")


def _joined(blocks: list[dict[str, Any]], kind: str, name: str) -> str:
    return "".join(block.get(name, "") for block in blocks if block.get("type") == kind)


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    arguments = encode(block.get("input") or {}).decode()
    return {
        "id": block.get("id", ""),
        "type": "function",
        "function": {"name": block.get("name", ""), "arguments": arguments},
    }


def _failed(found: object) -> bool:
    """Whether a search brought an error, which is not billed."""
    return isinstance(found, dict)


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return max(value, 0) if isinstance(value, int) else 0
