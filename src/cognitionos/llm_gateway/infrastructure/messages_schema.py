"""A body of Anthropic's Messages API as a chat request that any provider can take.

The body also travels as it is (`ChatRequest.native`): a provider that speaks Anthropic's format gets every word of it.
For the others it is told in OpenAI's shapes: hints about caching and earlier thinking are left out, what nobody
documents goes on under its own name; what those have no words for they refuse (`messages_terms.check_words`).
Source: Anthropic's API reference, "Create a Message".
"""

from collections.abc import Mapping
from typing import Any

from cognitionos.llm_gateway.domain.chat import ChatRequest, Message, assistant, json_schema, tool
from cognitionos.llm_gateway.domain.chat import system as system_message
from cognitionos.llm_gateway.domain.errors import InvalidChatRequest
from cognitionos.llm_gateway.infrastructure.anthropic_schema import API_VERSION, BETAS
from cognitionos.llm_gateway.infrastructure.messages_terms import NOTHING_ASKED, TOOL_TERMS
from cognitionos.llm_gateway.infrastructure.openai_schema import encode

_LONGEST_USER = 512
_ROLES = frozenset({"user", "assistant", "system"})
_HINTS = frozenset({"cache_control", "citations"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_OF_A_TOOL = frozenset({"name", "description", "input_schema", "strict", "type"})
_WORDS_OF = {"text": "data", "content": "content"}
"""Where a document of each kind has its words; one of blocks stays as it is."""
_FAILED = "Error:"
_TEXT = frozenset({"type", "text"})
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_TIERS = {"auto": "auto", "standard_only": "default"}


def messages_request(body: dict[str, Any], *, version: str | None = None, betas: str | None = None) -> ChatRequest:
    """The request in a decoded body, with the headers `anthropic-version` and `anthropic-beta`.

    Raises `InvalidChatRequest` naming the field.
    """
    extra = dict(body)
    model, limit = extra.pop("model", None), extra.pop("max_tokens", None)
    extra.pop("stream", None)  # how it is told is no part of what is asked
    native = dict(extra) | {name: said for name, said in ((API_VERSION, version), (BETAS, betas)) if said}
    messages, unseen = _messages(extra.pop("system", None), extra.pop("messages", None))
    tools = tuple(_tool(each, f"tools.{index}") for index, each in enumerate(_list(extra.pop("tools", None), "tools")))
    choice, temperature = _mapping(extra.pop("tool_choice", None), "tool_choice"), extra.pop("temperature", None)
    if choice.get("disable_parallel_tool_use"):
        extra["parallel_tool_calls"] = False
    extra.pop("cache_control", None)
    wanted = _output(extra)
    _rename(extra)
    return ChatRequest(
        messages=messages,
        model=model,
        tools=tools,
        tool_choice=_choice(choice),
        response_format=wanted,
        temperature=temperature,
        max_tokens=limit,
        include_usage=True,
        extra=extra,
        native=native,
        unseen_bytes=unseen,
    )


def _messages(system: object, messages: object) -> tuple[tuple[Message, ...], int]:
    """Also how many bytes of earlier thinking are not in the messages."""
    found: list[Message] = []
    unseen = 0
    if system:
        found.append(system_message("") | {"content": _plain(_blocks(system, "system"), "system")})
    for index, message in enumerate(_list(messages, "messages")):
        where = f"messages.{index}"
        if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
            raise _invalid(f"{where}.role", "'user' or 'assistant'")
        blocks = _blocks(message.get("content"), f"{where}.content")
        if message["role"] == "assistant":
            unseen += sum(len(encode(block)) for block in blocks if block.get("type") in _THOUGHTS)
            found.append(_of_assistant(blocks, where))
        elif message["role"] == "user":
            found += _of_user(blocks, where)
        else:
            found.append({"role": "system", "content": _plain(blocks, where)})
    return tuple(found), unseen


def _of_user(blocks: list[dict[str, Any]], where: str) -> list[Message]:
    """The results of tools as messages of their own, then what the user says beside them."""
    found: list[Message] = []
    for index, block in enumerate(blocks):
        if block.get("type") == "tool_result":
            inner = f"{where}.content.{index}.content"
            content = _plain(_blocks(block.get("content") or "", inner), inner)
            if block.get("is_error"):
                is_text = isinstance(content, str)
                content = f"{_FAILED} {content}" if is_text else [{"type": "text", "text": _FAILED}, *content]
            found.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content})
    said = [block for block in blocks if block.get("type") != "tool_result"]
    if said or not found:
        found.append({"role": "user", "content": _plain(said, f"{where}.content")})
    return found


