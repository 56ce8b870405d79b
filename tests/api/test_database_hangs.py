"""PostgreSQL hangs: it takes what is sent and answers nothing. Requests get what they get where it is gone, in time."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import text
from tests.api_process import api_process
from tests.edge import Caller
from tests.frozen_database import OwnPostgres, own_postgres
from tests.servers import TestDatabase
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database, DatabaseUnavailable
from cognitionos.platform.database_silence import SilenceWatch

SILENCE_S = 2.0
LATEST_S = SILENCE_S + 6
"""Some 2 s beyond the limit where nothing else runs; far below what a hanging server would take."""
READS = ("/v1/me", "/v1/workflows", f"/v1/runs/{uuid4()}", "/v1/budgets", "/v1/usage", "/v1/agents") * 3
RENAME = "UPDATE projects SET name = 'cut'"
ASKED = {"model": "m", "max_tokens": 100}


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    with own_postgres() as made:
        yield made


@pytest.fixture(scope="module")
def database(postgres: OwnPostgres) -> TestDatabase:
    return postgres.database


@pytest.fixture(scope="module")
def url(settings: Settings, openai_only: dict[str, str]) -> Iterator[str]:
    with api_process(settings, openai_only | {"COGNITIONOS_DATABASE_SILENCE_S": str(SILENCE_S)}) as url:
        yield url


async def test_reads_writes_and_model_calls_get_503_in_their_format_and_all_works_again_once_it_goes_on(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, postgres: OwnPostgres
) -> None:
    price = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
    (await client.put("/v1/prices/m", json=price)).raise_for_status()
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "1"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    answer = asyncio.Event()
    upstream.then(Say(text="well said", gates={0: answer}), Say(text="well said", gates={0: answer}))
    under_way = [asyncio.create_task(chat(client, stream=stream)) for stream in (False, True)]
    await eventually(lambda: len(upstream.calls) == 2)

    with postgres.frozen():
        asked = (
            *(client.get(path) for path in READS),
            client.post("/v1/workflows", json={"name": "w", "tasks": {"a": {"kind": "value", "input": 1}}}),
            chat(client),
            client.post("/v1/messages", json=ASKED | {"messages": said()}),
            client.post("/v1/responses", json={"model": "m", "max_output_tokens": 100, "input": "hello"}),
        )
        first = await asyncio.gather(*(timed(each) for each in (*asked, client.get("/health/ready"))))
        answer.set()
        later = await asyncio.gather(*(timed(client.get(path)) for path in ("/health/ready", "/v1/me")))
        calls_meanwhile = len(upstream.calls)
    answers = await asyncio.gather(*under_way)
    await eventually(lambda: answered(client, "/health/ready"))
    await eventually(lambda: answered(client, "/v1/me"))

    assert [each.status_code for each, _ in (*first, *later)] == [503] * (len(first) + len(later))
    assert all("retry-after" in each.headers for each, _ in (*first, *later))
    assert max(took for _, took in first) < LATEST_S
    assert max(took for _, took in later) < SILENCE_S / 2  # it is known
    (model, messages, responses) = (each.json() for each, _ in first[len(READS) + 1 : -1])
    assert model["error"]["code"] == responses["error"]["code"]
    assert messages["type"] == "error"
    assert calls_meanwhile == 2
    assert [each.status_code for each in answers] == [200, 200]
    await eventually(lambda: held(postgres.database) == 0)
    assert [outcome for outcome in outcomes(postgres.database) if outcome != "error"] == ["ok", "ok"]
    again = await chat(client)
    assert again.status_code == 200
    (told,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert told["held_usd"] == "0"
    assert (await client.post("/v1/budgets/recount", json={})).json()["miscounts"] == []


async def test_a_transaction_that_was_cut_is_rolled_back_and_its_connection_thrown_away(
    settings: Settings, caller: Caller, postgres: OwnPostgres
) -> None:
    database = Database(settings.database_url.get_secret_value(), pool_size=2)  # one connection of each kind
    watch = SilenceWatch(database, within_s=SILENCE_S)
    await database.open()
    await watch.open()
    backends: list[int] = []
    for way in (in_a_transaction, in_a_session):
        with pytest.raises(DatabaseUnavailable):
            await way(database, caller.tenant_id, postgres, backends)
        await eventually(partial(speaks, database))
    async with database.transaction(caller.tenant_id) as connection:
        notes = await (await connection.execute("SELECT name FROM projects")).fetchall()
        backends.append(connection.info.backend_pid)
    await watch.close()
    await database.close()

    assert "cut" not in [name for (name,) in notes]
    assert len(set(backends)) == len(backends)


async def test_a_statement_that_takes_long_is_not_cut(settings: Settings) -> None:
    database = Database(settings.database_url.get_secret_value(), pool_size=2)
    watch = SilenceWatch(database, within_s=SILENCE_S)
    await database.open()
    await watch.open()
    async with database.connection() as connection:
        await connection.execute("SELECT pg_sleep(%s)", (1.5 * SILENCE_S,))
    await watch.close()
    await database.close()


async def in_a_transaction(database: Database, tenant: UUID, postgres: OwnPostgres, backends: list[int]) -> None:
    async with database.transaction(tenant) as connection:
        backends.append(connection.info.backend_pid)
        await connection.execute(RENAME)
        with postgres.frozen():
            await connection.execute("SELECT 1")


async def in_a_session(database: Database, tenant: UUID, postgres: OwnPostgres, backends: list[int]) -> None:
    async with database.begin(tenant) as session:
        backends.append((await session.execute(text("SELECT pg_backend_pid()"))).scalar_one())
        await session.execute(text(RENAME))
        with postgres.frozen():
            await session.execute(text("SELECT 1"))


def speaks(database: Database) -> bool:
    return not database.is_silent


async def chat(client: httpx.AsyncClient, **more: object) -> httpx.Response:
    return await client.post("/v1/chat/completions", json=ASKED | {"messages": said()} | more)


def said() -> list[dict[str, str]]:
    return [{"role": "user", "content": str(uuid4())}]


async def timed(asking: "asyncio.Future[httpx.Response] | object") -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return await asking, time.monotonic() - began  # type: ignore[misc]


async def answered(client: httpx.AsyncClient, path: str) -> bool:
    return (await client.get(path)).status_code == 200


def held(database: TestDatabase) -> int:
    with psycopg.connect(database.admin_url) as admin:
        return int(admin.execute("SELECT count(*)::int FROM budget_holds").fetchall()[0][0])


def outcomes(database: TestDatabase) -> list[str]:
    with psycopg.connect(database.admin_url) as admin:
        return [row[0] for row in admin.execute("SELECT outcome FROM calls ORDER BY 1").fetchall()]
