"""What the gateway says of itself: the default model of a tenant, circuits, how many tokens a call would have."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from anthropic import AsyncAnthropic
from tests.anthropic_upstream import AnthropicUpstream
from tests.conftest import Run
from tests.edge import Caller
from tests.upstream import Say, Upstream

CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors | {"COGNITIONOS_CIRCUIT_FAILURES": "2"}


@pytest.fixture
def client(url: str, caller: Caller, run: Run) -> Iterator[httpx.AsyncClient]:
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    yield made
    run(made.aclose())


async def test_the_default_model_is_that_of_the_tenants_own_route(client: httpx.AsyncClient) -> None:
    before = (await client.get("/v1/default-model")).json()
    route = {"candidates": [{"model": "openai/mine"}, {"model": "openai/other"}]}
    (await client.put("/v1/routes/default", json=route)).raise_for_status()

    after = (await client.get("/v1/default-model")).json()

    assert before["model"] != "openai/mine"
    assert after == {"model": "openai/mine", "provider": "openai", "simulated": False, "hint": "", "price": "free"}


async def test_a_circuit_that_opened_is_listed(client: httpx.AsyncClient, upstream: Upstream) -> None:
    model = f"broken-{uuid4()}"
    upstream.then(*(Say(status=500) for _ in range(2)))
    before = (await client.get("/v1/circuits")).json()["circuits"]

    refused = await client.post(CHAT, json={"model": f"openai/{model}", "messages": HELLO, "deadline_s": 5})
    upstream.reset()
    (circuit,) = [each for each in (await client.get("/v1/circuits")).json()["circuits"] if model in each["model"]]

    assert all(model not in each["model"] for each in before)
    assert refused.status_code == 503
    assert (circuit["model"], circuit["own"], circuit["state"]) == (f"openai/{model}", False, "open")
    assert circuit["failures"] >= 2
    assert 0 < circuit["reopens_in_s"] <= 60


async def test_anthropics_sdk_counts_tokens_where_anthropic_answers(
    url: str, caller: Caller, claude: AnthropicUpstream
) -> None:
    ours = AsyncAnthropic(base_url=url, api_key=caller.key)
    direct = AsyncAnthropic(base_url=claude.base_url, api_key=claude.api_key)
    tools = [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}]

    counts = [
        await sdk.messages.count_tokens(model=model, system="Be kind.", messages=HELLO, tools=tools)  # type: ignore[arg-type]
        for sdk, model in ((ours, "anthropic/claude-haiku-4-5"), (direct, "claude-haiku-4-5"))
    ]

    assert counts[0].model_dump() == counts[1].model_dump()
    assert claude.calls[-2] == claude.calls[-1]


async def test_tokens_of_other_providers_are_estimated_and_said_to_be(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/messages/count_tokens", json={"model": "openai/m", "messages": HELLO})
    refused = await client.post("/v1/messages/count_tokens", json={"model": "openai/m", "messages": []})

    assert answer.status_code == 200
    assert answer.json()["estimated"] is True
    assert 1 <= answer.json()["input_tokens"] < 30
    assert refused.json()["type"] == "error"
