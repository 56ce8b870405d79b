"""Where conversations meet their store and memory."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from cognitionos.agents.domain.approval import ToolApproval, ToolDecision
from cognitionos.agents.domain.conversation import Talk, Turn, TurnStatus

Remembered = Callable[[UUID, UUID, str, int], Awaitable[Sequence[str]]]
"""(tenant, project, query, at most so many): what memory knows."""

Decisions = Callable[[UUID, UUID], Awaitable[Mapping[str, ToolDecision]]]
"""(tenant, turn): what was decided about its tool calls, by `ToolApproval.key`; raises where that ends the turn."""

Forget = Callable[[UUID, UUID], Awaitable[None]]
"""(tenant, conversation): delete what others keep of its words. Safe to repeat."""


class Talks(Protocol):
    """Conversations and their turns. A lease says how long the process that works on a turn is believed to be alive."""

    async def create(self, talk: Talk) -> None:
        """Begin a conversation."""
        ...

    async def get(self, tenant_id: UUID, conversation_id: UUID) -> Talk:
        """One. Raises `ConversationNotFound`."""
        ...

    async def delete(self, tenant_id: UUID, conversation_id: UUID) -> None:
        """It and everything its agents did and wrote. Raises `ConversationNotFound`."""
        ...

    async def begin(
        self,
        tenant_id: UUID,
        conversation_id: UUID,
        *,
        turn_id: UUID,
        message: str,
        api_key_id: UUID | None,
        user: str | None,
        lease_s: float,
    ) -> Turn:
        """The next turn. Raises `ConversationNotFound`, `ConversationBusy` while the last one has not ended."""
        ...

    async def take_up(self, tenant_id: UUID, conversation_id: UUID, *, lease_s: float) -> Turn:
        """The turn whose process is gone, or that need not wait any more, under a new fencing number. Raises
        `NothingToResume`, `ConversationBusy`.
        """
        ...

    async def untended(self, *, grace_s: float, most: int) -> list[tuple[UUID, UUID]]:
        """(tenant, conversation) of turns that could be taken up for `grace_s` seconds and were not."""
        ...

    async def renew(self, tenant_id: UUID, turn: Turn, *, lease_s: float) -> bool:
        """Go on working on it; False: it was cancelled, taken up by another, or deleted."""
        ...

    async def park(self, tenant_id: UUID, turn: Turn, requests: Sequence[ToolApproval]) -> Turn | None:
        """Ask people, and let the turn wait until they decide or the first deadline passes; None as `finish`."""
        ...

    async def release(self, tenant_id: UUID, turn: Turn) -> None:
        """Let anybody take it up at once."""
        ...

    async def finish(
        self,
        tenant_id: UUID,
        turn: Turn,
        status: TurnStatus,
        *,
        answer: str | None = None,
        error: Mapping[str, Any] | None = None,
        outcome: Mapping[str, Any] | None = None,
    ) -> Turn | None:
        """Say how it ended; None: too late, it was cancelled, taken up by another, or deleted."""
        ...

    async def cancel(self, tenant_id: UUID, conversation_id: UUID) -> Turn | None:
        """End the turn under way; None: there is none. Raises `ConversationNotFound`."""
        ...

    async def earlier(
        self, tenant_id: UUID, conversation_id: UUID, *, before: int, limit: int
    ) -> list[tuple[str, str]]:
        """The last answered messages before turn number `before`, oldest first."""
        ...
