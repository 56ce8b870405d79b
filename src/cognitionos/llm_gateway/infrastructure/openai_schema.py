"""OpenAI's wire format, read and written: requests, usage, stream chunks. Source: OpenAI's API reference."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cognitionos.llm_gateway.application.ports import TOGETHER, Chunk
from cognitionos.llm_gateway.domain.answer import bytes_beside, bytes_said
from cognitionos.llm_gateway.domain.chat import ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import AnswerLost, InvalidChatRequest, ProviderFailure
from cognitionos.llm_gateway.domain.price import tier_of

LIMIT_FIELDS = ("max_completion_tokens", "max_tokens")
COUNT_FIELDS = ("n", "best_of")
MOST_TOKENS = 2**40
"""Above any real count; a provider that reports more must not break the ledger's sums."""
_CACHED = ("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")
"""OpenAI's in its details, as Moonshot's beside them; Anthropic's; DeepSeek's."""
_NO_USAGE = b',"usage":null'
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
encode = msgspec.json.Encoder().encode
canonical = msgspec.json.Encoder(order="sorted").encode
decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class _ChunkDelta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None
    audio: Any = None


class _ChunkChoice(msgspec.Struct):
    index: int = 0
    delta: _ChunkDelta | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _ChunkWire(msgspec.Struct):
    choices: list[_ChunkChoice] | None = None
    usage: dict[str, Any] | None = None
    service_tier: Any = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_ChunkWire).decode
_decode_chunks = msgspec.json.Decoder(list[_ChunkWire]).decode


def chat_request(body: dict[str, Any], *, together: bool = False) -> ChatRequest:
    """The request in a decoded body. Raises `InvalidChatRequest` naming the field; unknown fields go to `extra`.

    `together`: what a stream has at one moment may be given as one (`ChatRequest`).
    """
    extra = dict(body)
    messages = _messages(extra.pop("messages", None))
    tools = extra.pop("tools", None) or ()
    limit_field = next((name for name in LIMIT_FIELDS if extra.get(name) is not None), None)
    limits = [extra.pop(name, None) for name in LIMIT_FIELDS]
    extra.pop("stream", None)
    for name in COUNT_FIELDS:
        _limit(extra.get(name), name)
    return ChatRequest(
        messages=messages,
        model=extra.pop("model", None),
        tools=_tools(tools),
        tool_choice=extra.pop("tool_choice", None),
        response_format=_object(extra.pop("response_format", None), "response_format"),
        temperature=extra.pop("temperature", None),
        max_tokens=_limit(next((limit for limit in limits if limit is not None), None), limit_field or ""),
        limit_field=limit_field,
        include_usage=_pop_include_usage(extra),
        together=together,
        extra=extra,
    )


def read_usage(wire: Mapping[str, Any]) -> Usage | None:
    """The usage in an answer or chunk; None where the provider did not say."""
    return usage_from(wire.get("usage"), service_tier=wire.get("service_tier"))


