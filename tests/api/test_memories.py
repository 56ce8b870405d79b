"""A project's memory over HTTP."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, running_app

from cognitionos.kernel.principal import Permission
from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def app(settings: Settings, run: Run) -> Iterator[Litestar]:
    context = running_app(settings)
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, "historian"))
    return made


@pytest.fixture(scope="module")
def stranger(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, "stranger"))
    return made


@pytest.fixture
def client(app: Litestar, caller: Caller) -> httpx.AsyncClient:
    return client_of(app, caller)


async def created(client: httpx.AsyncClient, content: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/memories", json={"content": content, **fields})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_memory_is_created_found_read_and_forgotten(client: httpx.AsyncClient) -> None:
    run_id = str(uuid4())
    answer = await client.post(
        "/v1/memories",
        json={
            "content": "The reactor is inspected every 40 days",
            "kind": "convention",
            "tags": ["safety"],
            "source": {"run_id": run_id, "url": "https://example.org/rules"},
            "confidence": 0.8,
            "valid_until": "2999-01-01T00:00:00Z",
        },
    )
    memory = answer.json()

    found = await client.post("/v1/memories/search", json={"query": "how often is the reactor inspected", "limit": 3})
    read = await client.get(answer.headers["location"])
    forgotten = await client.delete(answer.headers["location"])
    gone = await client.get(answer.headers["location"])
    found_again = await client.post("/v1/memories/search", json={"query": "reactor"})

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/memories/{memory['id']}"
    assert memory["source"] == {"goal_id": None, "run_id": run_id, "url": "https://example.org/rules", "user": None}
    assert (memory["kind"], memory["tags"], memory["confidence"]) == ("convention", ["safety"], 0.8)
    [item] = found.json()["items"]
    assert {name: item[name] for name in memory} == memory
    assert item["parts"]["dense"] > 0.3
    assert item["parts"]["text"] > 0
    assert found.json()["degraded"] is False
    assert read.json() == memory
    assert (forgotten.status_code, gone.status_code) == (204, 404)
    assert gone.json()["type"] == "/problems/memory-not-found"
    assert found_again.json()["items"] == []


async def test_the_same_content_again_is_answered_with_the_one_there_is(client: httpx.AsyncClient) -> None:
    first = await created(client, "Said twice")

    again = await client.post("/v1/memories", json={"content": " Said  twice"})

    assert again.status_code == 200
    assert again.json() == first


async def test_a_superseded_memory_is_listed_and_no_longer_found(client: httpx.AsyncClient) -> None:
    old = await created(client, "The kiosk opens at seven")
    new = await created(client, "The kiosk opens at eight", supersedes=old["id"])

    found = await client.post("/v1/memories/search", json={"query": "kiosk opens"})
    with_old = await client.post("/v1/memories/search", json={"query": "kiosk opens", "include_superseded": True})
    read = await client.get(f"/v1/memories/{old['id']}")

    ids = [item["id"] for item in found.json()["items"]]
    assert new["id"] in ids
    assert old["id"] not in ids
    assert old["id"] in [item["id"] for item in with_old.json()["items"]]
    assert read.json()["superseded_by"] == new["id"]


async def test_the_list_is_paged_newest_first_and_filtered_by_kind(client: httpx.AsyncClient) -> None:
    made = [(await created(client, f"Issue {number}", kind="issue"))["id"] for number in range(5)]

    first = (await client.get("/v1/memories", params={"kind": "issue", "limit": 3})).json()
    second = (
        await client.get("/v1/memories", params={"kind": "issue", "limit": 3, "cursor": first["next_cursor"]})
    ).json()

    assert [item["id"] for item in [*first["items"], *second["items"]]] == made[::-1]
    assert second["next_cursor"] is None


async def test_a_search_can_ask_for_a_kind_and_a_confidence(client: httpx.AsyncClient) -> None:
    await created(client, "The ferry might sink", kind="note", confidence=0.1)
    sure = await created(client, "The ferry was inspected", kind="fact", confidence=0.9)

    by_kind = await client.post("/v1/memories/search", json={"query": "ferry", "kind": "fact", "limit": 1})
    by_confidence = await client.post("/v1/memories/search", json={"query": "ferry sink", "min_confidence": 0.5})

    assert [item["id"] for item in by_kind.json()["items"]] == [sure["id"]]
    assert all(item["confidence"] >= 0.5 for item in by_confidence.json()["items"])


async def test_another_tenant_sees_nothing_of_it(app: Litestar, client: httpx.AsyncClient, stranger: Caller) -> None:
    memory = await created(client, "Our secret ingredient is cardamom")
    foreign = client_of(app, stranger)

    answers = [
        await foreign.get(f"/v1/memories/{memory['id']}"),
        await foreign.delete(f"/v1/memories/{memory['id']}"),
        await foreign.post("/v1/memories", json={"content": "Ours now", "supersedes": memory["id"]}),
    ]
    searched = await foreign.post("/v1/memories/search", json={"query": "secret ingredient cardamom"})
    listed = await foreign.get("/v1/memories")

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert (searched.json()["items"], listed.json()["items"]) == ([], [])
    assert (await client.get(f"/v1/memories/{memory['id']}")).status_code == 200


async def test_each_route_needs_its_scope(app: Litestar, settings: Settings) -> None:
    reader = client_of(app, await a_caller(settings, "reader", scopes=frozenset({Permission.MEMORIES_READ})))
    writer = client_of(app, await a_caller(settings, "writer", scopes=frozenset({Permission.MEMORIES_WRITE})))

    statuses = [
        (await reader.post("/v1/memories", json={"content": "x"})).status_code,
        (await reader.delete(f"/v1/memories/{uuid4()}")).status_code,
        (await writer.get("/v1/memories")).status_code,
        (await writer.get(f"/v1/memories/{uuid4()}")).status_code,
        (await writer.post("/v1/memories/search", json={"query": "x"})).status_code,
        (await client_of(app).get("/v1/memories")).status_code,
    ]

    assert statuses == [403, 403, 403, 403, 403, 401]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "content"),
        ({"content": ""}, 400, "content"),
        ({"content": "  \n "}, 422, "content"),
        ({"content": "x" * 65_537}, 422, "content"),
        ({"content": "nul \x00"}, 422, "content"),
        ({"content": "x", "kind": "rumour"}, 400, "kind"),
        ({"content": "x", "tags": ["ok", " "]}, 422, "tags.1"),
        ({"content": "x", "confidence": 1.5}, 400, "confidence"),
        ({"content": "x", "source": {"url": "ftp://e"}}, 422, "source.url"),
        ({"content": "x", "source": {"who": "me"}}, 400, "source.who"),
        ({"content": "x", "valid_until": "2001-01-01T00:00:00Z"}, 422, "valid_until"),
        ({"content": "x", "valid_until": "2999-01-01T00:00:00"}, 400, "valid_until"),
        ({"content": "x", "supersedes": "not-an-id"}, 400, "supersedes"),
    ],
)
async def test_a_bad_memory_gets_a_problem_that_names_the_field(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, field: str
) -> None:
    answer = await client.post("/v1/memories", json=body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"query": ""}, 400, "query"),
        ({"query": "  "}, 422, "query"),
        ({"query": "x\x00"}, 422, "query"),
        ({"query": "x", "limit": 0}, 400, "limit"),
        ({"query": "x", "limit": 101}, 400, "limit"),
        ({"query": "x", "kind": "rumour"}, 400, "kind"),
        ({"query": "x", "top_k": 3}, 400, "top_k"),
    ],
)
async def test_a_bad_question_gets_a_problem_that_names_the_field(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, field: str
) -> None:
    answer = await client.post("/v1/memories/search", json=body)

    assert answer.status_code == status, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("query", ["'; DROP TABLE memories; --", "a & b | !c:*", "()<->", "🙂", "x " * 2000, "\\'"])
async def test_a_question_is_words_never_syntax(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.post("/v1/memories/search", json={"query": query})

    assert answer.status_code == 200, answer.text
