"""Statements past psycopg's cursor: values, errors, and that nothing that happens to a connection confuses them."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from tests.conftest import Run

from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database, DatabaseUnavailable
from cognitionos.platform.database_calls import Statement

ECHO = Statement(
    "test_echo", "SELECT n, value, NULL FROM jsonb_array_elements_text($1::jsonb) WITH ORDINALITY e(value, n)"
)


@pytest.fixture(scope="module")
def opened(settings: Settings, run: Run) -> Iterator[Database]:
    database = Database(settings.database_url.get_secret_value(), pool_size=2)  # one connection of each kind
    run(database.open())
    yield database
    run(database.close())


async def test_each_row_is_a_list_of_texts(opened: Database) -> None:
    async with opened.connection() as connection:
        assert await ECHO.rows(connection, b'["a", "\xc3\xa4"]') == [[b"1", b"a", None], [b"2", "ä".encode(), None]]
        assert await ECHO.rows(connection, b"[]") == []


async def test_what_is_more_than_a_socket_takes_at_once_arrives(opened: Database) -> None:
    words = b"x" * 20_000_000

    async with opened.connection() as connection:
        assert await ECHO.rows(connection, b'["%b"]' % words) == [[b"1", words, None]]


async def test_an_error_is_psycopgs_and_the_connection_is_as_good_as_before(opened: Database) -> None:
    async with opened.connection() as connection:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await ECHO.rows(connection, b"not JSON")
        assert await ECHO.rows(connection, b'["a"]') == [[b"1", b"a", None]]


async def test_a_statement_that_does_not_exist_is_an_error_each_time(opened: Database) -> None:
    wrong = Statement("test_wrong", "SELECT no_such_function($1::jsonb)")

    async with opened.connection() as connection:
        for _ in range(2):
            with pytest.raises(psycopg.errors.UndefinedFunction):
                await wrong.rows(connection, b"[]")


async def test_a_connection_that_forgot_what_was_prepared_is_told_again(opened: Database) -> None:
    async with opened.connection() as connection:
        await ECHO.rows(connection, b"[]")
        await connection.execute("DEALLOCATE ALL")

        assert await ECHO.rows(connection, b'["a"]') == [[b"1", b"a", None]]


async def test_a_call_that_is_left_does_not_leave_its_answer_to_the_next(opened: Database) -> None:
    slow = Statement("test_slow", "SELECT pg_sleep(($1::jsonb ->> 0)::float)")

    async with opened.connection() as connection:
        await slow.rows(connection, b"[0]")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), opened.connection() as connection:
            await slow.rows(connection, b"[60]")

    async with opened.connection() as connection:
        assert await ECHO.rows(connection, b'["a"]') == [[b"1", b"a", None]]


async def test_a_server_that_hangs_up_is_unavailable(opened: Database) -> None:
    leaving = Statement("test_leaving", "SELECT pg_terminate_backend(pg_backend_pid()), $1::jsonb")

    with pytest.raises(DatabaseUnavailable):
        async with opened.connection() as connection:
            await leaving.rows(connection, b"[]")

    async with opened.connection() as connection:
        assert await ECHO.rows(connection, b'["a"]') == [[b"1", b"a", None]]