def usage_from(usage: object, *, service_tier: object = None) -> Usage | None:
    """A `usage` object; vendors' own names for cache reads, cache writes and web searches are understood. None where
    it counts nothing, or not in whole numbers of 0 and more.

    `service_tier` is what the answer around it says.
    """
    if not isinstance(usage, dict) or not _count(usage.get("prompt_tokens", usage.get("total_tokens"))):
        return None
    if not (is_count(usage.get("prompt_tokens")) and is_count(usage.get("completion_tokens"))):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    sent, made = _mapping(usage.get("prompt_tokens_details")), _mapping(usage.get("completion_tokens_details"))
    reasoning = _count(made.get("reasoning_tokens"))
    if reasoning and _count(usage.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning  # xAI and Gemini count them apart
    if "citation_tokens" in usage:  # Perplexity's, beside the total, as are its thoughts
        prompt += _count(usage.get("citation_tokens"))
        reasoning = _count(usage.get("reasoning_tokens"))
        completion += reasoning
    written = _count(usage.get("cache_creation_input_tokens") or sent.get("cache_write_tokens"))
    by_age = _mapping(usage.get("cache_creation") or sent.get("cache_creation_token_details"))
    told = usage if service_tier is None else {"service_tier": service_tier}
    by_server = _mapping(usage.get("server_tool_use")).get("web_search_requests")
    searches = by_server or sent.get("web_search_requests") or usage.get("num_search_queries")
    size = usage.get("search_context_size")
    return Usage(
        prompt=prompt,
        completion=completion,
        cached=min(_count(_first_of(sent, usage, _CACHED)), prompt),
        cache_write=min(written, prompt),
        cache_write_1h=min(_count(by_age.get("ephemeral_1h_input_tokens")), written, prompt),
        reasoning=min(reasoning, completion),
        audio_input=min(_count(sent.get("audio_tokens")), prompt),
        audio_output=min(_count(made.get("audio_tokens")), completion),
        image_input=min(_count(sent.get("image_tokens")), prompt),
        image_output=min(_count(made.get("image_tokens")), completion),
        cached_audio=_count(_mapping(sent.get("cached_tokens_details")).get("audio_tokens")),
        searches=_count(searches),
        search_size=size if isinstance(size, str) else None,
        service_tier=tier_of(told),
    )


def is_count(told: object) -> bool:
    """Whether it can be a number of tokens; nothing told is nothing wrong."""
    return told is None or (isinstance(told, int | float) and told >= 0 and float(told).is_integer())


def write_usage(usage: Usage) -> dict[str, Any]:
    """`usage` as it stands in an answer; what OpenAI has no name for stands under Anthropic's."""
    sent = {"cached_tokens": usage.cached, "audio_tokens": usage.audio_input, "image_tokens": usage.image_input}
    made = {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output}
    made["image_tokens"] = usage.image_output
    wire: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": _said(sent, "cached_tokens"),
        "completion_tokens_details": _said(made, "reasoning_tokens"),
    }
    if usage.cache_write:
        wire["cache_creation_input_tokens"] = usage.cache_write
    if usage.cache_write_1h:
        wire["cache_creation"] = written_by_age(usage)
    if usage.cached_audio:
        wire["prompt_tokens_details"]["cached_tokens_details"] = {"audio_tokens": usage.cached_audio}
    if usage.searches:
        wire["server_tool_use"] = {"web_search_requests": usage.searches}
    if usage.search_size:
        wire["search_context_size"] = usage.search_size
    if usage.service_tier:
        wire["service_tier"] = usage.service_tier
    return wire


