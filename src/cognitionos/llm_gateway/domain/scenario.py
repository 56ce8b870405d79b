"""Scripted words for the simulated model: a scenario is a list of rules, the first that fits the conversation speaks.

A rule stands in for a model's words only: `{{tool:0:path}}` puts in what a tool really answered.

Conditions (all that are given must hold): `system_contains` and `contains` (lists of words that the system's or the
user's messages hold, upper and lower case alike), `tool_results` (how many tools answered since the user last spoke),
`assistant_turns` (how often the assistant has spoken). Then exactly one of `say` (text), `json` (a value, sent as
text), `call` (a list of `{"name", "arguments"}`; all must be offered, else the rule does not fit).

Strings may hold `{{tool:N}}` (the N-th tool's answer), `{{tool:N:a.0.b}}` (a value inside it, read as JSON) and
`{{user:REGEX}}` (its first group, or the whole match). A string that is nothing but one of them takes the value with
its type; a value that is not there means that the rule does not fit.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cognitionos.llm_gateway.domain.chat import Message

_PLACEHOLDER = re.compile(r"\{\{(tool|user):(.*?)\}\}", re.DOTALL)
_CONDITIONS = frozenset({"system_contains", "contains", "tool_results", "assistant_turns"})
_ACTIONS = ("say", "json", "call")


class ScenarioInvalid(ValueError):
    """A scenario file breaks the format; the message says where."""


class _NoValue(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Conversation:
    """What rules look at: the words of the system and the user, and the tool results since the user last spoke."""

    system: str
    user: str
    tools: tuple[str, ...]
    assistant_turns: int

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Conversation":
        """The view of a request's messages."""
        tools: list[str] = []
        for message in messages:
            if message.get("role") == "user":
                tools.clear()
            elif message.get("role") == "tool":
                tools.append(words_of(message))
        return cls(
            system="\n".join(words_of(each) for each in messages if each.get("role") in {"system", "developer"}),
            user="\n".join(words_of(each) for each in messages if each.get("role") == "user"),
            tools=tuple(tools),
            assistant_turns=sum(1 for each in messages if each.get("role") == "assistant"),
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a rule says: text, or calls of tools as (name, arguments)."""

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a scenario. All its conditions must hold; upper and lower case are the same."""

    system_contains: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    tool_results: int | None = None
    assistant_turns: int | None = None
    action: str
    content: Any

    def reply(self, conversation: Conversation, *, offered: frozenset[str]) -> Reply | None:
        """What it says to this conversation; None where it does not fit, lacks a value or needs a tool not offered."""
        if not self._fits(conversation):
            return None
        try:
            content = _filled(self.content, conversation)
        except _NoValue:
            return None
        if self.action == "call":
            calls = tuple((each["name"], each.get("arguments") or {}) for each in content)
            return Reply(calls=calls) if all(name in offered for name, _ in calls) else None
        return Reply(text=content if self.action == "say" else json.dumps(content, ensure_ascii=False))

    def _fits(self, conversation: Conversation) -> bool:
        system, user = conversation.system.lower(), conversation.user.lower()
        return (
            all(words in system for words in self.system_contains)
            and all(words in user for words in self.contains)
            and self.tool_results in (None, len(conversation.tools))
            and self.assistant_turns in (None, conversation.assistant_turns)
        )


def rules_from(value: object, *, where: str) -> tuple[Rule, ...]:
    """The rules of a decoded scenario file; raises `ScenarioInvalid`."""
    if not isinstance(value, list):
        raise ScenarioInvalid(f"{where}: a scenario is a list of rules")
    return tuple(_rule(each, where=f"{where}[{number}]") for number, each in enumerate(value))


def words_of(message: Message) -> str:
    """The text of a message, whatever parts it has."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _rule(value: object, *, where: str) -> Rule:
    if not isinstance(value, Mapping):
        raise ScenarioInvalid(f"{where}: a rule is an object")
    unknown = set(value) - _CONDITIONS - set(_ACTIONS) - {"comment"}
    actions = [name for name in _ACTIONS if name in value]
    if unknown or len(actions) != 1:
        raise ScenarioInvalid(f"{where}: exactly one of {_ACTIONS} and no other fields than {sorted(_CONDITIONS)}")
    content = value[actions[0]]
    if actions[0] == "call" and not (
        isinstance(content, list) and all(isinstance(each, Mapping) and "name" in each for each in content)
    ):
        raise ScenarioInvalid(f"{where}: 'call' is a list of objects with 'name' and 'arguments'")
    return Rule(
        system_contains=tuple(words.lower() for words in value.get("system_contains", ())),
        contains=tuple(words.lower() for words in value.get("contains", ())),
        tool_results=value.get("tool_results"),
        assistant_turns=value.get("assistant_turns"),
        action=actions[0],
        content=content,
    )


def _filled(value: Any, conversation: Conversation) -> Any:
    if isinstance(value, str):
        alone = _PLACEHOLDER.fullmatch(value)
        if alone is not None:
            return _value(alone, conversation)
        return _PLACEHOLDER.sub(lambda match: _text(_value(match, conversation)), value)
    if isinstance(value, Mapping):
        return {name: _filled(each, conversation) for name, each in value.items()}
    return [_filled(each, conversation) for each in value] if isinstance(value, list) else value


def _value(match: re.Match[str], conversation: Conversation) -> Any:
    source, what = match.groups()
    if source == "user":
        found = re.search(what, conversation.user)
        if found is None:
            raise _NoValue
        return found.group(1) if found.re.groups else found.group(0)
    number, _, path = what.partition(":")
    try:
        text = conversation.tools[int(number)]
        return _at(json.loads(text), path) if path else text
    except (ValueError, LookupError, TypeError) as error:
        raise _NoValue from error


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
