"""The gateway's semantic cache, wired."""

import random
import time
from contextlib import ExitStack
from dataclasses import dataclass

from cognitionos.composition.base import Base
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.ports import Provider
from cognitionos.llm_gateway.application.semantic import SemanticCache
from cognitionos.llm_gateway.application.semantic_rules import SemanticRulebook
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical, decode_object
from cognitionos.llm_gateway.infrastructure.semantic_embedder import embedder
from cognitionos.llm_gateway.infrastructure.semantic_metrics import count
from cognitionos.llm_gateway.infrastructure.semantic_store import PostgresSemanticStore, SemanticSweeper
from cognitionos.llm_gateway.infrastructure.semantic_words import WordVectors

CHANNEL = "llm_semantic"


@dataclass(frozen=True, kw_only=True)
class SemanticServices:
    """The layer, its rules and its store."""

    cache: SemanticCache
    rulebook: SemanticRulebook
    store: PostgresSemanticStore
    sweeper: SemanticSweeper
    listening: ExitStack

    async def open(self) -> None:
        """Sweep from now on."""
        await self.sweeper.open()

    async def close(self) -> None:
        """Keep what is under way and stop."""
        self.listening.close()
        await self.sweeper.close()
        await self.cache.drain()


def build(base: Base, *, local: Provider, voids: Voids) -> SemanticServices:
    """Wire it. No I/O."""
    listening = ExitStack()
    store = PostgresSemanticStore(base.database)
    rulebook = SemanticRulebook(
        store=store,
        signal=lambda: base.signals.send(CHANNEL),
        woken=listening.enter_context(base.signals.listen(CHANNEL)),
        fresh_s=base.signals.look_again_s,
        void=voids.void,
        monotonic=time.monotonic,
    )
    embed = embedder(local)
    cache = SemanticCache(
        store=store,
        rulebook=rulebook,
        embed=embed,
        likeness=WordVectors(embed).likeness,
        allows=voids.allows,
        canonical=canonical,
        decode=decode_object,
        count=count,
        clock=time.time,
        chance=random.random,
    )
    return SemanticServices(
        cache=cache, rulebook=rulebook, store=store, sweeper=SemanticSweeper(store), listening=listening
    )