def written_by_age(usage: Usage) -> dict[str, int]:
    """What was written to a cache, by how long it is kept, in Anthropic's words."""
    short = usage.cache_write - usage.cache_write_1h
    return {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": usage.cache_write_1h}


def _said(details: Mapping[str, int], always: str) -> dict[str, int]:
    return {name: count for name, count in details.items() if count or name == always}


def read_chunk(data: bytes, *, keep_usage: bool, ends: bool = False) -> Chunk:
    """One event of a stream, which `ends` with it. Without `keep_usage` its `usage` is taken out of `data`, not of the
    chunk.

    Raises `ProviderFailure` for an event that is an error.
    """
    try:
        wire = _decode_chunk(data)
    except msgspec.ValidationError:  # a dialect: forward it, count it, keep it out of the cache
        beside = _said_in_dialect(data)
        return Chunk(data=data, tokens=1, beside=beside, plain=False, shared=False, ends=ends)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerLost("the stream carries something that is not JSON, or too deep") from error
    if wire.error is not None:
        raise ProviderFailure(f"the stream ended with an error: {error_text(wire.error)}")
    if not keep_usage:
        data = _without_usage(data, wire)
    usage = usage_from(wire.usage, service_tier=wire.service_tier) if wire.usage is not None else None
    if not wire.choices:
        return Chunk(data=data, usage=usage, bare_usage=wire.usage is not None, ends=ends)
    text, tokens, beside, finish_reason, plain, shared = "", 0, 0, None, True, True
    for choice in wire.choices:
        delta = choice.delta
        if delta is not None:
            unshared, more = _unshared(delta), _more(delta)
            if delta.content or more:
                tokens += 1
                text += delta.content or ""
                beside += bytes_beside(msgspec.structs.asdict(delta)) if more else 0
            plain = plain and not more and choice.index == 0 and choice.logprobs is None
            shared = shared and not unshared
        finish_reason = choice.finish_reason or finish_reason
    return Chunk(
        data=data,
        text=text,
        tokens=tokens,
        beside=beside,
        finish_reason=finish_reason,
        usage=usage,
        plain=plain,
        shared=shared,
        ends=ends,
    )


def _said_in_dialect(data: bytes) -> int:
    try:
        return bytes_said(decode_object(data))
    except (msgspec.ValidationError, RecursionError):
        return 0


def read_words(events: Sequence[bytes], *, keep_usage: bool, ends: bool = False) -> tuple[Chunk | None, int]:
    """The events up to the first that is more than words of the first choice, as one chunk, and how many they are.

    What `read_chunk` gives for each of them, joined; decoded at once, which takes a third of the time. None where the
    first is more already, or where not all of them can be read.
    """
    count = len(events)
    try:
        wires = _decode_chunks(b"[%b]" % b",".join(events))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, 0
    if len(wires) != count:
        return None, 0
    texts: list[str] = []
    reason = None
    for index, wire in enumerate(wires):
        choice = _words(wire)
        if choice is None:
            count = index
            break
        if choice.delta is not None and choice.delta.content:
            texts.append(choice.delta.content)
        reason = choice.finish_reason or reason
    if not count:
        return None, 0
    spoken = events[:count] if keep_usage else [each.replace(_NO_USAGE, b"", 1) for each in events[:count]]
    data = TOGETHER.join(spoken)
    return Chunk(data=data, text="".join(texts), tokens=len(texts), finish_reason=reason, ends=ends), count


def _words(wire: _ChunkWire) -> _ChunkChoice | None:
    """The first choice of an event that says nothing else than words of it."""
    if wire.error is not None or wire.usage is not None or wire.choices is None or len(wire.choices) != 1:
        return None
    choice = wire.choices[0]
    delta = choice.delta
    if choice.index != 0 or choice.logprobs is not None:
        return None
    return None if delta is not None and _more(delta) else choice


def _more(delta: _ChunkDelta) -> bool:
    """Whether it says more than words."""
    thoughts = delta.reasoning_content or delta.reasoning or delta.reasoning_details
    return bool(thoughts or delta.refusal or _unshared(delta))


def _unshared(delta: _ChunkDelta) -> bool:
    """Whether it carries what is nobody else's: the call of a tool, sound."""
    return bool(delta.tool_calls or delta.audio or delta.function_call)


def error_text(error: object) -> str:
    """The words of an error object in any of the usual shapes, cut to a length that fits a log line."""
    if isinstance(error, dict):
        inner = error.get("error", error)
        error = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(error)[:500]


def error_details(error: object) -> dict[str, Any] | None:
    """What an error object of Anthropic's says for programs to read."""
    inner = error.get("error", error) if isinstance(error, dict) else None
    details = inner.get("details") if isinstance(inner, dict) else None
    return details if isinstance(details, dict) and details else None


def _without_usage(data: bytes, wire: _ChunkWire) -> bytes:
    if wire.usage is None:
        return data.replace(_NO_USAGE, b"", 1)
    if not wire.choices:
        return data
    body = decode_object(data)
    body.pop("usage", None)
    return encode(body)


def _messages(messages: object) -> tuple[dict[str, Any], ...]:
    if not isinstance(messages, list) or not messages:
        raise InvalidChatRequest("'messages' must be a non-empty list.", fields={"messages": "a non-empty list"})
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidChatRequest("A message must be an object.", fields={f"messages.{index}": "an object"})
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in _ROLES:
            where = f"messages.{index}.role"
            raise InvalidChatRequest(f"'{where}' must be one of {sorted(_ROLES)}.", fields={where: "an unknown role"})
        is_content = isinstance(content, str) or (
            isinstance(content, list) and all(isinstance(part, dict) for part in content)
        )
        if not is_content and (content is not None or role != "assistant"):
            where = f"messages.{index}.content"
            raise InvalidChatRequest(f"'{where}' must be text or a list of parts.", fields={where: "text or parts"})
    return tuple(messages)


def _tools(tools: object) -> tuple[dict[str, Any], ...]:
    if not isinstance(tools, list | tuple) or not all(isinstance(each, dict) for each in tools):
        raise InvalidChatRequest("'tools' must be a list of objects.", fields={"tools": "a list of objects"})
    for index, each in enumerate(tools):
        if each.get("type") == "function" and not isinstance(each.get("function"), dict):
            where = f"tools.{index}.function"
            raise InvalidChatRequest(f"'{where}' must be an object.", fields={where: "an object with a name"})
    return tuple(tools)


def _object(value: object, name: str) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise InvalidChatRequest(f"'{name}' must be an object.", fields={name: "an object"})
    return value


def _limit(value: object, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_TOKENS:
        raise InvalidChatRequest(f"'{name}' must be a whole number of at least 1.", fields={name: "at least 1"})
    return value


def _pop_include_usage(extra: dict[str, Any]) -> bool:
    options = extra.pop("stream_options", None)
    if not isinstance(options, dict):
        return False
    others = {name: value for name, value in options.items() if name != "include_usage"}
    if others:
        extra["stream_options"] = others
    return options.get("include_usage") is True


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first_of(details: Mapping[str, Any], usage: Mapping[str, Any], names: Sequence[str]) -> object:
    return details.get(names[0]) or next((said for name in names if (said := usage.get(name))), None)


def _count(value: object) -> int:
    return min(max(int(value), 0), MOST_TOKENS) if isinstance(value, int | float) else 0
