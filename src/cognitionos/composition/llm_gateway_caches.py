"""The gateway's caches, wired."""

import time
from dataclasses import dataclass

from cognitionos.composition.base import Base
from cognitionos.composition.semantic_cache import SemanticServices
from cognitionos.composition.semantic_cache import build as build_semantic
from cognitionos.llm_gateway.application.cache import AnswerCaches
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.cache_warming import Warming
from cognitionos.llm_gateway.application.ports import Provider
from cognitionos.llm_gateway.application.single_flight import Flights
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.cache_queries import CacheQueries
from cognitionos.llm_gateway.infrastructure.cache_upkeep import CacheUpkeep
from cognitionos.llm_gateway.infrastructure.durable_cache import DurableCache
from cognitionos.llm_gateway.infrastructure.exact_cache import ExactCache
from cognitionos.llm_gateway.infrastructure.far_flights import FarFlights
from cognitionos.llm_gateway.infrastructure.http_cache import CacheDoor


@dataclass(frozen=True, kw_only=True)
class CacheServices:
    """The layers as one, and what keeps them in order."""

    answers: AnswerCaches
    upkeep: CacheUpkeep
    far: FarFlights
    semantic: SemanticServices
    queries: CacheQueries

    def door(self, gateway: Gateway) -> CacheDoor:
        """What the routes need."""
        return CacheDoor(queries=self.queries, warming=Warming(completion=gateway.completion))


def build_caches(base: Base, *, local: Provider) -> CacheServices:
    """Redis, PostgreSQL, then meaning by the `local` embedder. No I/O."""
    exact_s, durable_s = base.settings.cache_exact_s, base.settings.cache_durable_s
    exact = ExactCache(base.scripts, kept_s=exact_s, durable_s=durable_s)
    flights = Flights()
    metrics.CALLS_FOLLOWING.set_function(lambda: flights.followers)
    far = FarFlights(base.redis, base.signals, exact, flights)
    durable = DurableCache(base.database, kept_s=durable_s)
    upkeep = CacheUpkeep(exact, durable, base.signals, most_bytes=base.settings.cache_durable_mb * 2**20)
    voids = Voids(
        durable=durable,
        shared=exact,
        changed=upkeep.changed,
        announce=upkeep.announce,
        monotonic=time.monotonic,
        fresh_s=base.signals.look_again_s,
    )
    caches = AnswerCaches(
        shared=exact,
        durable=durable,
        far=far,
        voids=voids,
        clock=time.time,
        monotonic=time.monotonic,
        flights=flights,
        patience_s=base.settings.attempt_timeout_s,
    )
    semantic = build_semantic(base, local=local, voids=voids)
    caches.further = (semantic.cache,)
    queries = CacheQueries(base.database, base.redis)
    return CacheServices(answers=caches, upkeep=upkeep, far=far, semantic=semantic, queries=queries)
