"""The SQL tool on a real database: what it answers, and what no query makes it do."""

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from tests.conftest import Run
from tests.servers import TestDatabase, database_name
from tests.sql_door import PASSWORD, a_door, a_shop

from cognitionos.agents.infrastructure.sql_guard import QueryRefused
from cognitionos.agents.infrastructure.sql_tool import AccountTooPowerful, SqlDatabases, sealed_about
from cognitionos.agents.infrastructure.tool_store import DatabaseRow, ToolStore
from cognitionos.kernel.errors import DomainError
from cognitionos.kernel.ids import new_id
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database
from cognitionos.platform.http_address import AllowedHosts, DestinationRefused
from cognitionos.platform.sealing import SealingKey, seal

KEY = SealingKey(b"k" * 32)
ROLE = f"reader_{uuid4().hex[:8]}"


class Shop:
    """The tool on the shop's database."""

    def __init__(self, database: TestDatabase, settings: Settings, port: int) -> None:
        self.database, self.port = database, port
        store = ToolStore(Database(settings.database_url.get_secret_value(), pool_size=2))
        allowed = AllowedHosts.parse([f"127.0.0.1:{port}"])
        self.sql = SqlDatabases(store=store, sealing_key=KEY, allowed=allowed)
        self.tenant_id = new_id()

    def row(self, **changes: Any) -> DatabaseRow:
        url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{self.port}/{database_name(self.database)}"
        sealed = seal(KEY, changes.pop("url", url), about=sealed_about("shop", self.tenant_id))
        given: dict[str, Any] = {
            "tenant_id": self.tenant_id,
            "name": "shop",
            "description": "",
            "host": "",
            "database": "",
            "account": "",
            "sealed": sealed,
            "timeout_s": 2.0,
            "max_rows": 100,
            "changed_at": datetime.now(UTC),
        }
        return DatabaseRow(**{**given, **changes})

    async def ask(self, sql: str, **changes: Any) -> Any:
        return (await self.sql.query(self.row(**changes), sql)).content

    def state(self) -> Any:
        """Everything that an attack could have changed."""
        with psycopg.connect(self.database.admin_url) as connection:
            return connection.execute(
                "SELECT (SELECT json_agg(o ORDER BY id)::text FROM shop.orders o),"
                " (SELECT last_value FROM shop.numbers),"
                " (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_largeobject_metadata),"
                " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
            ).fetchone()


@pytest.fixture(scope="module")
def shop(database: TestDatabase, settings: Settings, run: Run) -> Iterator[Shop]:
    stack = AsyncExitStack()
    stack.enter_context(a_shop(database, ROLE))
    yield Shop(database, settings, run(stack.enter_async_context(a_door(database))))
    run(stack.aclose())


async def test_a_question_gets_rows_with_exact_numbers(shop: Shop) -> None:
    answer = await shop.ask("SELECT id, total FROM shop.orders ORDER BY id LIMIT 2;  ")

    assert answer["rows"] == [{"id": 1, "total": pytest.approx(1.5)}, {"id": 2, "total": pytest.approx(3)}]
    assert str(answer["rows"][0]["total"]) == "1.50"
    assert answer["is_whole"]


async def test_two_columns_of_one_name_both_stay(shop: Shop) -> None:
    answer = await shop.ask("SELECT a.id, b.id FROM shop.orders a JOIN shop.orders b ON b.id = a.id + 1 WHERE a.id = 1")

    assert answer["rows"] == [{"id": 1, "id_2": 2}]


async def test_rows_are_limited_and_the_answer_says_so(shop: Shop) -> None:
    answer = await shop.ask("SELECT id FROM shop.orders", max_rows=10)

    assert (answer["count"], answer["is_whole"]) == (10, False)


async def test_a_long_value_is_cut_by_the_server(shop: Shop) -> None:
    answer = await shop.ask("SELECT repeat('x', 10000000) AS x")

    assert len(answer["rows"][0]["cut"]) == 16_384


async def test_many_long_rows_end_early(shop: Shop) -> None:
    answer = await shop.ask("SELECT repeat('x', 10000) AS x FROM generate_series(1, 1000)", max_rows=1000)

    assert answer["count"] < 60
    assert not answer["is_whole"]


async def test_the_tables_that_may_be_read_are_shown_and_no_others(shop: Shop) -> None:
    shown = (await shop.sql.describe(shop.row(), None)).content

    tables = {each["table"]: each for each in shown["tables"] if each["table"].startswith("shop.")}
    assert list(tables) == ["shop.orders"]
    assert tables["shop.orders"]["columns"] == ["id integer", "customer text", "total numeric(10,2)"]
    assert tables["shop.orders"]["about"] == "one row per order"
    assert (await shop.sql.describe(shop.row(), "orders")).content["tables"] == [tables["shop.orders"]]


