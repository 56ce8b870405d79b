"""A chunk of an OpenAI-shaped stream, as far as a translation into another shape reads it.

Read leniently: what says nothing (a null choice, a null index) is passed over, words in parts are words. What cannot be
read ends the translated stream: leaving it out would tell something else than the model said.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from cognitionos.llm_gateway.domain.answer import thoughts_of, words_of
from cognitionos.llm_gateway.domain.errors import StreamBroken
from cognitionos.llm_gateway.infrastructure.openai_schema import decode_object


class Function(msgspec.Struct):
    """A tool call's name, and the next piece of its arguments."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """A piece of the tool call at `index`; None: the server does not count them."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct):
    """What the chunk adds."""

    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall | None] | None = None


class Choice(msgspec.Struct):
    """An answer of the chunk's."""

    index: int | None = 0
    delta: Delta | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """A chunk of OpenAI's, or with a `type` an event of Anthropic's that passes unchanged."""

    type: str | None = None
    anthropic: msgspec.Raw = msgspec.Raw()
    model: str | None = None
    choices: list[Choice | None] | None = None
    usage: dict[str, Any] | None = None

    def first(self) -> list[Choice]:
        """The pieces of the first answer; the others have no place in other shapes."""
        return [choice for choice in self.choices or () if choice is not None and not choice.index]


_decode = msgspec.json.Decoder(Chunk).decode
_UNREADABLE = "The model's server sent a piece that cannot be told in this format: {}."


def read(data: bytes) -> Chunk:
    """The chunk in a JSON text. Raises `StreamBroken` naming what of it cannot be read."""
    try:
        return _decode(data)
    except msgspec.ValidationError:
        return _dialect(data)


def _dialect(data: bytes) -> Chunk:
    try:
        wire = decode_object(data)
        choices = [_plain(choice) for choice in wire.get("choices") or () if choice is not None]
        usage = wire["usage"] if isinstance(wire.get("usage"), dict) else None
        model = wire["model"] if isinstance(wire.get("model"), str) else None
        return Chunk(model=model, usage=usage, choices=msgspec.convert(choices, list[Choice | None], strict=False))
    except (msgspec.ValidationError, TypeError, AttributeError) as error:
        raise StreamBroken(_UNREADABLE.format(error)) from error


def _plain(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice with words in parts as words."""
    delta = choice.get("delta") or {}
    if isinstance(delta.get("content"), list):
        said = {"content": words_of(delta["content"]), "reasoning_content": thoughts_of(delta)}
        delta = {**delta, **said}
    return {**choice, "delta": delta}
