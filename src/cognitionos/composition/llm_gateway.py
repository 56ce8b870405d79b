"""The gateway, wired."""

import asyncio
import os
import random
import time
from dataclasses import dataclass
from functools import cache

from cognitionos.composition.base import Base, Resource
from cognitionos.composition.llm_gateway_caches import build_caches
from cognitionos.composition.semantic_cache import SemanticServices
from cognitionos.llm_gateway.application.attempts import Attempts
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.cache import AnswerCaches
from cognitionos.llm_gateway.application.cheaper_models import CheaperModels
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.deployments import Crowd, Deployments
from cognitionos.llm_gateway.application.embedding import Embedding
from cognitionos.llm_gateway.application.key_lines import KeyLines
from cognitionos.llm_gateway.application.streaming import Streaming
from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.domain.circuit import CircuitRules
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.llm_gateway.infrastructure import metrics, wordllama_provider
from cognitionos.llm_gateway.infrastructure.alerts import BudgetAlerts
from cognitionos.llm_gateway.infrastructure.budget_book import BudgetBook
from cognitionos.llm_gateway.infrastructure.budget_queries import BudgetQueries
from cognitionos.llm_gateway.infrastructure.budget_store import HoldSweeper, PostgresBudgetStore
from cognitionos.llm_gateway.infrastructure.catalogue import Catalogue, Make
from cognitionos.llm_gateway.infrastructure.circuit_history import CircuitHistory
from cognitionos.llm_gateway.infrastructure.circuit_store import RedisCircuitStore
from cognitionos.llm_gateway.infrastructure.http_cache import CacheDoor
from cognitionos.llm_gateway.infrastructure.messages_replay import gathered, replayed
from cognitionos.llm_gateway.infrastructure.openai_schema import (
    canonical,
    decode_object,
    encode,
    read_usage,
    write_usage,
)
from cognitionos.llm_gateway.infrastructure.own_models import OwnModelsStore
from cognitionos.llm_gateway.infrastructure.own_providers import OwnProviders
from cognitionos.llm_gateway.infrastructure.price_table import PriceTable
from cognitionos.llm_gateway.infrastructure.prices import PriceBook
from cognitionos.llm_gateway.infrastructure.provider_keys import ProviderKeys
from cognitionos.llm_gateway.infrastructure.providers import Providers
from cognitionos.llm_gateway.infrastructure.scenarios import load_rules
from cognitionos.llm_gateway.infrastructure.simulated_provider import SimulatedProvider
from cognitionos.llm_gateway.infrastructure.usage_queries import LedgerQueries
from cognitionos.platform.config import Settings
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.sealing import SealingKey
from cognitionos.platform.unit_of_work import Begin, UnitOfWork, units_of_work
from cognitionos.tenancy.infrastructure.key_store import KeyStore


