"""`Idempotency-Key`: one effect, one answer, whoever repeats and whenever."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import psycopg
import pytest
from litestar import Litestar, post
from litestar.params import JSONBody
from litestar.response import ServerSentEvent
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, raw_request, running_app
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Permission
from cognitionos.platform import idempotency
from cognitionos.platform.config import Settings
from cognitionos.platform.http_api import requires_any_key

gate = asyncio.Event()
calls: list[str] = []


@post("/test/slow", guards=[requires_any_key()])
async def slow(data: JSONBody[dict[str, str]]) -> dict[str, int]:
    calls.append(data["name"])
    await gate.wait()
    return {"calls": len(calls)}


@post("/test/broken", guards=[requires_any_key()])
async def broken() -> None:
    calls.append("broken")
    raise RuntimeError


@post("/test/events", guards=[requires_any_key()])
async def events() -> ServerSentEvent:
    calls.append("events")
    return ServerSentEvent(iter(["1", "2"]))


@pytest.fixture(scope="module")
def app(settings: Settings, run: Run) -> Iterator[Litestar]:
    stack = AsyncExitStack()
    made = run(stack.enter_async_context(running_app(settings)))
    for handler in (slow, broken, events):
        made.register(handler)
    yield made
    run(stack.aclose())


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    return run(a_caller(settings, "repeats"))


@pytest.fixture(scope="module")
def client(app: Litestar, caller: Caller) -> httpx.AsyncClient:
    return client_of(app, caller)


@pytest.fixture
def key() -> dict[str, str]:
    calls.clear()
    gate.set()
    return {"idempotency-key": str(new_id())}


async def test_a_repeated_post_gets_the_first_answer_and_has_no_second_effect(
    client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    first = await client.post("/v1/projects", json={"name": "once"}, headers=key)
    again = await client.post("/v1/projects", json={"name": "once"}, headers=key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


async def test_the_same_key_with_another_body_is_refused(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    await client.post("/v1/projects", json={"name": "a body"}, headers=key)

    other = await client.post("/v1/projects", json={"name": "another body"}, headers=key)

    assert other.status_code == 422
    assert other.json()["type"] == "/problems/idempotency-key-reused"


async def test_the_same_key_on_another_route_is_another_request(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    await client.post("/v1/projects", json={"name": "routes"}, headers=key)

    other = await client.post("/test/slow", json={"name": "routes"}, headers=key)

    assert other.json() == {"calls": 1}


async def test_a_duplicate_of_a_request_under_way_is_told_to_come_back(
    client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    gate.clear()
    first = asyncio.create_task(client.post("/test/slow", json={"name": "x"}, headers=key))
    await eventually(lambda: calls)

    duplicate = await client.post("/test/slow", json={"name": "x"}, headers=key)
    gate.set()
    answer = await first
    later = await client.post("/test/slow", json={"name": "x"}, headers=key)

    assert duplicate.status_code == 409
    assert int(duplicate.headers["retry-after"]) >= 1
    assert (answer.json(), later.json(), calls) == ({"calls": 1}, {"calls": 1}, ["x"])


async def test_of_many_at_once_one_runs(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    answers = await asyncio.gather(*(client.post("/test/slow", json={"name": "crowd"}, headers=key) for _ in range(20)))

    assert calls == ["crowd"]
    assert {answer.status_code for answer in answers} <= {201, 409}


async def test_a_failure_of_ours_is_not_kept(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    for _ in range(2):
        assert (await client.post("/test/broken", headers=key)).status_code == 500

    assert calls == ["broken", "broken"]


async def test_a_refusal_is_judged_anew(client: httpx.AsyncClient, key: dict[str, str]) -> None:
    await client.post("/v1/projects", json={"name": "taken"})
    refused = await client.post("/v1/projects", json={"name": "taken"}, headers=key)

    other = await client.post("/v1/projects", json={"name": "not taken"}, headers=key)

    assert (refused.status_code, other.status_code) == (409, 201)


async def test_a_stream_passes_and_is_not_kept(app: Litestar, caller: Caller, key: dict[str, str]) -> None:
    for _ in range(2):
        sent = await raw_request(app, "/test/events", method="POST", headers={**caller.headers, **key})
        assert len([each for each in sent if each.get("body")]) == 2

    assert calls == ["events", "events"]


async def test_another_tenant_may_use_the_same_key(
    app: Litestar, client: httpx.AsyncClient, settings: Settings, key: dict[str, str]
) -> None:
    other = client_of(app, await a_caller(settings, "repeats too"))
    mine = await client.post("/v1/projects", json={"name": "shared key"}, headers=key)

    theirs = await other.post("/v1/projects", json={"name": "their body"}, headers=key)

    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine.json()["id"]


async def test_a_key_without_the_permission_cannot_read_a_kept_answer(
    app: Litestar, client: httpx.AsyncClient, key: dict[str, str]
) -> None:
    await client.post("/v1/projects", json={"name": "private"}, headers=key)
    made = await client.post("/v1/api-keys", json={"name": "weak", "scopes": [Permission.GOALS_READ]})

    weak = await client_of(app).post(
        "/v1/projects", json={"name": "private"}, headers={**key, "authorization": f"Bearer {made.json()['key']}"}
    )

    assert weak.status_code == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/api-keys", {"name": "x", "scopes": ["goals:read"]}),
        ("/v1/approvals/00000000-0000-0000-0000-000000000001/link", {"person": "ada@example.com"}),
    ],
)
async def test_an_answer_with_a_secret_is_never_kept(
    client: httpx.AsyncClient, key: dict[str, str], path: str, body: dict[str, object]
) -> None:
    answer = await client.post(path, json=body, headers=key)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("bad", ["x" * 256, " ", "tab\tin it"])
async def test_a_key_that_is_none_is_refused_by_name(client: httpx.AsyncClient, bad: str) -> None:
    answer = await client.post("/v1/projects", json={"name": "bad key"}, headers={"idempotency-key": bad})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_after_a_day_a_key_is_new_again(
    client: httpx.AsyncClient, database: TestDatabase, key: dict[str, str]
) -> None:
    await client.post("/test/slow", json={"name": "old"}, headers=key)
    _age(database, key, "25 hours")

    await client.post("/test/slow", json={"name": "old"}, headers=key)

    assert calls == ["old", "old"]


async def test_a_request_whose_process_died_can_be_taken_over(
    client: httpx.AsyncClient, database: TestDatabase, key: dict[str, str]
) -> None:
    await client.post("/test/slow", json={"name": "died"}, headers=key)
    _age(database, key, "6 minutes", status=None)

    again = await client.post("/test/slow", json={"name": "died"}, headers=key)

    assert again.status_code == 201
    assert calls == ["died", "died"]


async def test_a_request_that_takes_long_keeps_its_key(
    client: httpx.AsyncClient, database: TestDatabase, key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RENEW_S", 0.02)
    gate.clear()
    first = asyncio.create_task(client.post("/test/slow", json={"name": "long"}, headers=key))
    await eventually(lambda: calls)
    _age(database, key, "6 minutes", status=None)
    await eventually(lambda: _seconds_old(database, key) < idempotency.LEASE_S)

    duplicate = await client.post("/test/slow", json={"name": "long"}, headers=key)
    gate.set()

    assert duplicate.status_code == 409
    assert (await first).status_code == 201
    assert calls == ["long"]


def _seconds_old(database: TestDatabase, key: dict[str, str]) -> float:
    with psycopg.connect(database.admin_url) as connection:
        found = connection.execute(
            "SELECT extract(epoch FROM now() - created_at)::float8 FROM idempotency_keys WHERE key = %s",
            (key["idempotency-key"],),
        ).fetchone()
    assert found is not None
    return float(found[0])


def _age(database: TestDatabase, key: dict[str, str], age: str, status: int | None = 201) -> None:
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(
            "UPDATE idempotency_keys SET created_at = now() - %s::interval, status = %s WHERE key = %s",
            (age, status, key["idempotency-key"]),
        )
