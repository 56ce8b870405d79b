"""Both ways to the database see one tenant only, and say 'unavailable' when the server is gone."""

import select
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import AsyncConnection
from sqlalchemy import text
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.kernel.ids import new_id
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database, DatabaseUnavailable

TENANT_NOW = "SELECT current_setting('app.tenant_id', true)"


@pytest.fixture(scope="module")
def opened(settings: Settings, run: Run) -> Iterator[Database]:
    database = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(database.open())
    yield database
    run(database.close())


async def test_a_session_names_its_tenant_in_each_transaction(opened: Database) -> None:
    first, second = new_id(), new_id()

    async with opened.begin(first) as session:
        seen_first = (await session.execute(text(TENANT_NOW))).scalar_one()
    async with opened.begin(second) as session:
        seen_second = (await session.execute(text(TENANT_NOW))).scalar_one()

    assert (seen_first, seen_second) == (str(first), str(second))


async def test_a_transaction_leaves_no_tenant_behind_on_its_connection(opened: Database) -> None:
    tenant = new_id()

    async with opened.transaction(tenant) as connection:
        inside = await (await connection.execute(TENANT_NOW)).fetchone()
        backend = connection.info.backend_pid
    seen_after = set()
    for _ in range(4):
        async with opened.connection() as connection:
            if connection.info.backend_pid == backend:
                seen_after.add(await (await connection.execute(TENANT_NOW)).fetchone())

    assert inside == (str(tenant),)
    assert seen_after <= {("",), (None,)}


async def test_a_transaction_that_stalls_is_ended_by_the_server_and_others_go_on(opened: Database) -> None:
    shown = "SHOW idle_in_transaction_session_timeout"

    async with opened.begin(new_id()) as session:
        in_a_session = (await session.execute(text(shown))).scalar_one()
    async with opened.transaction(new_id()) as connection:
        in_a_transaction = await (await connection.execute(shown)).fetchone()
    async with opened.connection() as connection:
        outside = await (await connection.execute(shown)).fetchone()
    with pytest.raises(DatabaseUnavailable):
        async with opened.transaction(new_id()) as connection:
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
            await eventually(lambda: connection.closed or _is_over(connection))
            await connection.execute("SELECT 1")

    assert (in_a_session, in_a_transaction, outside) == ("10s", ("10s",), ("0",))


def _is_over(connection: AsyncConnection[Any]) -> bool:
    """Whether the server has said something since: it only does when it ends the session."""
    return bool(select.select([connection.fileno()], [], [], 0)[0])


async def test_a_failed_unit_of_work_leaves_nothing(opened: Database) -> None:
    tenant = new_id()
    insert = text(
        "INSERT INTO outbox (id, tenant_id, event_type, subscriber, payload) VALUES (:id, :tenant, 'E', 's', '{}')"
    )

    with pytest.raises(KeyError):
        async with opened.begin(tenant) as session:
            await session.execute(insert, {"id": new_id(), "tenant": tenant})
            raise KeyError("changed my mind")
    async with opened.begin(tenant) as session:
        rows = (await session.execute(text("SELECT count(*) FROM outbox"))).scalar_one()

    assert rows == 0


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    nowhere = Database("postgresql://cognitionos_app@127.0.0.1:1/none?connect_timeout=1", pool_size=2)
    await nowhere.open()

    with pytest.raises(DatabaseUnavailable):
        async with nowhere.begin(new_id()) as session:
            await session.execute(text("SELECT 1"))

    await nowhere.close()
