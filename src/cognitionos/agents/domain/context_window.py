"""Fits a conversation into what a model can read: older steps are summed up (`application/folding.py`), or become one
line each, and it says so; nothing is cut without a word.

A conversation is its opening (system and first user message) and turns. Each turn begins with a message of the
assistant and ends before the next, so that a tool's answer is never parted from its call.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cognitionos.agents.domain.tool import clipped

Message = Mapping[str, Any]

_BYTES_PER_TOKEN = 3
_TOKENS_PER_MESSAGE = 8
_LINE = 160
_LEAST_RESULT = 400
_NOTE = "Your earlier steps, shortened to fit:"
_SUMMARY = "## Your earlier steps, summed up"
_ROOM_AFTER = 0.6
"""Of the limit: what is shown after steps were summed up, so that the next ones need not be at once."""


def estimated_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens `messages` are; rather too many than too few."""
    return sum(len(_text(message).encode()) // _BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE for message in messages)


def pack(opening: Sequence[Message], rest: Sequence[Message], *, limit: int) -> list[Message]:
    """`opening` and `rest` in at most `limit` estimated tokens where that can be done.

    Whole turns are shortened, oldest first; then long tool answers of what is left; the opening is never touched.
    """
    turns = _turns(rest)
    for first in range(len(turns)):
        packed = [*_with_note(opening, turns[:first]), *_joined(turns[first:])]
        if estimated_tokens(packed) <= limit:
            return packed
    last = turns[-1:]
    noted = _with_note(opening, turns[:-1])
    for size in (8_000, 2_000, _LEAST_RESULT):
        packed = [*noted, *(_clip_result(message, size) for message in _joined(last))]
        if estimated_tokens(packed) <= limit:
            break
    else:
        packed = [*noted, *(_clip_result(message, _LEAST_RESULT) for message in _joined(last))]
    return packed


def foldable(opening: Sequence[Message], rest: Sequence[Message], *, limit: int) -> int:
    """How many messages of `rest`, the oldest, are to be summed up so that the others fit; 0: none, or none can be.

    The last turn is never among them.
    """
    turns = _turns(rest)
    if len(turns) < 2 or estimated_tokens([*opening, *rest]) <= limit:
        return 0
    first = next(
        (
            first
            for first in range(1, len(turns) - 1)
            if estimated_tokens([*opening, *_joined(turns[first:])]) <= _ROOM_AFTER * limit
        ),
        len(turns) - 1,
    )
    return sum(len(turn) for turn in turns[:first])


def transcript(messages: Sequence[Message], *, limit: int) -> str:
    """Who said what, in at most about `limit` tokens; where something is left out it says how much."""
    most = max(_LEAST_RESULT // 2, limit * _BYTES_PER_TOKEN // max(1, len(messages)) - _LINE)
    return "\n".join(f"- {line}" for message in messages if (line := digest(message, most)))


def with_summary(opening: Sequence[Message], summary: str) -> list[Message]:
    """The opening, its last message extended by what was summed up (roles keep alternating)."""
    last = opening[-1]
    return [*opening[:-1], {**last, "content": f"{last['content']}\n\n{_SUMMARY}\n{summary}"}]


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    turns: list[list[Message]] = []
    for message in messages:
        if message["role"] == "assistant" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def _joined(turns: Sequence[Sequence[Message]]) -> list[Message]:
    return [message for turn in turns for message in turn]


def _with_note(opening: Sequence[Message], dropped: Sequence[Sequence[Message]]) -> list[Message]:
    """The opening, its last message extended by one line for each dropped message (roles keep alternating)."""
    if not dropped:
        return list(opening)
    lines = [f"{number}. {digest(message)}" for number, turn in enumerate(dropped, 1) for message in turn]
    note = "\n".join([_NOTE, *lines])
    last = opening[-1]
    return [*opening[:-1], {**last, "content": f"{last['content']}\n\n{note}"}]


def digest(message: Message, most: int = _LINE) -> str:
    """A message in one line of about `most` characters, as its agent is told of it; what is left out is counted."""
    calls = message.get("tool_calls") or ()
    names = {"assistant": "you said", "tool": "it answered", "user": "you were told"}
    if calls:
        return "; ".join(
            f"you called {call['function']['name']} with {_short(call['function']['arguments'], most)}"
            for call in calls
        )
    return f"{names.get(message['role'], message['role'])}: {_short(str(message.get('content') or ''), most)}"


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]} [... {len(line) - most} characters left out]"


def _clip_result(message: Message, size: int) -> Message:
    if message["role"] != "tool":
        return message
    return {**message, "content": clipped(str(message["content"]), size)}


def _text(message: Message) -> str:
    calls = message.get("tool_calls")
    return str(message.get("content") or "") + (json.dumps(calls) if calls else "")
