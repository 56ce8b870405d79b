"""Talking with an agent: what a turn is, and what of earlier turns the agent is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

from cognitionos.agents.domain.context_window import Message, pack
from cognitionos.agents.domain.notes import as_notes
from cognitionos.kernel.errors import Conflict, NotFound, Unavailable

MOST_TURNS_SHOWN = 200
_MOST_MEMORY_CHARACTERS = 3_000
_ANSWERED_NOTHING = "(nothing)"


class ConversationNotFound(NotFound):
    """This tenant has no such conversation."""


class ConversationBusy(Conflict):
    """The agent has not answered the last message yet."""


class NothingToResume(Conflict):
    """No turn of this conversation was broken off."""


class TurnCancelled(Conflict):
    """Somebody cancelled the turn, or deleted its conversation, before it ended."""


class TurnBrokenOff(Unavailable):
    """The process that worked on the turn ended so often without an answer that it is not tried again."""


class TurnStatus(StrEnum):
    """`running` also says: broken off by a crash, until somebody takes it up. `waiting`: for people to decide."""

    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in {TurnStatus.RUNNING, TurnStatus.WAITING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation."""

    id: UUID
    tenant_id: UUID
    project_id: UUID
    agent: str
    title: str
    created_at: datetime
    user_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message and what became of it. `outcome` is what the agent needed; `error` has `type` and `detail`.

    `broken_off` counts the processes that ended while they worked on it. `follows_failure`: the message before it was
    not answered, so that this one may be the same said again.
    """

    id: UUID
    conversation_id: UUID
    number: int
    api_key_id: UUID | None
    user_name: str | None
    message: str
    status: TurnStatus
    fence: int
    broken_off: int = 0
    follows_failure: bool = False
    answer: str | None = None
    error: Mapping[str, Any] | None = None
    outcome: Mapping[str, Any] | None = None
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What the agent is shown of a conversation: earlier messages with their answers, the new one, what memory has."""

    message: str
    earlier: tuple[tuple[str, str], ...] = ()
    memories: tuple[str, ...] = field(default=())


def opening_of_turn(prompt: Message, exchange: Exchange, *, limit: int) -> list[Message]:
    """The first messages of a turn, in about `limit` tokens: older exchanges become one line each, and say so.

    The new message itself is never shortened.
    """
    first, *rest = said = said_in(exchange)
    if not rest:
        return [prompt, first]
    return _with_last_whole(pack([prompt, first], rest, limit=limit), said[-1])


def said_in(exchange: Exchange) -> list[Message]:
    """The messages of an exchange, the new one last, with what memory has."""
    said: list[Message] = []
    for message, answer in exchange.earlier:
        said += [_user(message), {"role": "assistant", "content": answer or _ANSWERED_NOTHING}]
    return [*said, _user(_with_memories(exchange.message, exchange.memories))]


def mark_of(exchange: tuple[str, str]) -> str:
    """What an earlier message and its answer are known by."""
    return sha256("\x00".join(exchange).encode()).hexdigest()[:24]


def after(mark: str, earlier: Sequence[tuple[str, str]]) -> int | None:
    """Where in `earlier` it goes on behind the exchange with this mark; None: it is not among them."""
    found = (number for number, each in enumerate(earlier, 1) if mark_of(each) == mark)
    return max(found, default=None)


def _with_last_whole(packed: Sequence[Message], last: Message) -> list[Message]:
    """`pack` keeps the last turn, which ends with the new message."""
    return [*packed[:-1], last]


def _with_memories(message: str, memories: Sequence[str]) -> str:
    if not memories:
        return message
    return f"{message}\n\n## Known from memory\n{as_notes(memories, most=_MOST_MEMORY_CHARACTERS)}"


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
