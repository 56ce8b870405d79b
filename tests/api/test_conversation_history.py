"""History by user over HTTP: listed, searched, exported, deleted; and nothing of it is another tenant's."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
import redis
from psycopg import sql
from tests.api.agent_stage import WRITES_A_NOTE, Rules, a_stage
from tests.conftest import Run
from tests.edge import a_caller
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CANARY = "xylophonist of Zanzibar"
RULES: Rules = [
    {
        "contains": [CANARY],
        "tool_results": 0,
        "call": [{"name": "remember", "arguments": {"content": f"Somebody is the {CANARY}."}}],
    },
    {"contains": [CANARY], "say": f"So you are the {CANARY}."},
    *WRITES_A_NOTE,
    {"contains": ["Straße"], "say": "The Königsallee, in the rain."},
    {"contains": ["I am"], "say": "Good to know you."},
]


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


async def said(client: httpx.AsyncClient, user: str | None, *messages: str) -> str:
    body = {"title": "Talk", **({"user": user} if user else {})}
    made = await client.post("/v1/conversations", json=body)
    assert (made.status_code, made.json()["user"]) == (201, user), made.text
    href = f"/v1/conversations/{made.json()['id']}"
    for message in messages:
        answer = await client.post(f"{href}/messages", json={"content": message})
        assert answer.status_code == 200, answer.text
    return href


async def found(client: httpx.AsyncClient, words: str, **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/v1/conversations/search", params={"q": words, **query})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def ids(client: httpx.AsyncClient, query: str) -> list[str]:
    return [
        f"/v1/conversations/{each['id']}" for each in (await client.get(f"/v1/conversations?{query}")).json()["items"]
    ]


async def test_a_users_conversations_are_listed_apart(client: httpx.AsyncClient) -> None:
    adas = [await said(client, "ada", "I am Ada."), await said(client, "ada")]
    bobs = await said(client, "bob", "I am Bob.")

    assert await ids(client, "user=ada") == adas[::-1]
    assert await ids(client, "user=ada&limit=1") == adas[1:]
    assert await ids(client, "user=bob") == [bobs]
    assert {*adas, bobs} <= {*await ids(client, "limit=200")}


async def test_words_are_found_in_messages_and_answers(client: httpx.AsyncClient) -> None:
    href = await said(client, "eve", "Welche Straße ist schön?", "I am Eve, and who are you?")
    other = await said(client, "mallory", "Welche Straße ist schön?")

    [by_message] = await found(client, "schön straße", user="eve")
    by_answer = await found(client, '"königsallee in"')
    without = await found(client, "straße -schön")
    nothing = await found(client, "...")

    assert (f"/v1/conversations/{by_message['conversation_id']}", by_message["number"]) == (href, 1)
    assert (by_message["user"], by_message["title"], by_message["agent"]) == ("eve", "Talk", "executor")
    assert "Straße" in by_message["excerpt"]
    assert {each["href"] for each in by_answer} == {f"{other}/messages", f"{href}/messages"}
    assert without == nothing == []


async def test_words_of_another_tenant_are_not_found(client: httpx.AsyncClient, settings: Settings) -> None:
    await said(client, "trent", "I am Trent of Tasmania.")
    stranger = await a_caller(settings, "strangers-history")

    mine = await found(client, "tasmania")
    theirs = await client.get("/v1/conversations/search?q=tasmania", headers=stranger.headers)
    exported = await client.get("/v1/conversations.jsonl", headers=stranger.headers)
    deleted = await client.delete("/v1/conversations?user=trent", headers=stranger.headers)

    assert len(mine) == 1
    assert (theirs.json()["items"], exported.text, deleted.json()) == ([], "", {"deleted": 0})


async def test_a_users_history_is_exported_whole(client: httpx.AsyncClient) -> None:
    href = await said(client, "grace", "I am Grace.", "Write it down, please.")
    await said(client, "grace")

    answer = await client.get("/v1/conversations.jsonl?user=grace")

    assert answer.headers["content-type"].startswith("application/jsonl")
    empty, talk = [json.loads(line) for line in answer.text.splitlines()]
    assert (empty["turns"], empty["messages"]) == (0, [])
    assert (f"/v1/conversations/{talk['id']}", talk["user"]) == (href, "grace")
    assert [each["answer"] for each in talk["messages"]] == ["Good to know you.", "It is in note.md."]
    assert talk["messages"] == (await client.get(f"{href}/messages")).json()["items"]


async def test_a_users_history_is_deleted_with_journals_and_files(client: httpx.AsyncClient) -> None:
    name = "zoë & söhne"
    hrefs = [await said(client, name, "Write it down, please."), await said(client, name)]
    kept = await said(client, "yvonne", "I am Yvonne.")

    nobody = await client.delete("/v1/conversations")
    gone = await client.delete(f"/v1/conversations?user={quote(name)}")
    again = await client.delete(f"/v1/conversations?user={quote(name)}")

    assert (nobody.status_code, gone.json(), again.json()) == (400, {"deleted": 2}, {"deleted": 0})
    for href in hrefs:
        assert [(await client.get(f"{href}{rest}")).status_code for rest in ("", "/messages", "/steps")] == [404] * 3
    assert await found(client, "note.md", user=name) == []
    assert (await client.get(kept)).status_code == 200


def tables_with(words: str, database: TestDatabase) -> set[str]:
    """The tables that hold the words anywhere, as text or as bytes."""
    seen = set()
    with psycopg.connect(database.admin_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = sql.SQL("SELECT FROM {table} AS t WHERE t::text ~* %s OR t::text ~* %s LIMIT 1")
            asked = rows.format(table=sql.Identifier(table))
            if connection.execute(asked, (words, words.encode().hex())).fetchone() is not None:
                seen.add(table)
    return seen


async def test_what_was_said_in_a_deleted_conversation_is_kept_nowhere(
    client: httpx.AsyncClient, database: TestDatabase, redis_url: str
) -> None:
    key = {"idempotency-key": "one"}
    made = await client.post("/v1/conversations", json={"user": "ed", "title": f"The {CANARY}"}, headers=key)
    href = f"/v1/conversations/{made.json()['id']}"
    said = await client.post(f"{href}/messages", json={"content": f"I am the {CANARY}."}, headers=key)
    assert CANARY in said.json()["answer"]
    keeping = {"agent_steps", "cached_answers", "conversation_turns", "idempotency_keys", "memories"}
    await eventually(lambda: tables_with(CANARY, database) >= keeping)

    deleted = await client.delete(href)

    assert deleted.status_code == 204
    assert tables_with(CANARY, database) == set()
    again = await client.post("/v1/conversations", json={"user": "ed", "title": f"The {CANARY}"}, headers=key)
    assert again.json()["id"] != made.json()["id"]
    answer = await client.post(
        f"/v1/conversations/{again.json()['id']}/messages", json={"content": f"I am the {CANARY}."}
    )
    assert answer.json()["cost_usd"] != "0"
    with redis.Redis.from_url(redis_url) as known:
        for name in known.scan_iter():
            kind = known.type(name)
            assert kind != b"string" or CANARY.encode() not in (known.get(name) or b"") or 0 < known.ttl(name) <= 300
