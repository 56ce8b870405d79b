"""What opened and closed, over HTTP: a tenant sees its own deployments and the installation's, and nobody else's."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.servers import TestDatabase
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

HISTORY = "/v1/circuits/history"


@pytest.fixture(scope="module")
def environment(openai_only: dict[str, str], upstream: Upstream) -> dict[str, str]:
    allowed = urlsplit(upstream.base_url).netloc
    return openai_only | {"COGNITIONOS_CIRCUIT_FAILURES": "1", "COGNITIONOS_PROVIDER_ALLOW": allowed}


@pytest.fixture
def tenants(url: str, settings: Settings, caller: Caller, run: Run) -> Iterator[list[httpx.AsyncClient]]:
    """A tenant with a provider of its own, and a stranger."""
    stranger: Caller = run(a_caller(settings, f"stranger-{uuid4()}"))
    made = [httpx.AsyncClient(base_url=url, headers=each.headers, timeout=30) for each in (caller, stranger)]
    yield made
    for each in made:
        run(each.aclose())


async def fails(client: httpx.AsyncClient, upstream: Upstream, model: str) -> None:
    upstream.then(Say(status=401))
    message = {"role": "user", "content": str(uuid4())}
    refused = await client.post("/v1/chat/completions", json={"model": model, "messages": [message]})
    assert refused.status_code == 503


async def shown(client: httpx.AsyncClient, **asked: Any) -> list[tuple[str, bool, str, str, int]]:
    found = (await client.get(HISTORY, params=asked)).raise_for_status().json()["items"]
    return [
        (each["deployment"], each["own"], each["state_before"], each["state_after"], each["failures"]) for each in found
    ]


async def test_a_tenant_reads_what_opened_of_its_own_and_of_the_installation_page_by_page(
    tenants: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    mine, stranger = tenants
    own, shared = f"acme/{uuid4()}", f"openai/{uuid4()}"
    provider = {"base_url": upstream.base_url, "api_key": upstream.api_key, "free": True, "models": []}
    (await mine.put("/v1/providers/acme", json=provider)).raise_for_status()

    for model in (own, shared):
        await fails(mine, upstream, model)
        assert await eventually(lambda model=model: shown(mine, deployment=model))
    first = (await mine.get(HISTORY, params={"limit": 1})).json()
    second = (await mine.get(HISTORY, params={"limit": 1, "cursor": first["next_cursor"]})).json()

    assert [first["items"][0]["deployment"], second["items"][0]["deployment"]] == [shared, own]
    assert await shown(mine, deployment=own) == [(own, True, "closed", "open", 1)]
    assert await shown(mine, deployment=shared) == [(shared, False, "closed", "open", 1)]
    assert await shown(stranger, deployment=shared) == [(shared, False, "closed", "open", 1)]
    assert await shown(stranger, deployment=own) == []
    assert own not in str(await shown(stranger, limit=200))


async def test_a_name_that_looks_like_another_tenants_finds_nothing_and_a_key_needs_the_scope(
    tenants: list[httpx.AsyncClient], caller: Caller, upstream: Upstream
) -> None:
    mine, stranger = tenants
    own = f"acme/{uuid4()}"
    provider = {"base_url": upstream.base_url, "api_key": upstream.api_key, "free": True, "models": []}
    (await mine.put("/v1/providers/acme", json=provider)).raise_for_status()
    await fails(mine, upstream, own)
    assert await eventually(lambda: shown(mine, deployment=own))
    key = (await mine.post("/v1/api-keys", json={"name": "narrow", "scopes": ["goals:read"]})).json()["key"]

    narrow = await mine.get(HISTORY, headers={"authorization": f"Bearer {key}"})
    odd = await mine.get(HISTORY, params={"cursor": "nonsense"})

    assert await shown(stranger, deployment=f"tenant:{caller.tenant_id}/{own}") == []
    assert (narrow.status_code, odd.status_code) == (403, 400)


def test_without_a_tenant_nothing_is_read_and_the_table_itself_is_closed(database: TestDatabase) -> None:
    with psycopg.connect(database.app_url, autocommit=True) as app:
        rows = app.execute("SELECT * FROM llm_circuit_changes(NULL, NULL, 100)").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("SELECT * FROM circuit_changes")

    assert rows == []
