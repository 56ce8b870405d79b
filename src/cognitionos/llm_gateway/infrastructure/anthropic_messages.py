"""A conversation in OpenAI's shape as one in Anthropic's: system apart, tool results in user turns, no turn twice.

Parts that Anthropic knows and OpenAI does not (documents, cache marks, thinking) are let through as they are.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from cognitionos.llm_gateway.domain.chat import Message, ToolCall
from cognitionos.llm_gateway.domain.errors import RequestRefused
from cognitionos.llm_gateway.infrastructure.taken_fields import not_taken

Block = dict[str, Any]
_TAKEN = {
    "system": frozenset({"role", "content", "cache_control"}),
    "developer": frozenset({"role", "content", "cache_control"}),
    "user": frozenset({"role", "content", "cache_control"}),
    "tool": frozenset({"role", "content", "cache_control", "tool_call_id"}),
    "assistant": frozenset({"role", "content", "cache_control", "refusal", "tool_calls", "thinking_blocks"})
    | frozenset({"annotations", "parsed"}),
}
"""Of a message. What an answer says twice (`parsed`), or of its own words (`annotations`), may come back unread."""
_OF_A_CALL = frozenset({"id", "type", "index", "function", "cache_control"})
_OF_ITS_FUNCTION = frozenset({"name", "arguments", "parsed_arguments"})
_OF_AN_IMAGE, _OF_A_FILE = frozenset({"url", "detail"}), frozenset({"file_data", "filename"})
_OF_NO_MESSAGE = {
    "name": "participants have no names; say it in the content",
    "function_call": "send 'tool_calls'",
    "audio": "text, images and documents, no audio",
}


def refused(field: str, why: str) -> RequestRefused:
    """The error for a field that Anthropic has nothing for."""
    return RequestRefused(f"Anthropic's models cannot take '{field}': {why}", fields={field: why})


def check_taken(given: Mapping[str, Any], taken: AbstractSet[str], where: str) -> None:
    """Raise `RequestRefused` naming the first field of `given` that says something and is not `taken`."""
    field = not_taken(given, taken, where)
    if field is not None:
        raise refused(field, "there is nothing like it; leave it out")


def conversation(messages: Sequence[Message]) -> tuple[list[Block], list[dict[str, Any]]]:
    """The system blocks and the turns. Raises `RequestRefused` naming the place that cannot be said."""
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    called: dict[Any, Any] = {}
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        _check(message, where, called)
        if message.get("role") in {"system", "developer"}:
            system += _marked(_content(message.get("content"), where), message)
            continue
        role, blocks = _turn(message, where)
        called |= {block.get("id"): block.get("name") for block in blocks if block.get("type") == "tool_use"}
        blocks = _marked(blocks, message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise refused("messages", "at least one message of a user, with content")
    return system, turns


def _check(message: Message, where: str, called: Mapping[Any, Any]) -> None:
    """A tool's result may name the tool that was called."""
    role = message.get("role")
    if role not in _TAKEN:
        return
    for name, remedy in _OF_NO_MESSAGE.items():
        is_known = role == "tool" and name == "name" and message.get(name) == called.get(message.get("tool_call_id"))
        if message.get(name) is not None and not is_known:
            raise refused(f"{where}.{name}", remedy)
    told_by_blocks = {"reasoning_content"} if message.get("thinking_blocks") else set()
    check_taken(message, _TAKEN[role] | _OF_NO_MESSAGE.keys() | told_by_blocks, where)


def _marked(blocks: list[Block], message: Message) -> list[Block]:
    """With a mark for caching that the message carries on the last of them."""
    mark = message.get("cache_control")
    return [*blocks[:-1], {"cache_control": mark} | blocks[-1]] if mark and blocks else blocks


def _turn(message: Message, where: str) -> tuple[str, list[Block]]:
    match message.get("role"):
        case "tool":
            result: Block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
            return "user", [result | {"content": _content(message.get("content"), where)}]
        case "assistant":
            return "assistant", _assistant(message, where)
        case "user":
            return "user", _content(message.get("content"), where)
        case role:
            raise refused(f"{where}.role", f"'{role}' is no role there; send tool results with the role 'tool'")


def _assistant(message: Message, where: str) -> list[Block]:
    blocks = [
        {name: value for name, value in each.items() if name != "index"}  # it is our streams', not Anthropic's
        for each in message.get("thinking_blocks") or ()
    ]
    blocks += _content(message.get("content"), where)
    blocks += [{"type": "text", "text": message["refusal"]}] if message.get("refusal") else []
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function")
        if not isinstance(function, Mapping):
            raise refused(f"{where}.tool_calls.{index}", "only calls of functions")
        check_taken(call, _OF_A_CALL, f"{where}.tool_calls.{index}")
        check_taken(function, _OF_ITS_FUNCTION, f"{where}.tool_calls.{index}.function")
        made = ToolCall(id=call.get("id", ""), name=function.get("name", ""), arguments=function.get("arguments") or "")
        try:
            arguments = made.parsed()
        except ValueError as error:
            raise refused(f"{where}.tool_calls.{index}.function.arguments", f"a JSON object ({error})") from error
        blocks.append({"type": "tool_use", "id": made.id, "name": made.name, "input": arguments})
    return blocks


def _content(content: object, where: str) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    parts = content if isinstance(content, list | tuple) else ()
    blocks = (_block(part, f"{where}.content.{index}") for index, part in enumerate(parts))
    return [block for block in blocks if block.get("type") != "text" or block.get("text")]


def _block(part: Mapping[str, Any], where: str) -> Block:
    match part.get("type"):
        case "refusal":
            return {"type": "text", "text": part.get("refusal", "")}
        case "image_url":
            return _image(part, where)
        case "file":
            return _document(part, where)
        case "input_audio":
            raise refused(f"{where}.type", "text, images and documents, no audio")
    return dict(part)


def _image(part: Mapping[str, Any], where: str) -> Block:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else None
    if not isinstance(image, Mapping) or not isinstance(url, str):
        raise refused(f"{where}.image_url", "an object with a url")
    check_taken(image, _OF_AN_IMAGE, f"{where}.image_url")
    if image.get("detail") not in (None, "auto"):
        raise refused(f"{where}.image_url.detail", "there is no level of detail to choose; leave it out")
    kept = {name: value for name, value in part.items() if name not in {"type", "image_url"}}
    return {"type": "image", "source": _source(url, f"{where}.image_url.url")} | kept


def _document(part: Mapping[str, Any], where: str) -> Block:
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, Mapping) else None
    if not isinstance(file, Mapping) or not isinstance(data, str):
        raise refused(f"{where}.file", "send the file itself as 'file_data', a data URL")
    check_taken(file, _OF_A_FILE, f"{where}.file")
    kept = {name: value for name, value in part.items() if name not in {"type", "file"}}
    block: Block = kept | {"type": "document", "source": _source(data, f"{where}.file.file_data")}
    return block | {"title": file["filename"]} if file.get("filename") else block


def _source(url: str, where: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, comma, data = url[5:].partition(",")
    media_type, mark, _ = head.partition(";base64")
    if not comma or not mark:
        raise refused(where, "a data URL has the form data:image/png;base64,...")
    return {"type": "base64", "media_type": media_type, "data": data}