@dataclass(frozen=True, kw_only=True)
class LlmGatewayServices:
    """What the entry points and the other contexts get of the gateway."""

    gateway: Gateway
    providers: Providers
    prices: PriceBook
    budgets: Budgets
    usage: LedgerQueries
    sweeper: HoldSweeper
    budget_book: BudgetBook
    budget_queries: BudgetQueries
    alerts: BudgetAlerts
    circuits: RedisCircuitStore
    circuit_history: CircuitHistory
    catalogue: Catalogue
    own_providers: OwnProviders
    own_models: OwnModelsStore
    provider_keys: ProviderKeys
    caches: AnswerCaches
    cache_keeping: tuple[Resource, ...]
    semantic: SemanticServices
    cache_door: CacheDoor

    @property
    def resources(self) -> tuple[Resource, ...]:
        """In the order they are opened: after the platform's."""
        return (
            self.prices,
            self.alerts,
            self.sweeper,
            self.circuits,
            self.own_providers,
            self.providers,
            self.catalogue,
            *self.cache_keeping,
            self.semantic,
            _Unfinished(self.gateway),
        )


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """Calls whose callers left: those that others follow are ended, the bills of all are waited for."""

    gateway: Gateway

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Wait until every bill is written."""
        await self.gateway.completion.caches.close()
        await self.gateway.streaming.close()
        await self.gateway.completion.close()
        await self.gateway.budgets.settled()


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
    own_models = OwnModelsStore(base.database, base.signals)
    keys = _provider_keys(base.settings)
    own_providers = _own_providers(base, keys.allowed, table)
    catalogue = _catalogue(base, providers, own_models, make=own_providers.make, key=keys.sealing_key)
    prices = _prices(base, table, catalogue)
    alerts = BudgetAlerts(base.database, begin=_begin(base))
    store = PostgresBudgetStore(base.database, owner=base.new_id(), raised=alerts.look)
    history = CircuitHistory(base.database)
    circuits = RedisCircuitStore(base.redis, base.signals, history)
    attempts = _attempts(base.settings, catalogue, circuits, backoff or Backoff())
    budgets = _budgets(base, store, prices, catalogue, attempts)
    book = BudgetBook(base.database, owns=KeyStore(base.database).owns, raised=alerts.look)
    cheaper = CheaperModels(book.names_cheaper, time.monotonic)
    caches = build_caches(base, local=providers.by_name[wordllama_provider.NAME])
    gateway = _gateway(base, providers, catalogue, budgets, cheaper, attempts, table, caches.answers)
    return LlmGatewayServices(
        gateway=gateway,
        providers=providers,
        prices=prices,
        budgets=budgets,
        usage=LedgerQueries(base.database),
        sweeper=HoldSweeper(store, every_s=base.settings.hold_sweep_s, dead_after_s=base.settings.hold_dead_s),
        budget_book=book,
        budget_queries=BudgetQueries(base.database),
        alerts=alerts,
        circuits=circuits,
        circuit_history=history,
        catalogue=catalogue,
        own_providers=own_providers,
        own_models=own_models,
        provider_keys=keys,
        caches=caches.answers,
        cache_keeping=(caches.upkeep, caches.far),
        semantic=caches.semantic,
        cache_door=caches.door(gateway),
    )


def _catalogue(base: Base, shared: Providers, store: OwnModelsStore, *, make: Make, key: SealingKey) -> Catalogue:
    return Catalogue(shared, store, base.signals, make=make, sealing_key=key, chance=random.random)


def _prices(base: Base, table: PriceTable, catalogue: Catalogue) -> PriceBook:
    return PriceBook(base.database, base.signals, table=table, stated=catalogue.price, unmetered=catalogue.is_unmetered)


def _provider_keys(settings: Settings) -> ProviderKeys:
    return ProviderKeys(
        SealingKey.of(settings, "provider-keys"),
        AllowedHosts.parse(settings.provider_allow),
    )


def _begin(base: Base) -> Begin[UnitOfWork]:
    return units_of_work(UnitOfWork, database=base.database, bus=base.bus, relay=base.outbox)


def _budgets(
    base: Base, store: PostgresBudgetStore, prices: PriceBook, catalogue: Catalogue, attempts: Attempts
) -> Budgets:
    return Budgets(
        store=store,
        prices=prices,
        resolve=catalogue.resolve,
        takes=catalogue.takes,
        has_place=lambda candidate: attempts.deployments.has_place(candidate.deployment),
        now=base.now,
        observe=metrics.observe,
        refused=lambda kind: metrics.BUDGET_REFUSALS.labels(kind).inc(),
        encode=encode,
        monotonic=time.monotonic,
        lines=KeyLines(KeyStore(base.database).earlier),
    )


def _own_providers(base: Base, allowed: AllowedHosts, table: PriceTable) -> OwnProviders:
    return OwnProviders(
        allowed,
        now=base.now,
        longest_answer=table.longest_answer,
        longest_silence_s=base.settings.attempt_timeout_s,
    )


def _attempts(settings: Settings, catalogue: Catalogue, circuits: RedisCircuitStore, backoff: Backoff) -> Attempts:
    rules = CircuitRules(
        failures_to_open=settings.circuit_failures,
        open_s=settings.circuit_open_s,
        most_probes=settings.circuit_probes,
        successes_to_close=settings.circuit_successes,
    )
    crowd = Crowd(places=settings.deployment_calls, queue=settings.deployment_queue)
    return Attempts(
        providers=catalogue.providers,
        deployments=Deployments(circuits=circuits, rules=rules, crowd=crowd),
        backoff=backoff,
        sleep=asyncio.sleep,
        monotonic=time.monotonic,
        chance=random.random,
        longest_s=settings.attempt_timeout_s,
    )


def _gateway(
    base: Base,
    providers: Providers,
    catalogue: Catalogue,
    budgets: Budgets,
    cheaper: CheaperModels,
    attempts: Attempts,
    table: PriceTable,
    caches: AnswerCaches,
) -> Gateway:
    completion = Completion(
        prepare=catalogue.prepare,
        providers=catalogue.providers,
        attempts=attempts,
        budgets=budgets,
        cheaper=cheaper,
        caches=caches,
        server=catalogue.server,
        canonical=canonical,
        encode=encode,
        decode=decode_object,
        read_usage=read_usage,
        write_usage=write_usage,
        gather=gathered,
        replay=replayed,
        new_id=base.new_id,
        monotonic=time.monotonic,
    )
    embedding = Embedding(
        resolve=catalogue.resolve_embedder,
        providers=catalogue.providers,
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
        voids=caches.voids,
        default_model=providers.describe_default,
        table_cost=lambda model, usage: _table_cost(table, model, usage),
    )


def _table_cost(table: PriceTable, model: str, usage: Usage) -> int | None:
    price = table.price(model)
    return None if price is None else price.cost(usage)
