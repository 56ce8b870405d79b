"""A streamed answer in OpenAI's shape, put together from its events, whatever they carry beside words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_NOT_KEPT = frozenset({"choices", "usage", "obfuscation"})
_PARTS = "tool_calls"
_THOUGHTS = "thinking_blocks"
"""Anthropic's, each in one piece with its place as `index`; a whole answer has them without."""


@dataclass(slots=True)
class _Choice:
    """One choice: texts in pieces by the name of their field, lists as they grew, anything else as it was last said."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: dict[str, list[Any]] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        for name, value in (choice.get("logprobs") or {}).items():
            self.logprobs.setdefault(name, []).extend(value or ())
        for name, value in (choice.get("delta") or {}).items():
            if name == _PARTS:
                for call in value or ():
                    self._add_call(call)
            elif isinstance(value, str) and name != "role":
                self.texts.setdefault(name, []).append(value)
            elif isinstance(value, list):
                self.others.setdefault(name, []).extend(_unnumbered(value) if name == _THOUGHTS else value)
            elif value is not None and name != "role":
                self.others[name] = value

    def message(self) -> dict[str, Any]:
        texts = {name: text for name, pieces in self.texts.items() if (text := "".join(pieces))}
        words = {"role": "assistant", "content": texts.pop("content", None), "refusal": None}
        said: dict[str, Any] = {**words, **texts, **self.others}
        if self.calls:
            said[_PARTS] = [self.calls[index] for index in sorted(self.calls)]
        return said

    def _add_call(self, part: Mapping[str, Any]) -> None:
        """Name and id come once, the arguments in pieces."""
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = self.calls.setdefault(part.get("index") or 0, empty)
        given = part.get("function") or {}
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] = given.get("name") or call["function"]["name"]
        call["function"]["arguments"] += given.get("arguments") or ""


@dataclass(slots=True)
class Gathered:
    """A stream so far."""

    head: Mapping[str, Any] = field(default_factory=dict)
    _choices: dict[int, _Choice] = field(default_factory=dict)

    def add(self, event: Mapping[str, Any]) -> str:
        """Take in one event; the words that it adds to the first choice."""
        self.head = self.head or event
        words = ""
        for choice in event.get("choices") or ():
            index = choice.get("index") or 0
            self._choices.setdefault(index, _Choice()).add(choice)
            said = (choice.get("delta") or {}).get("content")
            if index == 0 and isinstance(said, str):
                words += said
        return words

    def wire(self) -> dict[str, Any]:
        """The answer as it would have come whole, but for its usage."""
        kept = {name: value for name, value in self.head.items() if name not in _NOT_KEPT}
        return kept | {"object": "chat.completion", "choices": self._said("message")}

    def event(self) -> dict[str, Any]:
        """All of it as one event, as if it had come at once. Not for one with tool calls."""
        return {**self.head, "choices": self._said("delta")}

    def _said(self, name: str) -> list[dict[str, Any]]:
        """Every choice with its message under this name; an empty one where there was none."""
        return [
            {
                "index": index,
                name: choice.message(),
                "logprobs": choice.logprobs or None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in sorted(self._choices.items()) or [(0, _Choice())]
        ]


def _unnumbered(blocks: list[Any]) -> list[Any]:
    return [
        {name: value for name, value in each.items() if name != "index"} if isinstance(each, Mapping) else each
        for each in blocks
    ]
