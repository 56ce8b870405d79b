"""A body of OpenAI's Responses API as a chat request. Nothing is stored here: a call says all that it builds on.

Source: OpenAI's API reference, "Create a model response".
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from cognitionos.llm_gateway.domain.chat import ChatRequest, Message, system, tool, tool_result
from cognitionos.llm_gateway.domain.errors import InvalidChatRequest
from cognitionos.llm_gateway.infrastructure.taken_fields import not_taken

_SEND_ALL = "answers are not stored here; send the earlier items in 'input' instead"
_NEEDS_STATE: Mapping[str, str] = {
    "previous_response_id": _SEND_ALL,
    "conversation": _SEND_ALL,
    "store": "answers are not stored here; leave it out or send false",
    "background": "calls are answered at once; leave it out, or submit a goal to POST /v1/goals",
    "prompt": "prompts are not stored here; send it in 'instructions' and 'input' instead",
    "context_management": "input is never cut; leave it out",
    "top_logprobs": "this format carries no log probabilities here; ask /v1/chat/completions for them",
    "max_tool_calls": "only functions are called, and by yourself; leave it out",
}
_SUMMARIES = (None, "auto", "concise", "detailed", "none")
"""Of the model's thoughts, where it tells them: nobody is asked for one."""
_OWN_ITEMS = frozenset({"message", "function_call", "function_call_output"})
_ROLES = frozenset({"user", "assistant", "system", "developer"})
_TAKEN = {
    "message": frozenset({"type", "role", "content", "id", "status"}),
    "function_call": frozenset({"type", "id", "status", "call_id", "name", "arguments", "parsed_arguments"}),
    "function_call_output": frozenset({"type", "id", "status", "call_id", "output"}),
}
"""Of an item; what an answer's item says of itself may come back."""
_OF_A_PART = {
    **dict.fromkeys(("input_text", "output_text", "text"), frozenset({"type", "text", "parsed"})),
    "output_text": frozenset({"type", "text", "parsed", "annotations", "logprobs"}),
    "refusal": frozenset({"type", "refusal"}),
    "input_image": frozenset({"type", "image_url", "detail"}),
    "input_file": frozenset({"type", "file_data", "filename"}),
}
_SAID_IN = ("text", "refusal", "image_url", "file_data")
_OF_OPTIONS = frozenset({"include_obfuscation"})
_OF_A_TOOL = frozenset({"type", "name", "description", "parameters", "strict"})
_OF_A_FORMAT = frozenset({"type", "name", "description", "schema", "strict"})
_TEXTS = frozenset({"input_text", "output_text", "text"})
_ANSWERED = frozenset({"include", "metadata", "truncation", "stream_options"})
"""Fields that the answer repeats, or that ask for nothing with the values that are let through."""


def responses_request(body: Mapping[str, Any]) -> ChatRequest:
    """The request in a decoded body. Raises `InvalidChatRequest` naming a field that needs state or other tools."""
    _check(body)
    extra = {name: value for name, value in body.items() if name not in _NEEDS_STATE and name not in _ANSWERED}
    messages = _messages(extra.pop("instructions", None), extra.pop("input", None))
    tools = tuple(_tool(each, f"tools.{index}") for index, each in enumerate(_list(extra.pop("tools", None), "tools")))
    text = _mapping(extra.pop("text", None), "text")
    reasoning = _mapping(extra.pop("reasoning", None), "reasoning")
    extra |= {"verbosity": text.get("verbosity"), "reasoning_effort": reasoning.get("effort"), "stream": None}
    return ChatRequest(
        messages=messages,
        model=extra.pop("model", None),
        tools=tools,
        tool_choice=_choice(extra.pop("tool_choice", None)),
        response_format=_format(_mapping(text.get("format"), "text.format")),
        temperature=extra.pop("temperature", None),
        max_tokens=extra.pop("max_output_tokens", None),
        include_usage=True,
        extra={name: value for name, value in extra.items() if value is not None},
    )


def _check(body: Mapping[str, Any]) -> None:
    for name, remedy in _NEEDS_STATE.items():
        if body.get(name):
            raise _invalid(name, remedy)
    for each in _list(body.get("include"), "include"):
        if each != "reasoning.encrypted_content":
            raise _invalid("include", f"'{each}' cannot be included")
    if body.get("truncation") not in (None, "disabled", "auto"):
        raise _invalid("truncation", "'auto' or 'disabled'; input is never cut, what is too long is refused")
    if _mapping(body.get("reasoning"), "reasoning").get("summary") not in _SUMMARIES:
        raise _invalid("reasoning.summary", "'auto', 'concise', 'detailed' or 'none'")
    _check_taken(_mapping(body.get("stream_options"), "stream_options"), _OF_OPTIONS, "stream_options")
    for field, known in (("reasoning", {"effort", "summary"}), ("text", {"format", "verbosity"})):
        for name, value in _mapping(body.get(field), field).items():
            if name not in known and value is not None:
                raise _invalid(f"{field}.{name}", "there is no such setting here; leave it out")


