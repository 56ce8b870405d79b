"""The gateway, wired."""

import asyncio
import os
import random
import time
from dataclasses import dataclass
from functools import cache

from cognitionos.composition.base import Base, Resource
from cognitionos.llm_gateway.application.attempts import Attempts
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.deployments import Crowd, Deployments
from cognitionos.llm_gateway.application.embedding import Embedding
from cognitionos.llm_gateway.application.streaming import Streaming
from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.domain.circuit import CircuitRules
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.budget_store import HoldSweeper, PostgresBudgetStore
from cognitionos.llm_gateway.infrastructure.circuit_store import CircuitHistory, RedisCircuitStore
from cognitionos.llm_gateway.infrastructure.exact_cache import ExactCache
from cognitionos.llm_gateway.infrastructure.openai_schema import (
    canonical,
    decode_object,
    encode,
    read_usage,
    write_usage,
)
from cognitionos.llm_gateway.infrastructure.price_table import PriceTable
from cognitionos.llm_gateway.infrastructure.prices import PriceBook
from cognitionos.llm_gateway.infrastructure.providers import Providers
from cognitionos.llm_gateway.infrastructure.queries import UsageQueries
from cognitionos.llm_gateway.infrastructure.scenarios import load_rules
from cognitionos.llm_gateway.infrastructure.simulated_provider import SimulatedProvider
from cognitionos.platform.config import Settings


@dataclass(frozen=True, kw_only=True)
class LlmGatewayServices:
    """What the entry points and the other contexts get of the gateway."""

    gateway: Gateway
    providers: Providers
    prices: PriceBook
    budgets: Budgets
    usage: UsageQueries
    sweeper: HoldSweeper
    circuits: RedisCircuitStore

    @property
    def resources(self) -> tuple[Resource, ...]:
        """In the order they are opened: after the platform's."""
        return (self.prices, self.sweeper, self.circuits, self.providers, _Unfinished(self.budgets))


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """Bills of calls whose callers left: waited for at the end."""

    budgets: Budgets

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Wait until every bill is written."""
        await self.budgets.settled()


def build(base: Base, *, backoff: Backoff | None = None) -> LlmGatewayServices:
    """Wire the gateway. No I/O; each process is an owner of holds of its own."""
    table = PriceTable()
    providers = Providers(
        base.settings,
        http=base.http,
        simulated=SimulatedProvider(cache(load_rules), now=base.now),
        environment=os.environ,
        now=base.now,
        longest_answer=table.longest_answer,
    )
    prices = PriceBook(base.database, base.signals, table=table, stated=providers.price, keyless=providers.is_keyless)
    store = PostgresBudgetStore(base.database, owner=base.new_id())
    budgets = Budgets(
        store=store,
        prices=prices,
        observe=metrics.observe,
        refused=lambda kind: metrics.BUDGET_REFUSALS.labels(kind).inc(),
        encode=encode,
        monotonic=time.monotonic,
    )
    circuits = RedisCircuitStore(base.redis, base.signals, CircuitHistory(base.database))
    attempts = _attempts(base.settings, providers, circuits, backoff or Backoff())
    gateway = _gateway(base, providers, budgets, attempts, table)
    return LlmGatewayServices(
        gateway=gateway,
        providers=providers,
        prices=prices,
        budgets=budgets,
        usage=UsageQueries(base.database),
        sweeper=HoldSweeper(store),
        circuits=circuits,
    )


def _attempts(settings: Settings, providers: Providers, circuits: RedisCircuitStore, backoff: Backoff) -> Attempts:
    rules = CircuitRules(
        failures_to_open=settings.circuit_failures,
        open_s=settings.circuit_open_s,
        most_probes=settings.circuit_probes,
        successes_to_close=settings.circuit_successes,
    )
    crowd = Crowd(places=settings.deployment_calls, queue=settings.deployment_queue)
    return Attempts(
        providers=providers.by_name,
        deployments=Deployments(circuits=circuits, rules=rules, crowd=crowd),
        backoff=backoff,
        sleep=asyncio.sleep,
        monotonic=time.monotonic,
        chance=random.random,
        longest_s=settings.attempt_timeout_s,
    )


def _gateway(base: Base, providers: Providers, budgets: Budgets, attempts: Attempts, table: PriceTable) -> Gateway:
    completion = Completion(
        resolve=providers.resolve,
        providers=providers.by_name,
        attempts=attempts,
        budgets=budgets,
        cache=ExactCache(base.redis),
        canonical=canonical,
        encode=encode,
        decode=decode_object,
        read_usage=read_usage,
        write_usage=write_usage,
        new_id=base.new_id,
        monotonic=time.monotonic,
    )
    embedding = Embedding(
        resolve=providers.resolve_embedder,
        providers=providers.by_name,
        attempts=attempts,
        budgets=budgets,
        new_id=base.new_id,
        monotonic=time.monotonic,
    )
    return Gateway(
        completion=completion,
        streaming=Streaming(completion=completion),
        embedding=embedding,
        budgets=budgets,
        default_model=providers.describe_default,
        table_cost=lambda model, usage: _table_cost(table, model, usage),
    )


def _table_cost(table: PriceTable, model: str, usage: Usage) -> int | None:
    price = table.price(model)
    return None if price is None else price.cost(usage)
