"""A conversation in OpenAI's shape as one in Anthropic's: system apart, tool results in user turns, no turn twice.

Parts that Anthropic knows and OpenAI does not (documents, cache marks, thinking) are let through as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cognitionos.llm_gateway.domain.chat import Message, ToolCall
from cognitionos.llm_gateway.domain.errors import RequestRefused

Block = dict[str, Any]
_OF_NO_MESSAGE = {
    "name": "participants have no names; say it in the content",
    "function_call": "send 'tool_calls'",
    "audio": "text, images and documents, no audio",
}


def refused(field: str, why: str) -> RequestRefused:
    """The error for a field that Anthropic has nothing for."""
    return RequestRefused(f"Anthropic's models cannot take '{field}': {why}", fields={field: why})


def conversation(messages: Sequence[Message]) -> tuple[list[Block], list[dict[str, Any]]]:
    """The system blocks and the turns. Raises `RequestRefused` naming the place that cannot be said."""
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if message.get("role") in {"system", "developer"}:
            system += _content(message.get("content"), where)
            continue
        role, blocks = _turn(message, where)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise refused("messages", "at least one message of a user, with content")
    return system, turns


def _turn(message: Message, where: str) -> tuple[str, list[Block]]:
    for name, remedy in _OF_NO_MESSAGE.items():
        if message.get(name) is not None and message.get("role") in {"user", "assistant"}:
            raise refused(f"{where}.{name}", remedy)
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
    blocks = [dict(each) for each in message.get("thinking_blocks") or ()]
    blocks += _content(message.get("content"), where)
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function")
        if not isinstance(function, Mapping):
            raise refused(f"{where}.tool_calls.{index}", "only calls of functions")
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
    if image.get("detail") not in (None, "auto"):
        raise refused(f"{where}.image_url.detail", "there is no level of detail to choose; leave it out")
    kept = {name: value for name, value in part.items() if name not in {"type", "image_url"}}
    return {"type": "image", "source": _source(url, f"{where}.image_url.url")} | kept


def _document(part: Mapping[str, Any], where: str) -> Block:
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, Mapping) else None
    if not isinstance(file, Mapping) or not isinstance(data, str):
        raise refused(f"{where}.file", "send the file itself as 'file_data', a data URL")
    block: Block = {"type": "document", "source": _source(data, f"{where}.file.file_data")}
    return block | {"title": file["filename"]} if file.get("filename") else block


def _source(url: str, where: str) -> dict[str, Any]:
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, comma, data = url[5:].partition(",")
    media_type, mark, _ = head.partition(";base64")
    if not comma or not mark:
        raise refused(where, "a data URL has the form data:image/png;base64,...")
    return {"type": "base64", "media_type": media_type, "data": data}
