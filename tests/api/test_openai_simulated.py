"""The simulated model over HTTP, as a newcomer without a key meets it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar import Litestar
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, running_app

from cognitionos.platform.config import Settings

SAID = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, "newcomer"))
    return made


@pytest.fixture(scope="module")
def app(settings: Settings, run: Run) -> Iterator[Litestar]:
    context = running_app(settings)
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture
def client(app: Litestar, caller: Caller) -> httpx.AsyncClient:
    return client_of(app, caller)


async def test_without_a_provider_the_answer_says_that_it_is_simulated(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hello"}]})

    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == "simulated/scenarios"
    assert "words mean nothing" in answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["x-cognitionos-simulated"] == "true"
    assert answer.headers["x-cognitionos-provider"] == "simulated"
    assert answer.headers["x-cognitionos-cost-usd"] == "0"
    assert answer.headers["x-cognitionos-attempts"] == "1"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": SAID}),
        ("chat/completions", {"messages": SAID, "stream": True}),
        ("messages", {"messages": SAID, "model": "default", "max_tokens": 50}),
        ("messages", {"messages": SAID, "model": "default", "max_tokens": 50, "stream": True}),
        ("responses", {"input": "Hello", "model": "default"}),
        ("responses", {"input": "Hello", "model": "default", "stream": True}),
        ("embeddings", {"input": "Hello", "model": "local/wordllama"}),
    ],
)
async def test_every_answer_says_in_headers_who_gave_it_and_what_it_cost(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    answer = await client.post(f"/v1/{path}", json=body)

    assert answer.status_code == 200, answer.text
    named = {"provider", "model", "cache", "attempts", "call-id"} | (set() if body.get("stream") else {"cost-usd"})
    assert {name for name in named if f"x-cognitionos-{name}" not in answer.headers} == set()
    assert "x-request-id" in answer.headers


async def test_a_json_schema_is_filled(client: httpx.AsyncClient) -> None:
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "n": {"type": "integer", "minimum": 3}},
        "required": ["title", "n"],
    }
    body = {
        "messages": [{"role": "user", "content": "Fill."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }

    answer = await client.post("/v1/chat/completions", json=body)

    assert answer.json()["choices"][0]["message"]["content"] == '{"title":"simulated","n":3}'


async def test_bad_input_gets_an_error_in_openais_shape_that_names_the_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json={"messages": [{"role": "wizard", "content": "x"}]})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "messages.0.role")
    assert error["code"] == "invalid-chat-request"


async def test_without_a_key_the_error_has_openais_shape_too(app: Litestar) -> None:
    answer = await client_of(app).post("/v1/chat/completions", json={})

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


async def test_embeddings_work_without_a_key_of_any_provider(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/embeddings", json={"input": ["a cat", "a dog"]})

    body = answer.json()
    assert [len(each["embedding"]) for each in body["data"]] == [256, 256]
    assert body["model"] == "local/wordllama"


async def test_the_models_are_listed_and_found_by_name(client: httpx.AsyncClient) -> None:
    listed = [each["id"] for each in (await client.get("/v1/models")).json()["data"]]

    assert listed == ["local/wordllama", "simulated/scenarios"]
    assert (await client.get("/v1/models/simulated/scenarios")).json()["owned_by"] == "simulated"
    assert (await client.get("/v1/models/no/such")).status_code == 404


async def test_calls_are_in_the_usage_of_the_tenant(client: httpx.AsyncClient) -> None:
    await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Count me"}]})

    usage = (await client.get("/v1/usage", params={"group_by": "model"})).json()

    groups = {group["key"]: group for group in usage["groups"]}
    assert groups["simulated/scenarios"]["calls"] >= 1
    assert usage["total_usd"] == "0"


async def test_money_is_taken_as_a_number_or_a_string_and_nothing_else(
    client: httpx.AsyncClient, caller: Caller
) -> None:
    subject = f"api_key:{caller.api_key_id}"

    answers = [
        await client.post("/v1/budgets", json={"subject": subject, "limit_usd": limit, "period": "day"})
        for limit in (0.1, "0.1", 3, "-1", "NaN", "a lot")
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 201, 422, 422, 400]
    assert answers[0].json()["limit_usd"] == "0.1"
    assert answers[0].json()["resets_at"] is not None
    assert answers[3].json()["errors"][0]["field"] == "limit_usd"


async def test_a_price_is_set_for_names_with_slashes_and_versions_count_up(client: httpx.AsyncClient) -> None:
    price = {"input_usd_per_million": 0.15, "output_usd_per_million": "0.6"}

    first = await client.put("/v1/prices/openai/gpt-x", json=price)
    second = await client.put("/v1/prices/openai/gpt-x", json=price)
    wrong = await client.put("/v1/prices/gpt-x", json=price | {"output_usd_per_million": -1})

    assert [first.json()["model"], first.json()["version"], second.json()["version"]] == ["openai/gpt-x", 1, 2]
    assert first.json()["price"] == {"input_usd_per_million": "0.15", "output_usd_per_million": "0.6"}
    assert wrong.status_code == 422


async def test_another_tenants_budget_cannot_be_opened(client: httpx.AsyncClient) -> None:
    body = {"subject": "tenant:00000000-0000-4000-8000-000000000000", "limit_usd": "1"}

    answer = await client.post("/v1/budgets", json=body)

    assert answer.status_code == 422
    assert answer.json()["type"].endswith("subject-refused")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("audio", {"voice": "alloy"}),
        ("functions", [{"name": "f"}]),
        ("modalities", ["audio"]),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_simulated_model_cannot_give_is_refused_by_name(
    client: httpx.AsyncClient, field: str, value: object, *, stream: bool
) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": stream, field: value}

    refused = await client.post("/v1/chat/completions", json=body)

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
