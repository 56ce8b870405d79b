"""Circuits shared through a real Redis, kept alone without it, and remembered in PostgreSQL."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest
from tests.conftest import Run, TestDatabase
from tests.fakes.llm_gateway_circuits import MemoryCircuitStore
from tests.waiting import eventually

from cognitionos.llm_gateway.application.deployments import Deployments
from cognitionos.llm_gateway.application.ports import CircuitStore
from cognitionos.llm_gateway.domain.circuit import Circuit, CircuitRules, CircuitState
from cognitionos.llm_gateway.domain.errors import CircuitOpen
from cognitionos.llm_gateway.infrastructure import circuit_store
from cognitionos.llm_gateway.infrastructure.circuit_history import CircuitHistory
from cognitionos.llm_gateway.infrastructure.circuit_store import RedisCircuitStore
from cognitionos.platform.database import Database
from cognitionos.platform.redis import open_redis
from cognitionos.platform.signals import Signals

RULES = CircuitRules()
GONE = "redis://127.0.0.1:1/0"


class Process:
    """What one process has: its own client, its own subscription, its own copy."""

    def __init__(self, database: Database, redis_url: str) -> None:
        self.redis = open_redis(redis_url)
        self.signals = Signals(self.redis)
        self.store = RedisCircuitStore(self.redis, self.signals, CircuitHistory(database))
        self.deployments = Deployments(circuits=self.store)

    async def open(self) -> None:
        await self.signals.open()
        await self.store.open()

    async def close(self) -> None:
        await self.store.close()
        await self.signals.close()
        await self.redis.aclose()


@pytest.fixture
def processes(open_database: Database, redis_url: str, run: Run) -> Iterator[list[Process]]:
    made = [Process(open_database, redis_url) for _ in range(2)]
    with ExitStack() as stack:
        for process in made:
            run(process.open())
            stack.callback(lambda each=process: run(each.close()))
        yield made


@pytest.fixture(params=["memory", "redis", "no redis"])
def store(request: pytest.FixtureRequest, open_database: Database, redis_url: str, run: Run) -> Iterator[CircuitStore]:
    if request.param == "memory":
        yield MemoryCircuitStore()
        return
    process = Process(open_database, redis_url if request.param == "redis" else GONE)
    run(process.store.open())
    yield process.store
    run(process.store.close())
    run(process.redis.aclose())


def a_deployment() -> str:
    return f"openai/{uuid4()}"


async def test_steps_add_up_and_a_closed_circuit_is_forgotten(store: CircuitStore) -> None:
    name = a_deployment()

    for _ in range(4):
        await store.change(name, lambda circuit, now: circuit.failed(now, RULES))
    failed_four_times = store.known[name]
    await store.change(name, lambda circuit, now: circuit.succeeded(now, RULES))

    assert (failed_four_times.failures, failed_four_times.state) == (4, CircuitState.CLOSED)
    assert name not in store.known


async def test_a_circuit_that_refuses_stays_as_it_is(store: CircuitStore) -> None:
    name = a_deployment()
    for _ in range(5):
        await store.change(name, lambda circuit, now: circuit.failed(now, RULES))

    refused = await store.change(name, lambda circuit, now: circuit.probed(now, RULES))

    assert refused is None
    assert store.known[name].state is CircuitState.OPEN
    assert 55 < store.known[name].reopens_in_s(store.now(), RULES) <= 60


async def test_two_processes_count_the_same_failures_and_both_know_at_once_that_it_opened(
    processes: list[Process],
) -> None:
    name, (one, other) = a_deployment(), processes

    for number in range(5):
        await processes[number % 2].deployments.failed(name)

    assert await eventually(lambda: name in other.store.known and other.store.known[name].state is CircuitState.OPEN)
    assert await eventually(lambda: one.store.known[name].state is CircuitState.OPEN)
    for process in processes:
        with pytest.raises(CircuitOpen) as refused:
            await process.deployments.enter(name, within_s=1)
        assert 55 < (refused.value.retry_after_s or 0) <= 60


async def test_failures_at_the_same_moment_in_both_processes_are_all_counted(processes: list[Process]) -> None:
    name = a_deployment()
    generous = CircuitRules(failures_to_open=1000)

    await asyncio.gather(
        *(processes[n % 2].store.change(name, lambda circuit, now: circuit.failed(now, generous)) for n in range(60))
    )

    assert max(process.store.known[name].failures for process in processes) == 60


async def test_probes_are_bounded_across_processes(processes: list[Process]) -> None:
    name = a_deployment()
    await processes[0].store.change(
        name, lambda _circuit, now: Circuit(state=CircuitState.OPEN, failures=5, changed_at=now - 61)
    )
    await eventually(lambda: all(name in each.store.known for each in processes))

    entered = await asyncio.gather(
        *(processes[n % 2].deployments.enter(name, within_s=1) for n in range(20)), return_exceptions=True
    )

    assert sum(not isinstance(each, CircuitOpen) for each in entered) == 3


async def test_a_new_process_knows_from_its_start_what_is_open(
    processes: list[Process], open_database: Database, redis_url: str
) -> None:
    name = a_deployment()
    for _ in range(5):
        await processes[0].deployments.failed(name)

    late = Process(open_database, redis_url)
    await late.store.open()

    assert late.store.known[name].state is CircuitState.OPEN
    await late.store.close()
    await late.redis.aclose()


async def test_what_a_process_opened_while_redis_was_gone_is_shared_when_it_is_back(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, (one, other) = a_deployment(), processes
    monkeypatch.setattr(circuit_store, "REST_S", 0.3)
    one.store._go_alone(OSError("gone"))
    for _ in range(5):
        await one.deployments.failed(name)
    alone = name in other.store.known

    await eventually(lambda: name in other.store.known)

    assert not alone
    assert other.store.known[name].state is CircuitState.OPEN


async def test_what_opens_and_closes_is_kept_for_history(processes: list[Process], database: TestDatabase) -> None:
    name = a_deployment()
    for _ in range(5):
        await processes[0].deployments.failed(name)
    await processes[0].store._history.written()

    with psycopg.connect(database.admin_url) as admin:
        rows = admin.execute(
            "SELECT state_before, state_after, failures FROM circuit_changes WHERE deployment = %s", [name]
        ).fetchall()

    assert rows == [("closed", "open", 5)]