def _messages(instructions: object, given: object) -> tuple[Message, ...]:
    found: list[Message] = []
    if instructions is not None:
        if not isinstance(instructions, str):
            raise _invalid("instructions", "must be text")
        found.append(system(instructions))
    items = [{"role": "user", "content": given}] if isinstance(given, str) else _list(given, "input")
    for index, item in enumerate(items):
        _add(found, _mapping(item, f"input.{index}"), f"input.{index}")
    if not items:
        raise _invalid("input", "must be text or a non-empty list of items")
    return tuple(found)


def _add(found: list[Message], item: Mapping[str, Any], where: str) -> None:
    kind = item.get("type", "message")
    if kind not in _OWN_ITEMS:
        raise _invalid(f"{where}.type", f"'{kind}' is not known here: messages, function calls and their outputs are")
    _check_taken(item, _TAKEN[kind], where)
    if kind == "function_call_output":
        found.append(tool_result(str(item.get("call_id", "")), "") | {"content": _content(item.get("output"), where)})
    elif kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        last = found[-1] if found and found[-1].get("role") == "assistant" else None
        if last is None:
            found.append({"role": "assistant", "content": None, "tool_calls": [call]})
        else:
            calls = [*last.get("tool_calls", ()), call]
            found[-1] = {**last, "content": last.get("content") or None, "tool_calls": calls}
    elif item.get("role") in _ROLES:
        found.append({"role": item["role"], "content": _content(item.get("content"), f"{where}.content")})
    else:
        raise _invalid(f"{where}.role", f"must be one of {sorted(_ROLES)}")


def _content(content: object, where: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    parts = [_part(_mapping(each, f"{where}.{at}"), f"{where}.{at}") for at, each in enumerate(_list(content, where))]
    if parts and all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts) if len(parts) == 1 else parts
    return parts or ""


def _part(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind = part.get("type")
    if any(isinstance(part.get(name), str) for name in _SAID_IN):
        _check_taken(part, _OF_A_PART.get(str(kind), part.keys()), where)
    if kind in _TEXTS:
        return {"type": "text", "text": str(part.get("text", ""))}
    if kind == "refusal":
        return {"type": "refusal", "refusal": str(part.get("refusal", ""))}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"]} | detail}
    if kind == "input_file" and isinstance(part.get("file_data"), str):
        name = {"filename": part["filename"]} if part.get("filename") else {}
        return {"type": "file", "file": {"file_data": part["file_data"]} | name}
    raise _invalid(where, "must be text, an image by 'image_url' or a file by 'file_data'; nothing is stored here")


def _tool(each: object, where: str) -> dict[str, Any]:
    given = _mapping(each, where)
    if given.get("type") != "function":
        raise _invalid(f"{where}.type", "only tools of the type 'function' are offered to the model")
    if not isinstance(given.get("name"), str):
        raise _invalid(f"{where}.name", "must be the name of the function")
    _check_taken(given, _OF_A_TOOL, where)
    made = tool(given["name"], str(given.get("description") or ""), given.get("parameters") or {"type": "object"})
    if given.get("strict") is not None:
        made["function"]["strict"] = given["strict"]
    return made


def _choice(choice: object) -> Any:
    if choice is None or isinstance(choice, str):
        return choice
    given = _mapping(choice, "tool_choice")
    if given.get("type") != "function":
        raise _invalid("tool_choice", "must be 'auto', 'required', 'none' or one function")
    _check_taken(given, frozenset({"type", "name"}), "tool_choice")
    return {"type": "function", "function": {"name": given.get("name")}}


def _format(given: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = given.get("type", "text")
    _check_taken(given, _OF_A_FORMAT, "text.format")
    if kind == "json_schema":
        described = {name: given[name] for name in ("name", "description", "schema", "strict") if name in given}
        return {"type": kind, "json_schema": described}
    return None if kind == "text" else {"type": kind}


def _check_taken(given: Mapping[str, Any], taken: AbstractSet[str], where: str) -> None:
    field = not_taken(given, taken, where)
    if field is not None:
        raise _invalid(field, "there is no such field here; leave it out")


def _list(value: object, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise _invalid(where, "must be a list")
    return value or []


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise _invalid(where, "must be an object")
    return value or {}


def _invalid(where: str, what: str) -> InvalidChatRequest:
    return InvalidChatRequest(f"'{where}': {what}.", fields={where: what})
