"""Conversations, wired: what agents ask people in them is kept by planning, with all other approvals."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.agents.application.conversations import Conversations
from cognitionos.agents.application.runs import AgentRuns
from cognitionos.agents.infrastructure.conversation_queries import TalkQueries
from cognitionos.agents.infrastructure.conversation_store import PostgresTalks
from cognitionos.agents.infrastructure.conversation_stream import TurnStreams
from cognitionos.agents.infrastructure.far_words import FarWords
from cognitionos.composition.base import Base
from cognitionos.composition.sweeper import TurnSweeper
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.memory.facade import Memory
from cognitionos.planning.infrastructure.turn_approvals import TurnApprovals
from cognitionos.platform.idempotency import IdempotencyStore


@dataclass(frozen=True, kw_only=True)
class ConversationServices:
    """What the HTTP edge and the worker use of conversations."""

    conversations: Conversations
    talks: TalkQueries
    streams: TurnStreams
    far: FarWords
    sweeper: TurnSweeper


def build(base: Base, gateway: Gateway, memory: Memory, runs: AgentRuns) -> ConversationServices:
    """Conversations over these agents. No I/O."""
    approvals = TurnApprovals(database=base.database, new_id=base.new_id)
    talks, settings = TalkQueries(base.database), base.settings

    async def recall(tenant_id: UUID, project_id: UUID, query: str, limit: int) -> list[str]:
        return [each.content for each in await memory.recall(tenant_id, project_id, query, limit)]

    kept_answers = IdempotencyStore(base.database)

    async def forget(tenant_id: UUID, conversation_id: UUID) -> None:
        await kept_answers.forget(tenant_id, f"/v1/conversations/{conversation_id}")
        await memory.forget_from(tenant_id, conversation_id)
        await gateway.forget(tenant_id, conversation_id)

    conversations = Conversations(
        talks=PostgresTalks(database=base.database, asking=approvals),
        runs=runs,
        roster=runs.roster,
        recall=recall,
        decisions=approvals.decisions,
        forget=forget,
        now=base.now,
        new_id=base.new_id,
        lease_s=settings.lease_s,
    )
    far = FarWords(base.redis, base.signals, conversations.feed)
    return ConversationServices(
        conversations=conversations,
        talks=talks,
        streams=TurnStreams(
            talks=talks,
            feed=conversations.feed,
            asked=approvals.asked,
            go_on=conversations.go_on,
            attend=far.attend,
        ),
        far=far,
        sweeper=TurnSweeper(
            conversations=conversations, signals=base.signals, every_s=max(settings.sweep_s, settings.lease_s / 2)
        ),
    )
