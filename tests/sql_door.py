"""A database that a tenant could have configured: its own account that may only read, behind a port of the loopback."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from tests.servers import TestDatabase

PASSWORD = "reads-only"
_SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int PRIMARY KEY, customer text, total numeric(10, 2));
COMMENT ON TABLE shop.orders IS 'one row per order';
INSERT INTO shop.orders SELECT n, 'customer ' || n % 7, n * 1.5 FROM generate_series(1, 300) n;
CREATE TABLE shop.secrets (word text);
CREATE SEQUENCE shop.numbers;
CREATE FUNCTION shop.add_order() RETURNS int LANGUAGE sql AS
  $$ INSERT INTO shop.orders VALUES (9999, 'evil', 0) RETURNING id $$;
GRANT USAGE ON SCHEMA shop TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.orders TO {role};
GRANT USAGE ON SEQUENCE shop.numbers TO {role};
"""


@contextmanager
def a_shop(database: TestDatabase, role: str) -> Iterator[None]:
    """The schema `shop`, and an account that may read its orders (and, to see what is refused, write them)."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'".encode())
        connection.execute(_SHOP.format(role=role).encode())
        try:
            yield
        finally:
            connection.execute("DROP SCHEMA shop CASCADE")
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())


@asynccontextmanager
async def a_door(database: TestDatabase) -> AsyncIterator[int]:
    """A port of 127.0.0.1 that leads to the server, which may listen on a socket file only."""
    parts = urlsplit(database.admin_url)
    given = conninfo_to_dict(database.admin_url)
    directory = parse_qs(parts.query).get("host", [""])[0]

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if directory:
                there = await asyncio.open_unix_connection(f"{directory}/.s.PGSQL.{given.get('port', 5432)}")
            else:
                there = await asyncio.open_connection(str(given["host"]), int(given.get("port") or 5432))
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        except OSError:
            writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
