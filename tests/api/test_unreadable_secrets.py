"""Secrets sealed under another key than the process has: nothing is done in their place, and whoever asks is told."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from tests.conftest import Run, TestDatabase
from tests.edge import Caller, a_caller, client_of, running_app
from tests.stacks import clean_environment, command
from tests.upstream import Upstream, running_upstream

from cognitionos.composition.sealed_secrets import examine_secrets
from cognitionos.platform.config import Settings

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


async def test_doctor_counts_what_the_present_key_does_not_open(
    client: httpx.AsyncClient, settings: Settings, own: Upstream
) -> None:
    mine = {"base_url": own.base_url, "api_key": "own-key", "models": ["m"]}
    server = {"name": "near", "transport": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"authorization": "s"}}
    (await client.put("/v1/providers/mine", json=mine)).raise_for_status()
    (await client.post("/v1/tools/servers", json=server)).raise_for_status()
    (
        await client.post("/v1/webhooks", json={"url": "https://example.com/", "events": ["run.failed"]})
    ).raise_for_status()
    other = settings.model_copy(update={"secret_key": SecretStr("another key")})
    both = other.model_copy(update={"secret_key_before": settings.secret_key})
    no_owner = settings.model_copy(update={"migration_database_url": None})

    before, rotating, blind = [await asyncio.to_thread(examine_secrets, each) for each in (settings, both, no_owner)]
    after = await asyncio.to_thread(doctors_word, other)

    for each in (before, rotating):
        assert "secrets of webhooks" not in each.detail  # what others of these tests left does not open
    assert (after["ok"], after["required"]) == (False, False)
    for kind in ("keys of providers", "secrets of tool servers", "1 of 1 secrets of webhooks"):
        assert kind in after["detail"]
    assert "COGNITIONOS_SECRET_KEY_BEFORE" in after["remedy"]
    assert (blind.ok, blind.required) == (False, False)
    assert "MIGRATION_DATABASE_URL" in blind.remedy


async def test_the_secret_key_is_rotated_while_the_one_before_is_accepted(
    client: httpx.AsyncClient, caller: Caller, settings: Settings, own: Upstream
) -> None:
    mine = {"base_url": own.base_url, "api_key": "own-key", "models": ["m"], "free": True}
    for name in ("set-again", "left-alone"):
        (await client.put(f"/v1/providers/{name}", json=mine)).raise_for_status()
    idle = await a_caller(settings, f"tenant-{uuid4()}")
    allowed = {"provider_allow": (urlsplit(own.base_url).netloc,)}
    new = settings.model_copy(update=allowed | {"secret_key": SecretStr("the new key")})
    both = new.model_copy(update={"secret_key_before": settings.secret_key})

    async def answer(provider: str) -> int:
        asked = {"model": f"{provider}/m", "messages": [{"role": "user", "content": str(uuid4())}]}
        return (await each.post(CHAT, json=asked)).status_code

    async with running_app(both) as app, client_of(app, caller) as each:
        (await each.put("/v1/providers/set-again", json=mine)).raise_for_status()
        rotating = [await answer("set-again"), await answer("left-alone")]
    async with running_app(new) as app, client_of(app, caller) as each:
        rotated = [await answer("set-again"), await answer("left-alone")]
        unused = (await each.get("/v1/models", headers=idle.headers)).status_code

    assert (rotating, rotated, unused) == ([200, 200], [200, 503], 401)


def doctors_word(settings: Settings) -> dict[str, Any]:
    """What the command line says of sealed secrets."""
    owner = settings.migration_database_url
    assert owner is not None
    environment = clean_environment(
        DATABASE_URL=settings.database_url.get_secret_value(),
        MIGRATION_DATABASE_URL=owner.get_secret_value(),
        REDIS_URL=settings.redis_url.get_secret_value(),
        COGNITIONOS_SECRET_KEY=settings.secret_key.get_secret_value(),
    )
    done = subprocess.run(
        command("doctor", "--json"), env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    word: dict[str, Any] = found["sealed secrets"]
    return word
