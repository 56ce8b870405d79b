"""Circuits and bulkheads along a route: who is skipped, who is not slowed, who is told when to come back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from tests.fakes.llm_gateway_circuits import MemoryCircuitStore
from tests.fakes.llm_gateway_provider import ScriptedProvider

from cognitionos.llm_gateway.application.attempts import Attempted, Attempts
from cognitionos.llm_gateway.application.deployments import Crowd, Deployments
from cognitionos.llm_gateway.application.ports import Provider
from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.circuit import CircuitState
from cognitionos.llm_gateway.domain.errors import ProviderFailure, ProviderUnavailable, RequestRefused
from cognitionos.llm_gateway.domain.route import Candidate, Route

FIRST, SECOND = Candidate(provider="first", model="m"), Candidate(provider="second", model="m")
Behaviour = Callable[[], Awaitable[str]]


@dataclass
class Bench:
    """Two deployments whose behaviour a test sets; nothing sleeps for real between rounds."""

    crowd: Crowd = field(default_factory=Crowd)
    circuits: MemoryCircuitStore = field(default_factory=MemoryCircuitStore)
    behaviour: dict[Candidate, Behaviour] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.deployments = Deployments(circuits=self.circuits, crowd=self.crowd)
        self.attempts = Attempts(
            providers={"first": ScriptedProvider("first"), "second": ScriptedProvider("second")},
            deployments=self.deployments,
            backoff=Backoff(rounds=1),
            sleep=asyncio.sleep,
            monotonic=time.monotonic,
            chance=lambda: 0.5,
        )

    async def call(self, *candidates: Candidate, deadline_s: float = 30.0) -> Attempted[str]:
        async def ask(provider: Provider, candidate: Candidate) -> str:
            self.asked.append(candidate.name)
            return await self.behaviour.get(candidate, says_hello)()

        route = Route(asked="x", candidates=candidates or (FIRST, SECOND), reason="named")
        done = await self.attempts.run(route, ask, deadline_s=deadline_s)
        await self.deployments.settled()
        return done

    async def open_first(self) -> None:
        self.behaviour[FIRST] = fails
        for _ in range(5):
            await self.call()
        self.asked.clear()


async def says_hello() -> str:
    return "hello"


async def fails() -> str:
    raise ProviderFailure("down")


async def test_a_deployment_that_failed_five_times_is_skipped_at_once_and_the_trail_says_so() -> None:
    bench = Bench()
    await bench.open_first()

    done = await bench.call()

    assert (bench.asked, done.attempts, done.trail) == (["second/m"], 1, ("first/m=circuit-open",))


async def test_a_healthy_deployment_costs_no_question_to_the_shared_store() -> None:
    bench = Bench()

    for _ in range(100):
        await bench.call()

    assert bench.circuits.changes == 0


async def test_when_every_candidate_is_open_the_answer_says_when_the_first_one_opens_again() -> None:
    bench = Bench(behaviour={FIRST: fails, SECOND: fails})
    for _ in range(5):
        with pytest.raises(ProviderUnavailable):
            await bench.call()
        bench.circuits.clock += 1
    bench.circuits.clock += 10
    asked = len(bench.asked)

    with pytest.raises(ProviderUnavailable) as raised:
        await bench.call()

    assert len(bench.asked) == asked == 10
    assert raised.value.retry_after_s == pytest.approx(49)


async def test_after_a_minute_it_is_probed_and_two_successes_bring_it_back() -> None:
    bench = Bench()
    await bench.open_first()
    bench.circuits.clock += 60
    bench.behaviour[FIRST] = says_hello

    await bench.call()
    half_open = bench.circuits.known["first/m"].state
    await bench.call()

    assert half_open is CircuitState.HALF_OPEN
    assert bench.asked == ["first/m", "first/m"]
    assert bench.circuits.known == {}


async def test_no_more_than_three_probes_are_under_way_and_the_rest_go_on() -> None:
    bench = Bench()
    await bench.open_first()
    bench.circuits.clock += 60
    answer = asyncio.Event()

    async def hangs() -> str:
        await answer.wait()
        return "back"

    bench.behaviour[FIRST] = hangs
    probes = [asyncio.create_task(bench.call()) for _ in range(3)]
    await asyncio.sleep(0)
    others = [await bench.call() for _ in range(4)]
    answer.set()
    answers = await asyncio.gather(*probes)

    assert [done.candidate for done in others] == [SECOND] * 4
    assert [done.candidate for done in answers] == [FIRST] * 3
    assert bench.circuits.known == {}


async def test_a_probe_whose_caller_leaves_makes_room_for_another() -> None:
    bench = Bench()
    await bench.open_first()
    bench.circuits.clock += 60
    bench.behaviour[FIRST] = asyncio.Event().wait  # type: ignore[assignment]
    probe = asyncio.create_task(bench.call())
    await asyncio.sleep(0)

    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    await bench.deployments.settled()

    assert bench.circuits.known["first/m"].probes == ()


@pytest.mark.parametrize("error", [RequestRefused("wrong"), ProviderFailure("busy", broken=False)])
async def test_what_is_not_the_deployments_fault_opens_nothing(error: Exception) -> None:
    async def refuses() -> str:
        raise error

    bench = Bench(behaviour={FIRST: refuses})

    for _ in range(10):
        with pytest.raises((RequestRefused, ProviderUnavailable)):
            await bench.call(FIRST)

    assert bench.circuits.known == {}


async def test_where_every_deployment_is_full_the_call_is_refused_at_once_and_told_when_to_come_back() -> None:
    bench = Bench(crowd=Crowd(places=0, queue=0))
    bench.attempts = replace(bench.attempts, backoff=Backoff(), sleep=never)

    with pytest.raises(ProviderUnavailable) as refused:
        await bench.call()

    assert refused.value.retry_after_s == 1
    assert bench.asked == []


async def never(_seconds: float) -> None:
    raise AssertionError("nothing to wait for")


async def test_a_full_deployment_is_left_for_the_next_one_within_5_ms() -> None:
    bench = Bench(crowd=Crowd(places=2, queue=0))
    bench.behaviour[FIRST] = asyncio.Event().wait  # type: ignore[assignment]
    hanging = [asyncio.create_task(bench.call()) for _ in range(2)]
    await asyncio.sleep(0)

    fastest_s = 1.0
    for _ in range(5):  # the machine is shared: one of five has to be as fast as the code is
        started = time.perf_counter()
        done = await bench.call()
        fastest_s = min(fastest_s, time.perf_counter() - started)

    assert (done.candidate, done.trail, done.attempts) == (SECOND, ("first/m=full",), 1)
    assert fastest_s < 0.005
    for task in hanging:
        task.cancel()


async def test_a_hanging_deployment_takes_no_place_of_its_neighbour() -> None:
    bench = Bench(crowd=Crowd(places=4, queue=4))
    bench.behaviour[FIRST] = asyncio.Event().wait  # type: ignore[assignment]
    hanging = [asyncio.create_task(bench.call(FIRST)) for _ in range(20)]
    await asyncio.sleep(0)

    answers = [await bench.call(SECOND) for _ in range(100)]

    assert [done.value for done in answers] == ["hello"] * 100
    assert sum(task.done() for task in hanging) == 12
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_who_waits_in_the_queue_gets_the_place_of_who_leaves() -> None:
    bench = Bench(crowd=Crowd(places=1, queue=2, wait_s=30))
    answer = asyncio.Event()

    async def hangs() -> str:
        await answer.wait()
        return "done"

    bench.behaviour[FIRST] = hangs
    calls = [asyncio.create_task(bench.call(FIRST)) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    answer.set()

    done = await asyncio.gather(*calls, return_exceptions=True)

    assert [isinstance(each, asyncio.CancelledError) for each in done] == [False, True, False]
    assert len(bench.asked) == 2
    assert (await bench.call(FIRST)).value == "done"


async def test_who_waits_too_long_goes_on_with_the_next_candidate() -> None:
    bench = Bench(crowd=Crowd(places=1, queue=5, wait_s=0.01))
    bench.behaviour[FIRST] = asyncio.Event().wait  # type: ignore[assignment]
    hanging = asyncio.create_task(bench.call(FIRST))
    await asyncio.sleep(0)

    done = await bench.call()

    assert (done.candidate, done.trail) == (SECOND, ("first/m=full",))
    hanging.cancel()


async def test_an_attempt_that_hangs_leaves_time_for_the_rest_of_the_route() -> None:
    bench = Bench()
    bench.attempts = Attempts(
        **{name: getattr(bench.attempts, name) for name in Attempts.__slots__ if name != "longest_s"}, longest_s=0.02
    )
    bench.behaviour[FIRST] = asyncio.Event().wait  # type: ignore[assignment]

    done = await bench.call()

    assert (done.candidate, done.trail) == (SECOND, ("first/m=timeout",))