def _of_assistant(blocks: list[dict[str, Any]], where: str) -> Message:
    said = [block for block in blocks if block.get("type") not in _THOUGHTS | {"tool_use"}]
    message = assistant("") | {"content": _plain(said, f"{where}.content") or None}
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": encode(block.get("input") or {}).decode()},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    return message | {"tool_calls": calls} if calls else message | {"content": message["content"] or ""}


def _plain(blocks: list[dict[str, Any]], where: str) -> str | list[dict[str, Any]]:
    """Text where there is nothing but one text, else parts."""
    parts = [_part(block, f"{where}.{index}") for index, block in enumerate(blocks)]
    if len(parts) == 1 and parts[0].get("type") == "text" and parts[0].keys() <= _TEXT:
        return str(parts[0].get("text", ""))
    return parts or ""


def _part(block: dict[str, Any], where: str) -> dict[str, Any]:
    if block.get("type") not in {"image", "document"}:
        return {name: value for name, value in block.items() if name not in _HINTS}
    source = _mapping(block.get("source"), f"{where}.source")
    is_inline = source.get("type") == "base64"
    url = f"data:{source.get('media_type')};base64,{source.get('data')}" if is_inline else source.get("url")
    if block["type"] == "image" and url:
        return {"type": "image_url", "image_url": {"url": url}}
    words = source.get(_WORDS_OF.get(str(source.get("type")), ""))
    if block["type"] == "document" and isinstance(words, str):
        said = (block.get("title"), block.get("context"), words)
        return {"type": "text", "text": "\n\n".join(each for each in said if isinstance(each, str) and each)}
    if block["type"] == "document" and is_inline:
        return {"type": "file", "file": {"filename": block.get("title") or "document.pdf", "file_data": url}}
    return {name: value for name, value in block.items() if name not in _HINTS}


def _tool(each: object, where: str) -> Mapping[str, Any]:
    made = _mapping(each, where)
    if made.get("type", "custom") != "custom":
        return made  # one of Anthropic's own, or of the provider's
    if not isinstance(made.get("name"), str):
        raise _invalid(f"{where}.name", "the name of the tool")
    function = tool(made["name"], str(made.get("description") or ""), made.get("input_schema") or {"type": "object"})
    if made.get("strict"):
        function["function"]["strict"] = True
    kept = {name: value for name, value in made.items() if value not in TOOL_TERMS.get(name, ())}
    return {name: value for name, value in kept.items() if name not in _OF_A_TOOL | _HINTS} | function


def _choice(choice: Mapping[str, Any]) -> Any:
    if not choice:
        return None
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") not in _CHOICES:
        raise _invalid("tool_choice.type", "'auto', 'any', 'tool' or 'none'")
    return _CHOICES[choice["type"]]


def _output(extra: dict[str, Any]) -> dict[str, Any] | None:
    """Take `output_config` out of `extra`; gives the response format, leaves the effort under OpenAI's name."""
    config = dict(_mapping(extra.pop("output_config", None), "output_config"))
    wanted = _mapping(config.pop("format", None), "output_config.format")
    effort = config.pop("effort", None)
    if effort is not None:
        extra["reasoning_effort"] = effort
    if config:
        extra["output_config"] = config
    schema = wanted.get("schema")
    return json_schema("answer", schema) if isinstance(schema, Mapping) else None


def _rename(extra: dict[str, Any]) -> None:
    stops = extra.pop("stop_sequences", None)
    if stops:
        extra["stop"] = stops
    metadata = dict(_mapping(extra.pop("metadata", None), "metadata"))
    user = metadata.pop("user_id", None)
    if metadata:
        extra["metadata"] = metadata
    if user is not None and not (isinstance(user, str) and len(user) <= _LONGEST_USER):
        raise _invalid("metadata.user_id", f"text of at most {_LONGEST_USER} characters")
    if user:
        extra["user"] = user
    for name, nothing in NOTHING_ASKED.items():
        if name in extra and extra[name] in nothing:
            del extra[name]
    tier = extra.pop("service_tier", None)
    if tier is not None:
        extra["service_tier"] = _TIERS.get(tier, tier)


def _blocks(content: object, where: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks = _list(content, where)
    if not all(isinstance(block, dict) for block in blocks):
        raise _invalid(where, "text or a list of blocks")
    return blocks


def _list(value: object, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise _invalid(where, "a list")
    return value or []


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise _invalid(where, "an object")
    return value or {}


def _invalid(where: str, what: str) -> InvalidChatRequest:
    return InvalidChatRequest(f"{where}: must be {what}", fields={where: f"must be {what}"})
