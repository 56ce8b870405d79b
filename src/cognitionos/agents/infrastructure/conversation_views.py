"""Conversations and turns as HTTP shows them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from cognitionos.agents.domain.conversation import Turn
from cognitionos.agents.infrastructure.conversation_queries import FoundRow, TalkRow
from cognitionos.kernel.money import usd_text

DEFAULT_AGENT = "executor"
LONGEST_MESSAGE = 20_000


class StartConversation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`agent` is one of `/v1/agents`. `user` is whom the caller speaks for."""

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = DEFAULT_AGENT
    title: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*\Z")] = ""
    user: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\Z")] | None = None


class ConversationView(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. `status` is its last turn's; null: nobody has said anything."""

    id: UUID
    agent: str
    title: str
    user: str | None
    turns: int
    status: str | None
    created_at: datetime


class FoundTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A message and its answer in which the words stand; `excerpt` is what is around them."""

    conversation_id: UUID
    number: int
    title: str
    agent: str
    user: str | None
    excerpt: str
    at: datetime
    href: str


class FoundTurns(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    items: list[FoundTurn]


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """How many conversations were deleted."""

    deleted: int


class SendMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is said. `stream`: tell what happens as it happens (`text/event-stream`)."""

    content: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_MESSAGE, pattern=r"^[^\x00]*\Z")]
    stream: bool = False


class ResumeTurn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`stream` as for a message."""

    stream: bool = False


class TurnView(msgspec.Struct, frozen=True, kw_only=True):
    """A message and its answer. `status`: running, succeeded, failed or cancelled; `error` has `type` and `detail`.

    `files` are those that the agent wrote; `prompts` the prompt version of each agent that took part.
    """

    id: UUID
    number: int
    status: str
    message: str
    answer: str | None
    error: dict[str, Any] | None
    model: str | None
    simulated: bool
    prompts: dict[str, str]
    files: list[str]
    steps: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str
    started_at: datetime
    ended_at: datetime | None


def talk_view(row: TalkRow) -> ConversationView:
    """As it is listed."""
    return ConversationView(
        id=row.id,
        agent=row.agent,
        title=row.title,
        turns=row.turns,
        status=row.status,
        user=row.user_name,
        created_at=row.created_at,
    )


def turn_view(turn: Turn) -> TurnView:
    """As it is shown."""
    outcome = turn.outcome or {}
    return TurnView(
        id=turn.id,
        number=turn.number,
        status=turn.status.value,
        message=turn.message,
        answer=turn.answer,
        error=None if turn.error is None else dict(turn.error),
        model=outcome.get("model"),
        simulated=outcome.get("simulated", False),
        prompts=outcome.get("prompt_versions", {}),
        files=outcome.get("files", []),
        steps=outcome.get("steps", 0),
        prompt_tokens=outcome.get("prompt_tokens", 0),
        completion_tokens=outcome.get("completion_tokens", 0),
        cost_usd=usd_text(outcome.get("cost_nanousd", 0)),
        started_at=turn.started_at,
        ended_at=turn.ended_at,
    )


def found_view(row: FoundRow) -> FoundTurn:
    """As it is found."""
    return FoundTurn(
        conversation_id=row.conversation,
        number=row.turn,
        title=row.title,
        agent=row.agent,
        user=row.user_name,
        excerpt=row.excerpt,
        at=row.at,
        href=f"/v1/conversations/{row.conversation}/messages",
    )
