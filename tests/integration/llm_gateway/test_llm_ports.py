"""One suite for each port's twin and its real adapter."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from tests.anthropic_upstream import AnthropicUpstream, running_anthropic
from tests.builders_llm_gateway import a_call, a_caller, a_request
from tests.conftest import Run
from tests.fakes.llm_gateway_provider import ScriptedProvider
from tests.fakes.llm_gateway_stores import MemoryBudgetStore
from tests.upstream import Say, Upstream, running_upstream

from cognitionos.kernel.clock import utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.ports import BudgetStore, Provider
from cognitionos.llm_gateway.domain.budget import Hold, Period, Terms
from cognitionos.llm_gateway.domain.errors import ModelMissing, ProviderFailure, RequestRefused, SharesCrossed
from cognitionos.llm_gateway.infrastructure.anthropic_provider import AnthropicProvider
from cognitionos.llm_gateway.infrastructure.budget_store import PostgresBudgetStore
from cognitionos.llm_gateway.infrastructure.openai_provider import OpenAIProvider
from cognitionos.llm_gateway.infrastructure.simulated_provider import SimulatedProvider
from cognitionos.platform.database import Database
from cognitionos.platform.http import HttpClient


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest, open_database: Database) -> BudgetStore:
    return MemoryBudgetStore() if request.param == "memory" else PostgresBudgetStore(open_database, owner=uuid4())


@pytest.fixture(scope="module")
def upstream(run: Run) -> Iterator[Upstream]:
    context = running_upstream()
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def anthropic(run: Run) -> Iterator[AnthropicUpstream]:
    context = running_anthropic()
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def http(run: Run) -> Iterator[HttpClient]:
    client = HttpClient()
    run(client.open())
    yield client
    run(client.close())


@pytest.fixture(params=["scripted", "simulated", "openai", "anthropic"])
def provider(
    request: pytest.FixtureRequest, upstream: Upstream, anthropic: AnthropicUpstream, http: HttpClient
) -> Provider:
    upstream.reset()
    if request.param == "anthropic":
        return AnthropicProvider(
            http,
            name="anthropic",
            api_key=anthropic.api_key,
            base_url=anthropic.base_url,
            now=utc_now,
            longest_answer=lambda _: None,
        )
    if request.param == "scripted":
        return ScriptedProvider()
    if request.param == "simulated":
        return SimulatedProvider(lambda: (), now=utc_now)
    return OpenAIProvider(http, name="openai", base_url=upstream.base_url, api_key=upstream.api_key)


async def test_holds_stop_at_the_limit_and_settling_makes_room(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    subject = f"goal:{caller.goal_id}"
    await store.open(caller.tenant_id, subject, limit_nanousd=250, period=Period.TOTAL)
    calls = [a_call(caller, cost_nanousd=40) for _ in range(3)]

    answers = [await store.hold(Hold(row=call, amount_nanousd=100, deadline_s=60)) for call in calls]
    await store.settle(calls[0])
    await store.settle(calls[0])
    again = await store.hold(Hold(row=calls[2], amount_nanousd=100, deadline_s=60))

    assert [answer.granted for answer in answers] == [True, True, False]
    assert (answers[2].subject, answers[2].left_nanousd, answers[2].room_nanousd) == (subject, 50, 250)
    assert again.granted
    spend = await store.spend(caller.tenant_id, subject)
    assert (spend.spent_nanousd, spend.held_nanousd, spend.calls) == (40, 200, 1)


async def test_a_granted_hold_names_the_budget_it_counts_against(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    goal, other = f"goal:{caller.goal_id}", f"goal:{new_id()}"
    before, under = (Hold(row=a_call(caller), amount_nanousd=1, deadline_s=60) for _ in range(2))

    await store.open(caller.tenant_id, other, limit_nanousd=10, period=Period.TOTAL)
    first = await store.hold(before)
    await store.open(caller.tenant_id, goal, limit_nanousd=10, period=Period.TOTAL)
    answers = [first, await store.hold(under), await store.hold(under), await store.hold(before)]

    assert all(answer.granted for answer in answers)
    assert [answer.subject for answer in answers] == [None, goal, goal, None]


async def test_an_unpriced_call_passes_only_where_no_budget_is(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    hold = Hold(row=a_call(caller), amount_nanousd=None, deadline_s=60)

    assert (await store.hold(hold)).granted
    await store.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=1, period=Period.TOTAL)
    assert (await store.hold(replace(hold, row=a_call(caller)))).price_missing


async def test_near_its_end_a_budget_names_a_cheaper_model_and_halts_runs(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    terms = Terms(soft=0.5, halt=0.9, downgrade_to="cheap")
    await store.open(
        caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=100, period=Period.TOTAL, terms=terms, given=["soft"]
    )
    outcomes = []
    for cost in (50, 40, 5):
        call = a_call(caller, cost_nanousd=cost)
        await store.hold(Hold(row=call, amount_nanousd=cost, deadline_s=60))
        await store.settle(call)
        wanted = Hold(row=a_call(caller), amount_nanousd=1, deadline_s=60, halts=True, downgraded=False)
        outcomes.append(await store.hold(wanted))

    assert [(each.downgrade_to, each.halted) for each in outcomes] == [("cheap", False), (None, True), (None, True)]
    assert {each.subject for each in outcomes} == {f"goal:{caller.goal_id}"}


async def test_opening_a_budget_again_changes_the_given_terms_only(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    subject = f"goal:{caller.goal_id}"
    first = Terms(soft=0.5, downgrade_to="cheap")
    await store.open(caller.tenant_id, subject, limit_nanousd=100, period=Period.TOTAL, terms=first)
    await store.open(
        caller.tenant_id, subject, limit_nanousd=200, period=Period.TOTAL, terms=Terms(soft=0.1), given=["soft"]
    )
    call = a_call(caller, cost_nanousd=20)
    await store.hold(Hold(row=call, amount_nanousd=20, deadline_s=60))
    await store.settle(call)

    answer = await store.hold(Hold(row=a_call(caller), amount_nanousd=1, deadline_s=60, downgraded=False))

    assert answer.downgrade_to == "cheap"


async def test_a_soft_share_above_halt_is_refused_and_changes_nothing(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    subject = f"goal:{caller.goal_id}"
    first = Terms(soft=0.5, halt=0.9)
    await store.open(
        caller.tenant_id, subject, limit_nanousd=100, period=Period.TOTAL, terms=first, given=["soft", "halt"]
    )

    for name, terms in (("soft", Terms(soft=0.95)), ("halt", Terms(halt=0.4))):
        with pytest.raises(SharesCrossed):
            await store.open(
                caller.tenant_id, subject, limit_nanousd=200, period=Period.TOTAL, terms=terms, given=[name]
            )

    assert (await store.spend(caller.tenant_id, subject)).limit_nanousd == 100


async def test_a_queued_call_may_be_sent_as_long_as_its_hold_is_there(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    hold = Hold(row=a_call(caller), amount_nanousd=1, deadline_s=60, sent=False)
    await store.hold(hold)

    held = await store.send(hold.row.call_id)
    await store.release(hold.row.call_id)

    assert held
    assert not await store.send(hold.row.call_id)


async def test_a_release_gives_back_what_was_held(store: BudgetStore) -> None:
    caller = a_caller(goal_id=new_id())
    await store.open(caller.tenant_id, f"goal:{caller.goal_id}", limit_nanousd=100, period=Period.TOTAL)
    call = a_call(caller)
    await store.hold(Hold(row=call, amount_nanousd=100, deadline_s=60))

    await store.release(call.call_id)

    assert (await store.spend(caller.tenant_id, f"goal:{caller.goal_id}")).left_nanousd == 100


async def test_a_provider_answers_whole_with_usage(provider: Provider) -> None:
    answer = await provider.chat(a_request("Hi"), model="gpt-4o-mini")

    assert answer.wire["choices"][0]["message"]["content"]
    assert answer.wire["choices"][0]["finish_reason"] == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt > 0


async def test_a_providers_stream_adds_up_to_its_answer(provider: Provider) -> None:
    whole = await provider.chat(a_request("Hi"), model="gpt-4o-mini")

    chunks = [chunk async for chunk in provider.stream(a_request("Hi"), model="gpt-4o-mini")]

    assert "".join(chunk.text for chunk in chunks) == whole.wire["choices"][0]["message"]["content"]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    usages = [chunk.usage for chunk in chunks if chunk.usage and not chunk.usage.estimated]
    assert [usage.completion for usage in usages] == [whole.usage.completion if whole.usage else 0]
    assert all(json.loads(chunk.data)["object"] == "chat.completion.chunk" for chunk in chunks)


async def test_a_stream_may_be_left_early(provider: Provider) -> None:
    stream = provider.stream(a_request("Hi"), model="gpt-4o-mini")

    first = await anext(stream)
    await stream.aclose()

    assert first.data


@pytest.mark.parametrize(
    ("status", "headers", "kind", "again", "retry_after_s"),
    [
        (429, {"retry-after": "7"}, ProviderFailure, True, 7.0),
        (429, {"retry-after-ms": "250"}, ProviderFailure, True, 0.25),
        (500, {}, ProviderFailure, True, None),
        (401, {}, ProviderFailure, False, None),
        (404, {}, ModelMissing, False, None),
        (400, {}, RequestRefused, None, None),
        (302, {"location": "/elsewhere"}, ProviderFailure, False, None),
    ],
)
async def test_a_status_says_whether_to_try_again(
    status: int,
    headers: dict[str, str],
    kind: type[Exception],
    again: bool | None,  # noqa: FBT001 - a column of the table
    retry_after_s: float | None,
    upstream: Upstream,
    http: HttpClient,
) -> None:
    provider = OpenAIProvider(http, name="openai", base_url=upstream.base_url, api_key=upstream.api_key)
    upstream.reset()
    upstream.then(Say(status=status, headers=headers))

    with pytest.raises(kind) as raised:
        await provider.chat(a_request(), model="gpt-4o-mini")

    if isinstance(raised.value, ProviderFailure):
        assert (raised.value.again, raised.value.retry_after_s) == (again, retry_after_s)


async def test_a_server_that_is_not_there_is_a_failure_of_the_attempt(http: HttpClient) -> None:
    provider = OpenAIProvider(http, name="gone", base_url="http://127.0.0.1:1/v1", api_key=None)

    with pytest.raises(ProviderFailure):
        await asyncio.wait_for(provider.chat(a_request(), model="m"), timeout=5)
