"""Tenant B sees nothing of tenant A over HTTP. Routes and ids are read from the running application and database."""

import base64
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from psycopg import sql
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, running_app
from tests.servers import TestDatabase

from cognitionos.platform.config import Settings
from cognitionos.platform.http_api import PUBLIC, Requires

PUBLIC_ROUTES = {
    "/docs",
    "/docs/openapi.json",
    "/docs/{path:str}",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/v1/approval-links/{token:str}",
    "/openapi.json",
    "/problems/{slug:str}",
}
# What tenant A makes, so that there is something to find; the marker is looked for in everything B is shown.
MARKER = "belongs-to-a"
MADE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/projects", {"name": MARKER}),
    ("/v1/api-keys", {"name": MARKER, "scopes": ["goals:read"]}),
    ("/v1/workflows", {"name": MARKER, "tasks": {"t": {"kind": "value", "input": MARKER}}}),
    ("/v1/runs", {"workflow": MARKER, "input": MARKER}),
    ("/v1/webhooks", {"url": f"https://8.8.8.8/{MARKER}", "events": ["run.failed"]}),
    ("/v1/memories", {"content": f"{MARKER}: the supplier is Acme"}),
    (
        "/v1/goals",
        {
            "statement": f"{MARKER}: say hello",
            "budget_usd": "0.10",
            "inputs": [
                {
                    "name": f"{MARKER}.csv",
                    "media_type": "text/csv",
                    "content_base64": base64.b64encode(b"a,b\n1,2\n").decode(),
                }
            ],
        },
    ),
)
SEARCHES = {"/v1/conversations/search"}
NOT_FOR_IDS = {"/v1/models/{model}", "/v1/prices/{model}"}  # named by models, which are the installation's


@pytest.fixture(scope="module")
def app(settings: Settings, run: Run) -> Iterator[Litestar]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(running_app(settings.model_copy(update={"rate_limit_per_minute": 1_000_000}))))
    run(stack.aclose())


@pytest.fixture(scope="module")
def owner(app: Litestar, settings: Settings, run: Run) -> Caller:
    return run(_owner(app, settings))


@pytest.fixture(scope="module")
def stranger(app: Litestar, settings: Settings, run: Run) -> httpx.AsyncClient:
    return client_of(app, run(a_caller(settings, "stranger")))


@pytest.fixture(scope="module")
def ids(database: TestDatabase, owner: Caller) -> set[str]:
    return _ids_of(database, owner)


def handlers(app: Litestar) -> list[tuple[str, HTTPRouteHandler]]:
    found = [(route.path, handler) for route in app.routes for handler in getattr(route, "route_handlers", [])]
    return [(path, handler) for path, handler in found if handler.http_methods != {"OPTIONS"}]


def test_every_route_names_its_permission_or_is_known_to_be_public(app: Litestar) -> None:
    public = {path for path, handler in handlers(app) if handler.opt.get(PUBLIC)}
    unguarded = [
        path
        for path, handler in handlers(app)
        if path not in public and not any(isinstance(guard, Requires) for guard in _guards(handler))
    ]

    assert unguarded == []
    assert public == PUBLIC_ROUTES


async def test_no_list_shows_another_tenant_s_things(
    app: Litestar, owner: Caller, stranger: httpx.AsyncClient, ids: set[str]
) -> None:
    mine = client_of(app, owner)
    shown_to_owner = ""
    for path in _paths(app, "get"):
        if "{" in path or path in PUBLIC_ROUTES:
            continue
        asked = {"q": MARKER} if path in SEARCHES else None
        shown_to_owner += (await mine.get(path, params=asked)).text
        theirs = await stranger.get(path, params=asked)
        assert theirs.status_code == 200, (path, theirs.text)
        assert MARKER not in theirs.text, path
        assert not [each for each in ids if each in theirs.text], path

    assert MARKER in shown_to_owner


async def test_no_id_of_another_tenant_opens_anything(
    app: Litestar, stranger: httpx.AsyncClient, ids: set[str]
) -> None:
    tried = 0
    for method in ("get", "delete"):
        for path in _paths(app, method):
            if "{" not in path or path in NOT_FOR_IDS:
                continue
            for each in ids:
                answer = await stranger.request(method, _filled(path, each))
                assert answer.status_code == 404, (method, path, answer.text)
                tried += 1

    assert tried >= len(ids)


async def test_no_action_reaches_another_tenant_s_things(
    app: Litestar, database: TestDatabase, stranger: httpx.AsyncClient, ids: set[str]
) -> None:
    before = _everything(database)
    for method in ("post", "put", "patch"):
        for path in _paths(app, method):
            if "{" not in path or path in NOT_FOR_IDS:
                continue
            for each in ids:
                answer = await stranger.request(method, _filled(path, each), json={})
                assert answer.status_code in {400, 404, 422}, (method, path, answer.text)

    assert _everything(database) == before


async def test_another_tenant_s_project_cannot_be_given_a_key(stranger: httpx.AsyncClient, owner: Caller) -> None:
    answer = await stranger.post(
        "/v1/api-keys", json={"name": "x", "scopes": ["goals:read"], "project_id": str(owner.project_id)}
    )

    assert answer.status_code == 404


async def _owner(app: Litestar, settings: Settings) -> Caller:
    caller = await a_caller(settings, "owner")
    async with client_of(app, caller) as client:
        for path, body in MADE:
            if path in _paths(app, "post"):
                answer = await client.post(path, json=body)
                assert answer.status_code in {201, 202}, answer.text
    return caller


def _guards(handler: HTTPRouteHandler) -> list[Any]:
    return [getattr(guard, "func", guard) for guard in handler.resolve_guards()]


def _paths(app: Litestar, method: str) -> list[str]:
    paths = app.openapi_schema.to_schema()["paths"]
    return sorted(path for path, item in paths.items() if method in item)


def _filled(path: str, value: str) -> str:
    return "/".join(value if part.startswith("{") else part for part in path.split("/"))


def _ids_of(database: TestDatabase, caller: Caller) -> set[str]:
    """Every uuid in a row of the caller's, but the ids of the tenant itself."""
    found: set[str] = set()
    with psycopg.connect(database.admin_url) as connection:
        columns = connection.execute(
            "SELECT c.table_name, c.column_name FROM information_schema.columns c"
            " JOIN information_schema.columns t ON t.table_name = c.table_name AND t.column_name = 'tenant_id'"
            " WHERE c.table_schema = 'public' AND c.data_type = 'uuid' AND c.column_name <> 'tenant_id'"
        ).fetchall()
        for table, column in columns:
            statement = sql.SQL("SELECT DISTINCT {} FROM {} WHERE tenant_id = %s").format(
                sql.Identifier(column), sql.Identifier(table)
            )
            found |= {str(row[0]) for row in connection.execute(statement, (caller.tenant_id,)) if row[0]}
    return found


def _everything(database: TestDatabase) -> dict[str, list[str]]:
    """Every row of every table, as text, but what only says that a key was used."""
    with psycopg.connect(database.admin_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        connection.execute("UPDATE api_keys SET last_used_at = NULL")
        return {
            table: sorted(
                str(row) for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            )
            for (table,) in tables
            if table != "llm_processes"
        }
