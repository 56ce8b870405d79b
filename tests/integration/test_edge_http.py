"""What surrounds every request of the real application."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from litestar import Litestar, get
from litestar.response import ServerSentEvent
from prometheus_client import REGISTRY
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, raw_request, running_app

from cognitionos.kernel.principal import Permission
from cognitionos.platform.config import Settings
from cognitionos.platform.http_api import public
from cognitionos.platform.http_catalogue import catalogue

PER_MINUTE = 40


@get("/test/stream", opt=public())
async def stream() -> ServerSentEvent:
    async def events() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    return ServerSentEvent(events())


@get("/test/broken", opt=public())
async def broken() -> None:
    raise RuntimeError("the password is hunter2")


@pytest.fixture(scope="module")
def app(settings: Settings, run: Run) -> Iterator[Litestar]:
    stack = AsyncExitStack()
    limited = settings.model_copy(update={"rate_limit_per_minute": PER_MINUTE})
    made = run(stack.enter_async_context(running_app(limited)))
    made.register(stream)
    made.register(broken)
    yield made
    run(stack.aclose())


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    return run(a_caller(settings, "edge"))


@pytest.fixture(scope="module")
def client(app: Litestar, caller: Caller) -> httpx.AsyncClient:
    return client_of(app, caller)


async def test_a_request_id_is_echoed_on_every_answer(client: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/v1/me", "/nowhere", "/test/broken"):
        answer = await client.get(path, headers={"x-request-id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1", path


async def test_a_request_id_that_could_break_a_log_line_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/live", headers={"x-request-id": 'a"b' * 60})

    assert answer.headers["x-request-id"].isalnum()


async def test_no_key_is_a_401_that_says_how_to_send_one(app: Litestar) -> None:
    answer = await client_of(app).get("/v1/me")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Authorization: Bearer" in answer.json()["detail"]


@pytest.mark.parametrize("credential", ["Bearer nonsense", "Basic abc", "Bearer", "cog_x", "Bearer cog_" + "a" * 57])
async def test_a_bad_credential_is_a_401(app: Litestar, credential: str) -> None:
    answer = await client_of(app).get("/v1/me", headers={"authorization": credential})

    assert answer.status_code == 401


async def test_a_key_may_come_in_x_api_key(app: Litestar, caller: Caller) -> None:
    answer = await client_of(app).get("/v1/me", headers={"x-api-key": caller.key})

    assert answer.json()["tenant_id"] == str(caller.tenant_id)


async def test_a_key_without_the_scope_is_a_403_that_names_it(app: Litestar, settings: Settings) -> None:
    reader = await a_caller(settings, "reader", scopes=frozenset({Permission.GOALS_READ}))

    answer = await client_of(app, reader).get("/v1/api-keys")

    assert answer.status_code == 403
    assert "keys:admin" in answer.json()["detail"]


async def test_an_unexpected_error_is_a_500_problem_without_its_text(client: httpx.AsyncClient) -> None:
    answer = await client.get("/test/broken")

    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_the_rate_limit_is_told_with_every_answer_and_refuses_with_a_time(
    app: Litestar, settings: Settings
) -> None:
    hasty = client_of(app, await a_caller(settings, "hasty"))

    answers = [await hasty.get("/v1/me") for _ in range(PER_MINUTE + 1)]

    first, last = answers[0], answers[-1]
    assert first.headers["ratelimit-policy"] == f'"key";q={PER_MINUTE};w=60'
    assert first.headers["x-ratelimit-remaining"] == str(PER_MINUTE - 1)
    assert last.status_code == 429
    assert last.json()["type"] == "/problems/rate-limited"
    assert 1 <= int(last.headers["retry-after"]) <= 120
    assert last.headers["x-ratelimit-remaining"] == "0"


async def test_a_stream_leaves_event_by_event(app: Litestar) -> None:
    sent = await raw_request(app, "/test/stream")

    bodies = [message["body"] for message in sent if message["type"] == "http.response.body" and message["body"]]
    assert len(bodies) == 3


async def test_requests_are_counted_by_route_and_never_by_path_or_tenant(client: httpx.AsyncClient) -> None:
    labels = {"method": "DELETE", "route": "/v1/api-keys/{key_id}", "status": "404"}
    before = REGISTRY.get_sample_value("cognitionos_http_requests_total", labels) or 0

    await client.delete("/v1/api-keys/00000000-0000-7000-8000-000000000000")

    assert REGISTRY.get_sample_value("cognitionos_http_requests_total", labels) == before + 1
    metrics = await client.get("/metrics")
    exposed = metrics.text
    assert metrics.headers["content-type"].count("charset") == 1
    assert "00000000-0000-7000-8000" not in exposed
    assert "cognitionos_http_request_seconds_bucket" in exposed


async def test_a_body_that_is_too_large_is_a_413(app: Litestar, settings: Settings) -> None:
    sender = client_of(app, await a_caller(settings, "large"))
    body = json.dumps({"name": "x" * 49 * 2**20})

    plain = await sender.post("/v1/projects", content=body)
    keyed = await sender.post("/v1/projects", content=body, headers={"idempotency-key": "large"})

    assert (plain.status_code, keyed.status_code) == (413, 413)


async def test_ready_says_that_redis_is_gone_and_goes_on(settings: Settings) -> None:
    without = settings.model_copy(update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1/0")})
    async with running_app(without) as app:
        answer = await client_of(app).get("/health/ready")

    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "database": "ok", "redis": "does not answer"}


async def test_not_ready_without_a_database_but_alive(settings: Settings) -> None:
    gone = settings.model_copy(
        update={"database_url": type(settings.database_url)("postgresql://cognitionos_app@127.0.0.1:1/none")}
    )
    async with running_app(gone) as app:
        ready, live = await client_of(app).get("/health/ready"), await client_of(app).get("/health/live")

    assert ready.status_code == 503
    assert ready.json()["errors"] == [{"field": "database", "message": "does not answer"}]
    assert live.status_code == 200


async def test_the_readable_page_and_the_document_need_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page, document = (await client.get("/docs")).text, (await client.get("/openapi.json")).json()

    assert "/v1/api-keys" in page
    assert "://" not in page.replace("https://www.rfc-editor.org", "")
    assert "<script" not in page
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


async def test_the_type_of_every_problem_leads_to_a_page_that_says_what_it_means(client: httpx.AsyncClient) -> None:
    problem = (await client.delete("/v1/api-keys/00000000-0000-7000-8000-000000000000")).json()

    page = await client.get(problem["type"])

    assert page.status_code == 200
    assert "no key with that id" in page.text
    assert [slug for slug, (_, meaning) in catalogue().items() if not meaning] == []
