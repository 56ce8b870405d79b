"""The wire form of a chunk of an OpenAI-shaped stream, as far as a translation into another shape reads it."""

from typing import Any

import msgspec


class Function(msgspec.Struct):
    """A tool call's name, and the next piece of its arguments."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """A piece of the tool call at `index`."""

    index: int = 0
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    """What the chunk adds."""

    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(msgspec.Struct):
    """An answer of the chunk's."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """A chunk of OpenAI's, or with a `type` an event of Anthropic's that passes unchanged."""

    type: str | None = None
    anthropic: msgspec.Raw = msgspec.Raw()
    model: str = ""
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None


decode_chunk = msgspec.json.Decoder(Chunk).decode
