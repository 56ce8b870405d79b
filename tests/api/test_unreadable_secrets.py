"""Secrets sealed under another key than the process has: nothing is done in their place, and whoever asks is told."""

from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.conftest import Run, TestDatabase
from tests.edge import Caller
from tests.upstream import Upstream, running_upstream

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def own(run: Run) -> Iterator[Upstream]:
    context = running_upstream(api_key="own-key")
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def environment(openai_only: dict[str, str], own: Upstream) -> dict[str, str]:
    allowed = {"COGNITIONOS_PROVIDER_ALLOW": urlsplit(own.base_url).netloc, "COGNITIONOS_TOOL_ALLOW": "127.0.0.1:9"}
    return openai_only | allowed


def seal_otherwise(database: TestDatabase, caller: Caller, table: str) -> None:
    """As if what is sealed had been so under another secret key."""
    with psycopg.connect(database.admin_url) as admin:
        column = "sealed_key" if table == "model_providers" else "sealed"
        statement = f"UPDATE {table} SET {column} = decode(repeat('00', 64), 'hex') WHERE tenant_id = %s"
        assert admin.execute(statement.encode(), (caller.tenant_id,)).rowcount == 1


@pytest.mark.parametrize("way", ["whole", "streamed"])
async def test_a_provider_whose_key_cannot_be_read_keeps_its_name_and_the_operators_key_is_not_used(
    client: httpx.AsyncClient, caller: Caller, database: TestDatabase, upstream: Upstream, own: Upstream, way: str
) -> None:
    mine = {"base_url": own.base_url, "api_key": "own-key", "models": ["gpt-4o-mini"]}
    (await client.put("/v1/providers/openai", json=mine)).raise_for_status()
    seal_otherwise(database, caller, "model_providers")
    asked = {
        "model": "openai/gpt-4o-mini",
        "messages": [{"role": "user", "content": str(uuid4())}],
        "stream": way == "streamed",
    }

    answers = [await client.post(CHAT, json=asked | {"model": name}) for name in ("openai/gpt-4o-mini", "gpt-4o-mini")]
    default = await client.post(CHAT, json={**asked, "model": None})
    vectors = await client.post("/v1/embeddings", json={"model": "openai/text-embedding-3-small", "input": "x"})
    shown = (await client.get("/v1/providers/openai")).json()
    again = await client.put("/v1/providers/openai", json=mine)

    assert [each.status_code for each in (*answers, default, vectors)] == [503] * 4
    assert all("PUT /v1/providers/openai" in each.json()["error"]["message"] for each in (*answers, default, vectors))
    assert upstream.calls == []
    assert own.calls == []
    assert (shown["has_key"], shown["key_readable"], again.json()["key_readable"]) == (True, False, True)


async def test_a_tool_servers_secrets_that_cannot_be_read_are_named(
    client: httpx.AsyncClient, caller: Caller, database: TestDatabase
) -> None:
    server = {"name": "far", "transport": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"authorization": "s"}}
    (await client.post("/v1/tools/servers", json=server)).raise_for_status()
    seal_otherwise(database, caller, "tool_servers")

    told = await client.post("/v1/tools/servers/far/refresh")

    assert told.status_code == 503
    assert "the secrets of the server 'far'" in told.json()["detail"]
    assert "Set it again" in told.json()["detail"]
