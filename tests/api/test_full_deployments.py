"""A deployment that has as many calls as it may have, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.api.spending import budget, state
from tests.api_process import api_process
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1, "completion_tokens": 100, "total_tokens": 101}


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}]} | fields


@pytest.fixture(scope="module")
def url(settings: Settings, environment: dict[str, str]) -> Iterator[str]:
    crowd = {"COGNITIONOS_DEPLOYMENT_CALLS": "1", "COGNITIONOS_DEPLOYMENT_QUEUE": "0"}
    with api_process(settings, environment | crowd) as url:
        yield url


@pytest.fixture
def another(url: str, settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    """The client of another tenant, whose calls have the same places."""
    headers = run(a_caller(settings, f"tenant-{uuid4()}")).headers
    made = httpx.AsyncClient(base_url=url, headers=headers, timeout=60)
    yield made
    run(made.aclose())


@asynccontextmanager
async def full(another: httpx.AsyncClient, upstream: Upstream) -> AsyncIterator[None]:
    """The only place of the model `m` is taken."""
    gate = asyncio.Event()
    upstream.then(Say(text="one", gates={0: gate}))
    first = asyncio.create_task(another.post(CHAT, json=asking("first", stream=True)))
    await eventually(lambda: upstream.open_streams == 1)
    try:
        yield
    finally:
        gate.set()
        assert (await first).text.endswith("data: [DONE]\n\n")


async def listed(client: httpx.AsyncClient, call_id: str) -> dict[str, Any]:
    """The row of a call, once it is written."""

    async def look() -> list[dict[str, Any]]:
        calls = (await client.get("/v1/usage/calls")).json()["items"]
        return [call for call in calls if call["call_id"] == call_id]

    return (await eventually(look))[0]


async def test_a_full_deployment_without_another_is_refused_at_once(
    client: httpx.AsyncClient, another: httpx.AsyncClient, upstream: Upstream
) -> None:
    async with full(another, upstream):
        refusals = [await client.post(CHAT, json=asking("second", stream=stream)) for stream in (True, False)]
        refusals.append(await client.post("/v1/embeddings", json={"model": "openai/m", "input": "second"}))

    for refused in refusals:
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "as many calls as it may have" in refused.json()["error"]["message"]
        assert refused.headers["x-cognitionos-route"] == "reason=named, openai/m=full"
        assert refused.headers["x-cognitionos-attempts"] == "0"
        assert refused.elapsed.total_seconds() < 2.5, "two back-offs are longer"
        row = await listed(client, refused.headers["x-cognitionos-call-id"])
        assert (row["outcome"], row["attempts"], row["cost_usd"]) == ("error", 0, "0")
    assert len(upstream.calls) == 1


async def test_a_full_deployment_refuses_before_any_money_is_held(
    client: httpx.AsyncClient, another: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await client.put("/v1/prices/m", json={"input_usd_per_million": "0", "output_usd_per_million": "2"})
    async with full(another, upstream):
        await budget(client, caller, "0.000000001")

        refused = await client.post(CHAT, json=asking("second"))
        spend = await state(client)

    assert (refused.status_code, spend) == (503, (Decimal(0), Decimal(0)))
    assert (await client.post(CHAT, json=asking("second"))).status_code == 429


async def test_a_kept_answer_needs_no_place(
    client: httpx.AsyncClient, another: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.then(Say(text="kept"))
    (await client.post(CHAT, json=asking("asked before"))).raise_for_status()

    async with full(another, upstream):
        again = await client.post(CHAT, json=asking("asked before"))

    assert (again.status_code, again.json()["choices"][0]["message"]["content"]) == (200, "kept")
    assert again.headers["x-cognitionos-cache"] != "none"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cheaper_model_that_a_budget_names_has_room_where_the_one_asked_for_has_none(
    client: httpx.AsyncClient, another: httpx.AsyncClient, caller: Caller, upstream: Upstream, *, streamed: bool
) -> None:
    for model, output in (("m", "2"), ("small", "1")):
        await client.put(f"/v1/prices/{model}", json={"input_usd_per_million": "0", "output_usd_per_million": output})
    terms = {"limit_usd": "0.002", "soft": 0.1, "downgrade_to": "small"}
    (await client.post("/v1/budgets", json=terms | {"subject": f"api_key:{caller.api_key_id}"})).raise_for_status()
    upstream.then(Say(text="dear", usage=USAGE))
    (await client.post(CHAT, json=asking("past the soft share"))).raise_for_status()

    async with full(another, upstream):
        answer = await client.post(CHAT, json=asking("now", stream=streamed))

    assert (answer.status_code, answer.headers["x-cognitionos-model"]) == (200, "openai/small")
    assert answer.headers["x-cognitionos-downgraded"] == "true"
