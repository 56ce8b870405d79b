"""The facade as other contexts use it: wired by composition, on a real PostgreSQL and Redis, without a provider."""

from collections.abc import Iterator

import pytest
from tests.builders_llm_gateway import a_caller, a_request
from tests.conftest import Run

from cognitionos.composition import base as platform
from cognitionos.composition import llm_gateway
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.facade import COUNTERFACTUAL_MODEL, Gateway, Usage
from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def gateway(settings: Settings, run: Run) -> Iterator[Gateway]:
    base = platform.build(settings)
    services = llm_gateway.build(base)
    resources = (*base.resources, *services.resources)
    for resource in resources:
        run(resource.open())
    yield services.gateway
    for resource in reversed(resources):
        run(resource.close())
    run(base.redis.aclose())


async def test_the_default_is_simulated_and_says_so_everywhere(gateway: Gateway) -> None:
    result = await gateway.complete(a_caller(), a_request())

    assert (result.simulated, result.provider, result.model) == (True, "simulated", "simulated/scenarios")
    assert result.wire["model"] == "simulated/scenarios"
    assert gateway.describe_default().simulated
    assert gateway.describe_default().hint


async def test_a_simulated_call_is_free_and_can_be_priced_as_a_real_one(gateway: Gateway) -> None:
    caller = a_caller(goal_id=new_id())
    await gateway.open_budget(caller.tenant_id, f"goal:{caller.goal_id}", 0)

    result = await gateway.complete(caller, a_request())

    spend = await gateway.spent(caller.tenant_id, f"goal:{caller.goal_id}")
    assert (result.cost_nanousd, spend.spent_nanousd, spend.calls, spend.limit_nanousd) == (0, 0, 1, 0)
    assert (gateway.priced_as(COUNTERFACTUAL_MODEL, result.usage) or 0) > 0
    assert gateway.priced_as("no-such-model", Usage(prompt=1)) is None


async def test_a_stream_and_a_plain_call_say_the_same(gateway: Gateway) -> None:
    stream = await gateway.stream(a_caller(), a_request())

    events = [event async for event in stream.events]

    assert stream.simulated
    assert all(b'"simulated/scenarios"' in event for event in events)


async def test_texts_are_embedded_without_any_key(gateway: Gateway) -> None:
    embeddings = await gateway.embed(a_caller(), ["one", "two"])

    assert (embeddings.model, embeddings.dimensions, embeddings.cost_nanousd) == ("local/wordllama", 256, 0)
