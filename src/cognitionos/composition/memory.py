"""Memory, wired."""

from dataclasses import dataclass

from cognitionos.composition.base import Background, Base, Resource
from cognitionos.events.memory import MemoryRemembered
from cognitionos.events.planning import RunFinished
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.memory.application.backfill import EmbeddingBackfill
from cognitionos.memory.application.consolidate import Consolidate
from cognitionos.memory.application.embedding import Embedder
from cognitionos.memory.application.ports import Embed, IsSimulated
from cognitionos.memory.application.recall import Recall
from cognitionos.memory.application.remember import Remember
from cognitionos.memory.facade import Memory
from cognitionos.memory.infrastructure.gateway_embedder import GatewayEmbedder
from cognitionos.memory.infrastructure.metrics import count_written
from cognitionos.memory.infrastructure.queries import MemoryQueries
from cognitionos.memory.infrastructure.repository import MemoryWork
from cognitionos.memory.infrastructure.search_store import SearchStore
from cognitionos.platform.bus import Subscription
from cognitionos.platform.unit_of_work import units_of_work

CONSOLIDATION = "memory.consolidate"
"""The durable subscriber that remembers what a finished run found."""


@dataclass(frozen=True, kw_only=True)
class MemoryServices:
    """What the HTTP edge, the other contexts and the worker use of memory."""

    memory: Memory
    remember: Remember
    recall: Recall
    queries: MemoryQueries
    subscriptions: tuple[Subscription, ...]
    background: tuple[Background, ...]
    resources: tuple[Resource, ...] = ()


def build(base: Base, gateway: Gateway) -> MemoryServices:
    """Memory on `base`, embedding through `gateway`. No I/O."""
    return build_with(base, GatewayEmbedder(gateway=gateway), is_simulated=lambda: gateway.describe_default().simulated)


def build_with(base: Base, embed: Embed, *, is_simulated: IsSimulated = lambda: False) -> MemoryServices:
    """Memory on `base` with an embedder of the caller's choice."""
    begin = units_of_work(MemoryWork, database=base.database, bus=base.bus, relay=base.outbox)
    store = SearchStore(base.database)
    embedder = Embedder(embed=embed)
    remember = Remember(begin=begin, embedder=embedder, new_id=base.new_id, now=base.now)
    recall = Recall(read=store.read, embedder=embedder, now=base.now)
    consolidate = Consolidate(remember=remember, is_simulated=is_simulated)
    base.bus.listen(MemoryRemembered, count_written)
    return MemoryServices(
        memory=Memory(writing=remember, reading=recall, is_simulated=is_simulated),
        remember=remember,
        recall=recall,
        queries=MemoryQueries(base.database),
        subscriptions=(Subscription(CONSOLIDATION, RunFinished, consolidate.handle),),
        background=(EmbeddingBackfill(pick=store.to_embed, begin=begin, embedder=embedder),),
    )
