"""The steps of a call over fakes: route, cache, hold, attempts, price, settle."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import pytest
from tests.builders_llm_gateway import a_caller, a_request
from tests.fakes.llm_gateway_caches import some_caches
from tests.fakes.llm_gateway_circuits import MemoryCircuitStore
from tests.fakes.llm_gateway_provider import ScriptedProvider, a_completion
from tests.fakes.llm_gateway_stores import MemoryBudgetStore, MemoryPrices

from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.attempts import Attempts
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.cache import AnswerCaches
from cognitionos.llm_gateway.application.cheaper_models import CheaperModels
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.deployments import Deployments
from cognitionos.llm_gateway.application.embedding import Embedding
from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.application.streaming import Streaming
from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.budget import Period
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import (
    BudgetExhausted,
    ModelMissing,
    ModelNotFound,
    PriceUnknown,
    ProviderFailure,
    ProviderUnavailable,
    RequestRefused,
)
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import price_per_million
from cognitionos.llm_gateway.domain.route import Candidate, Route, Routing
from cognitionos.llm_gateway.infrastructure.messages_replay import gathered, replayed
from cognitionos.llm_gateway.infrastructure.openai_schema import (
    canonical,
    decode_object,
    encode,
    read_usage,
    write_usage,
)
from cognitionos.llm_gateway.infrastructure.tool_call_recovery import ToolCallRecovery

PRICE = price_per_million(input_usd=Decimal(1), output_usd=Decimal(2))
COST = 10 * 1000 + 5 * 2000
CALLER = a_caller(goal_id=new_id())
GOAL = f"goal:{CALLER.goal_id}"


@dataclass
class Bench:
    """A gateway on fakes; `clock` moves only when something sleeps."""

    first: ScriptedProvider = field(default_factory=lambda: ScriptedProvider("first"))
    second: ScriptedProvider = field(default_factory=lambda: ScriptedProvider("second"))
    store: MemoryBudgetStore = field(default_factory=MemoryBudgetStore)
    caches: AnswerCaches = field(default_factory=some_caches)
    observed: list[Call] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    clock: float = 0.0
    prices: dict[str, object] = field(default_factory=lambda: {"first/m": PRICE, "second/m": PRICE})
    fallback: bool = True

    def __post_init__(self) -> None:
        providers = {"first": self.first, "second": self.second}
        further = (Candidate(provider="second", model="m"),) if self.fallback else ()
        routing = Routing(providers=providers, default_provider="first", default_model="first/m", fallbacks=further)
        monotonic: Callable[[], float] = lambda: self.clock  # noqa: E731 - one line says it
        attempts = Attempts(
            providers=providers,
            deployments=Deployments(circuits=MemoryCircuitStore()),
            backoff=Backoff(),
            sleep=self._sleep,
            monotonic=monotonic,
            chance=lambda: 0.5,
        )

        async def resolve(_tenant_id: UUID, asked: str | None) -> Route:
            return routing.route(asked)

        async def prepare(tenant_id: UUID, request: ChatRequest) -> tuple[Route, ChatRequest]:
            return await resolve(tenant_id, request.model), request

        self.budgets = Budgets(
            store=self.store,
            prices=MemoryPrices(self.prices),  # type: ignore[arg-type]
            resolve=resolve,
            takes=lambda _candidate, _request: True,
            has_place=lambda candidate: attempts.deployments.has_place(candidate.deployment),
            now=utc_now,
            observe=self.observed.append,
            refused=self.refused.append,
            encode=encode,
            monotonic=monotonic,
        )
        self.completion = Completion(
            prepare=prepare,
            providers=providers,
            attempts=attempts,
            budgets=self.budgets,
            cheaper=CheaperModels(self.store.names_cheaper, monotonic),
            caches=self.caches,
            server=lambda _: "",
            canonical=canonical,
            encode=encode,
            decode=decode_object,
            read_usage=read_usage,
            write_usage=write_usage,
            gather=gathered,
            replay=replayed,
            new_id=new_id,
            monotonic=monotonic,
        )
        self.streaming = Streaming(completion=self.completion)
        self.embedding = Embedding(
            resolve=resolve,
            providers=providers,
            attempts=attempts,
            budgets=self.budgets,
            new_id=new_id,
            monotonic=monotonic,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock += seconds
        await asyncio.sleep(0)

    @property
    def row(self) -> Call:
        (row,) = self.store.ledger.values()
        return row

    async def budget(self, limit_nanousd: int) -> None:
        await self.store.open(CALLER.tenant_id, GOAL, limit_nanousd=limit_nanousd, period=Period.TOTAL)


async def test_a_call_is_answered_priced_settled_and_observed() -> None:
    bench = Bench()

    result = await bench.completion.complete(CALLER, a_request())

    assert (result.text, result.provider, result.model, result.attempts) == ("hello", "first", "first/m", 1)
    assert (result.cost_nanousd, result.cache, result.simulated) == (COST, "none", False)
    assert (bench.row.outcome, bench.row.cost_nanousd, bench.row.route_reason) == ("ok", COST, "default")
    assert bench.observed == [bench.row]


async def test_the_second_identical_call_is_free_and_saves_the_first_ones_price() -> None:
    bench = Bench()
    await bench.completion.complete(CALLER, a_request())

    again = await bench.completion.complete(CALLER, a_request())
    without = await bench.completion.complete(CALLER, a_request(use_cache=False))

    assert (again.cache, again.cost_nanousd, again.text, without.cache) == ("exact", 0, "hello", "none")
    assert len(bench.first.asked) == 2
    assert list(bench.store.ledger.values())[1].saved_nanousd == COST


async def test_a_failure_goes_to_the_next_candidate_at_once() -> None:
    bench = Bench()
    bench.first.script.append(ProviderFailure("down"))

    result = await bench.completion.complete(CALLER, a_request())

    assert (result.provider, result.attempts, bench.slept) == ("second", 2, [])
    assert bench.row.route_reason == "fallback"


async def test_a_lone_provider_is_asked_again_after_its_own_wait() -> None:
    bench = Bench(fallback=False)
    bench.first.script.extend([ProviderFailure("busy", retry_after_s=7), ProviderFailure("busy")])

    result = await bench.completion.complete(CALLER, a_request())

    assert (result.attempts, bench.slept) == (3, [7.0, 2.0])


async def test_no_wait_goes_beyond_the_deadline() -> None:
    bench = Bench(fallback=False)
    bench.first.script.append(ProviderFailure("busy", retry_after_s=100))

    with pytest.raises(ProviderUnavailable) as raised:
        await bench.completion.complete(CALLER, a_request(deadline_s=30))

    assert raised.value.retry_after_s == 100
    assert (bench.slept, bench.row.outcome, bench.row.cost_nanousd) == ([], "error", 0)


@pytest.mark.parametrize("kind", ["whole", "stream", "embedding"])
async def test_a_call_that_fails_says_how_often_it_was_tried(kind: str) -> None:
    bench = Bench(fallback=kind != "embedding")
    for provider in (bench.first, bench.second):
        provider.script.extend([ProviderFailure("down")] * 9)

    with pytest.raises(ProviderUnavailable):
        if kind == "whole":
            await bench.completion.complete(CALLER, a_request())
        elif kind == "stream":
            await bench.streaming.open(CALLER, a_request())
        else:
            await bench.embedding.embed(CALLER, ["a"])

    tried = 18 - len(bench.first.script) - len(bench.second.script)
    assert (bench.row.outcome, bench.row.attempts) == ("error", tried)
    assert tried >= 3


async def test_a_refused_request_is_not_tried_elsewhere() -> None:
    bench = Bench()
    bench.first.script.append(RequestRefused("no such field"))

    with pytest.raises(RequestRefused):
        await bench.completion.complete(CALLER, a_request())

    assert bench.second.asked == []
    assert bench.row.attempts == 1


async def test_a_request_is_not_wrong_because_the_fallback_of_one_that_is_down_refuses_it() -> None:
    bench = Bench()
    bench.first.script.extend([ProviderFailure("down")] * 9)
    bench.second.script.append(RequestRefused("no such field"))

    with pytest.raises(ProviderUnavailable, match=r"down.*no such field"):
        await bench.completion.complete(CALLER, a_request())

    assert len(bench.second.asked) == 1


async def test_a_refusal_of_the_one_that_was_meant_to_answer_counts_also_after_failures() -> None:
    bench = Bench()
    bench.first.script.extend([ProviderFailure("down"), RequestRefused("no such field")])
    bench.second.script.append(RequestRefused("no such role"))

    with pytest.raises(RequestRefused, match="no such field"):
        await bench.completion.complete(CALLER, a_request())


async def test_a_model_that_nobody_has_is_not_found() -> None:
    bench = Bench()
    bench.first.script.append(ModelMissing("?"))
    bench.second.script.append(ModelMissing("?"))

    with pytest.raises(ModelNotFound):
        await bench.completion.complete(CALLER, a_request())


async def test_an_exhausted_budget_stops_the_call_before_the_provider_is_asked() -> None:
    bench = Bench()
    await bench.budget(10)

    with pytest.raises(BudgetExhausted, match=GOAL):
        await bench.completion.complete(CALLER, a_request(max_tokens=50))

    assert bench.first.asked == []
    assert bench.store.ledger == {}
    assert bench.refused == ["goal"]


async def test_a_waiting_call_enters_when_a_settlement_makes_room() -> None:
    bench = Bench(fallback=False)
    request = a_request(max_tokens=1000)
    await bench.budget(3_000_000)

    results = await asyncio.gather(*(bench.completion.complete(CALLER, request) for _ in range(5)))

    assert [result.limit_lowered for result in results] == [False] * 5
    spend = await bench.store.spend(CALLER.tenant_id, GOAL)
    assert (spend.held_nanousd, spend.spent_nanousd) == (0, sum(result.cost_nanousd for result in results))


async def test_an_unpriced_candidate_is_an_error_under_a_budget_only() -> None:
    bench = Bench(prices={"first/m": PRICE})
    assert (await bench.completion.complete(CALLER, a_request())).cost_nanousd == COST
    await bench.budget(10**12)

    with pytest.raises(PriceUnknown, match="second/m"):
        await bench.completion.complete(CALLER, a_request("another"))


async def test_a_cancelled_call_is_billed_for_its_prompt_and_keeps_no_hold() -> None:
    bench = Bench()
    await bench.budget(10**9)
    started = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        started.set()
        await asyncio.Event().wait()

    bench.first.chat = hang  # type: ignore[method-assign, assignment]
    call = asyncio.create_task(bench.completion.complete(CALLER, a_request()))
    await started.wait()

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await bench.budgets.settled()

    assert (bench.row.outcome, bench.row.usage.estimated, bench.row.attempts) == ("aborted", True, 1)
    assert bench.row.cost_nanousd > 0
    assert bench.store.holds == {}


async def test_a_stream_closed_before_its_first_event_is_billed_and_keeps_no_hold() -> None:
    bench = Bench()
    await bench.budget(10**9)

    stream = await bench.streaming.open(CALLER, a_request())
    await stream.events.aclose()
    await bench.budgets.settled()

    assert bench.row.outcome == "aborted"
    assert bench.store.holds == {}


async def test_a_stream_is_settled_before_it_ends() -> None:
    bench = Bench()

    stream = await bench.streaming.open(CALLER, a_request())
    events = [decode_object(event) async for event in stream.events]

    assert bench.row.cost_nanousd == COST
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in event for event in events)


async def test_what_came_with_the_end_of_an_answer_is_said_once_that_is_booked() -> None:
    class Ending(ScriptedProvider):
        async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
            yield Chunk(data=b'{"n":1}', text="one ", tokens=1)
            yield Chunk(data=b'{"n":2}', text="two", tokens=1, finish_reason="stop", ends=True)
            yield Chunk(data=b'{"n":3}', usage=self.usage, bare_usage=True, ends=True)

    bench = Bench(first=Ending("first"))

    stream = await bench.streaming.open(CALLER, a_request())
    said = [(event, stream.ended.known, len(bench.observed)) async for event in stream.events]

    assert said == [(b'{"n":1}', False, 0), (b'{"n":2}', True, 1)]


async def test_embeddings_are_priced_like_any_call() -> None:
    bench = Bench()

    embeddings = await bench.embedding.embed(CALLER, ["a", "bcd"])

    assert embeddings.vectors == ((1.0, 1.0), (3.0, 1.0))
    assert (bench.row.kind, bench.row.cost_nanousd) == ("embedding", 2 * 1000)


async def test_a_flagged_provider_turns_written_calls_into_tool_calls_streamed_or_not() -> None:
    text = '{"name": "weather", "arguments": {"city": "Bern"}}'
    weather = {"type": "function", "function": {"name": "weather"}}
    inner = ScriptedProvider(script=deque([text, text, text]))
    provider = ToolCallRecovery(inner, new_id=lambda: "call_1")

    whole = await provider.chat(a_request(tools=(weather,)), model="m")
    chunks = [chunk async for chunk in provider.stream(a_request(tools=(weather,)), model="m")]
    untouched = await provider.chat(a_request(), model="m")

    assert whole.wire["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]
    assert untouched.wire == a_completion(text)