ATTACKS = (
    "INSERT INTO shop.orders VALUES (1000, 'x', 1)",
    "UPDATE shop.orders SET total = 0",
    "DELETE FROM shop.orders",
    "TRUNCATE shop.orders",
    "DROP TABLE shop.orders",
    "WITH gone AS (DELETE FROM shop.orders RETURNING *) SELECT * FROM gone",
    "WITH new AS (INSERT INTO shop.orders VALUES (1000, 'x', 1) RETURNING *) SELECT * FROM new",
    "SELECT * FROM shop.orders FOR UPDATE",
    "SELECT 1; DELETE FROM shop.orders",
    "SELECT 1) AS x; DELETE FROM shop.orders; SELECT (1",
    "SELECT 1; COMMIT; DELETE FROM shop.orders",
    "SELECT 1\n) AS a; DELETE FROM shop.orders --",
    "SET TRANSACTION READ WRITE",
    "SET default_transaction_read_only = off",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT pg_catalog . set_config ('transaction_read_only', 'off', false)",
    "SELECT \"set_config\"('transaction_read_only', 'off', false)",
    "SELECT SeT_CoNfIg -- a comment\n('transaction_read_only', 'off', false)",
    "SELECT set_config --\r('transaction_read_only', 'off', false)",
    "SELECT set_config/**/('transaction_read_only', 'off', false)",
    "SELECT U&\"set\\005fconfig\"('transaction_read_only', 'off', false)",
    "ROLLBACK",
    "BEGIN",
    "COPY shop.orders TO PROGRAM 'touch /tmp/never'",
    "COPY (SELECT 1) TO '/tmp/never'",
    "COPY shop.orders FROM '/etc/passwd'",
    "SELECT INTO shop.copied FROM shop.orders",
    "SELECT * INTO TEMP copied FROM shop.orders",
    "CREATE TEMP TABLE t (a int)",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DO $$ BEGIN DELETE FROM shop.orders; END $$",
    "CALL something()",
    "EXPLAIN ANALYZE DELETE FROM shop.orders",
    "PREPARE p AS SELECT 1",
    "LISTEN x",
    "NOTIFY x",
    "LOCK TABLE shop.orders",
    "VACUUM",
    "SELECT pg_notify('x', 'y')",
    "SELECT shop.add_order()",
    "SELECT nextval('shop.numbers')",
    "SELECT setval('shop.numbers', 77)",
    "SELECT pg_sleep(30)",
    "SELECT pg_sleep_for('30 s')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_create(0)",
    "SELECT lo_export(1, '/tmp/never')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity",
    "SELECT pg_reload_conf()",
    "SELECT dblink('host=127.0.0.1', 'DELETE FROM shop.orders')",
    "SELECT dblink_exec('host=127.0.0.1', 'DELETE FROM shop.orders')",
    "SELECT query_to_xml('DELETE FROM shop.orders', true, true, '')",
    "SELECT * FROM shop.secrets",
    "SELECT * FROM pg_authid",
    "SHOW ALL",
    "",
    ";",
    "-- nothing",
    "SELECT 1\x00",
    "SELECT " + "1," * 20_000 + "1",
)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_no_query_changes_anything_or_reads_what_it_may_not(shop: Shop, attack: str) -> None:
    before, started = shop.state(), time.monotonic()

    with pytest.raises(DomainError):
        await shop.ask(attack)

    assert shop.state() == before
    assert time.monotonic() - started < 5


async def test_a_query_that_takes_too_long_is_stopped_by_the_server(shop: Shop) -> None:
    started = time.monotonic()

    with pytest.raises(QueryRefused, match="statement timeout"):
        await shop.ask("SELECT count(*) FROM generate_series(1, 10000000000)", timeout_s=0.3)

    assert time.monotonic() - started < 3


async def test_an_account_that_may_do_more_than_read_is_refused(shop: Shop) -> None:
    parts = urlsplit(shop.database.admin_url)
    url = f"postgresql://{parts.username or 'postgres'}:x@127.0.0.1:{shop.port}/{database_name(shop.database)}"

    with pytest.raises(AccountTooPowerful, match="SUPERUSER"):
        await shop.ask("SELECT 1", url=url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a:b@127.0.0.1:1/db",
        "postgresql://a:b@localhost/db",
        "postgresql://a:b@169.254.169.254/db",
        "postgresql://a:b@[::1]/db",
        "postgresql://a:b@%2Fvar%2Frun%2Fpostgresql/db",
        "postgresql://a:b@/db?host=/var/run/postgresql",
        "postgresql://a:b@8.8.8.8/db?hostaddr=127.0.0.1",
        "postgresql://a:b@8.8.8.8/db?service=x",
        "postgresql://a:b@8.8.8.8/db?options=-c%20x%3Dy",
        "postgresql://a:b@8.8.8.8,127.0.0.1/db",
        "postgresql://8.8.8.8/db",
        "host=127.0.0.1 dbname=db user=a",
        "mysql://a:b@8.8.8.8/db",
    ],
)
async def test_an_address_inside_or_with_options_is_refused(shop: Shop, url: str) -> None:
    with pytest.raises(DomainError) as refused:
        await shop.ask("SELECT 1", url=url)

    assert refused.type.__name__ in {"DestinationRefused", "BadDatabaseUrl"}


async def test_what_the_operator_did_not_name_is_not_connected_to(shop: Shop, settings: Settings) -> None:
    nobody = SqlDatabases(store=shop.sql.store, sealing_key=KEY, allowed=AllowedHosts.parse([]))

    with pytest.raises(DestinationRefused):
        await nobody.query(shop.row(), "SELECT 1")
