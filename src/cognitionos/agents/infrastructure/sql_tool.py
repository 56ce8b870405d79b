"""The `sql.NAME` tools: questions to a database that the tenant configured, which only reads.

Four fences, from the outside in. The account: one that may write files, run programs or bypass its policies is refused.
The transaction: READ ONLY, rolled back. The statement: put into a cursor, which takes a single query and no other
command. The text: no function that the catalogue calls volatile. Each call has a connection of its own, so that nothing
(a setting, a lock, a temporary table) is left for the next one; time, rows and bytes are limited by the server.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import AsyncConnection

from cognitionos.agents.application.ports import Tool, ToolAnswer, ToolContext
from cognitionos.agents.domain.tool import Access, ToolSpec
from cognitionos.agents.infrastructure.sql_address import DatabaseAddress
from cognitionos.agents.infrastructure.sql_guard import HARMLESS, QueryRefused, called_names, prepared
from cognitionos.agents.infrastructure.tool_store import DatabaseRow, ReadDatabase, ToolStore
from cognitionos.kernel.errors import Forbidden, NotFound, Unavailable
from cognitionos.kernel.json_text import reader
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.sealing import SealingKey, unseal

CONNECT_S = 10.0
ROW_CHARACTERS = 16_384
MOST_CHARACTERS = 64_000
_TABLES_SHOWN = 200

_BEGIN = """
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = {ms}; SET LOCAL lock_timeout = {ms};
SET LOCAL idle_in_transaction_session_timeout = {idle_ms}; SET LOCAL standard_conforming_strings = on
"""
_ACCOUNT = """
SELECT r.rolname, r.rolsuper, r.rolreplication, r.rolbypassrls, r.rolcreaterole, coalesce(
  (SELECT string_agg(p.rolname, ', ') FROM pg_roles p WHERE p.rolname IN
     ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_signal_backend',
      'pg_checkpoint')
     AND pg_has_role(r.oid, p.oid, 'MEMBER')), '')
FROM pg_roles r WHERE r.rolname = current_user
"""
_EFFECTFUL = """
SELECT DISTINCT proname::text FROM pg_proc
WHERE provolatile = 'v' AND proname = ANY(%s) AND proname <> ALL(%s) ORDER BY 1 LIMIT 5
"""
_CURSOR = (
    "DECLARE answer NO SCROLL CURSOR FOR SELECT left(row_to_json(cognitionos_row)::text, {most})"
    " FROM (\n{query}\n) AS cognitionos_row"
)
_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname), coalesce(obj_description(c.oid, 'pg_class'), ''),
  json_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' AND NOT c.relispartition
  AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
  AND (%(table)s::text IS NULL OR c.relname = %(table)s OR n.nspname || '.' || c.relname = %(table)s)
GROUP BY n.nspname, c.relname, c.oid ORDER BY n.nspname, c.relname LIMIT %(most)s
"""
QUERY = {
    "type": "object",
    "properties": {
        "sql": {"type": "string", "minLength": 1, "maxLength": 20_000, "description": "one SELECT, PostgreSQL"}
    },
    "required": ["sql"],
    "additionalProperties": False,
}
DESCRIBE = {
    "type": "object",
    "properties": {"table": {"type": "string", "maxLength": 200, "description": "one table; without it, all"}},
    "additionalProperties": False,
}


class SqlDatabaseNotFound(NotFound):
    """This tenant has no database of this name."""


class SqlDatabaseUnavailable(Unavailable):
    """The database does not let us in, or went away."""


class AccountTooPowerful(Forbidden):
    """The account may do more than read: make one for this that may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlDatabases:
    """Questions to the databases that tenants configured."""

    store: ToolStore
    sealing_key: SealingKey
    allowed: AllowedHosts

    def tools(self, read: ReadDatabase) -> list[Tool]:
        """The two tools of a database: `sql.NAME` and `sql_schema.NAME`, both under the rule of the first."""
        name = f"sql.{read.name}"

        async def query(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
            return await self.query(await self._row(context, read.name), arguments["sql"])

        async def describe(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
            return await self.describe(await self._row(context, read.name), arguments.get("table"))

        about = f" It holds: {read.description}" if read.description else ""
        asked = f"Ask the database '{read.name}' with one SELECT (PostgreSQL; it only reads).{about}"
        shown = f"Show the tables and columns of the database '{read.name}'."
        specs = (
            ToolSpec(name=name, description=asked, parameters=QUERY, access=Access.CLOSED),
            ToolSpec(
                name=f"sql_schema.{read.name}",
                description=shown,
                parameters=DESCRIBE,
                access=Access.CLOSED,
                ruled_as=name,
            ),
        )
        timeout_s = read.timeout_s + 2 * CONNECT_S
        return [
            Tool(spec=spec, run=run, timeout_s=timeout_s) for spec, run in zip(specs, (query, describe), strict=True)
        ]

    async def query(self, row: DatabaseRow, sql: str) -> ToolAnswer:
        """The rows of one query. Raises `QueryRefused`, `AccountTooPowerful`, `SqlDatabaseUnavailable`."""
        query = prepared(sql)
        async with self._opened(row) as connection:
            named = await connection.execute(_EFFECTFUL, (called_names(query), list(HARMLESS)))
            effectful = [each[0] for each in await named.fetchall()]
            if effectful:
                raise QueryRefused(f"Functions with effects are not called here: {', '.join(effectful)}.")
            cursor = _CURSOR.format(most=ROW_CHARACTERS + 1, query=query)
            # the binary format makes the driver use the extended protocol, which takes one statement only
            await connection.execute(cursor.encode(), binary=True)
            return _told(await _fetched(connection, row.max_rows), row.max_rows)

    async def describe(self, row: DatabaseRow, table: str | None) -> ToolAnswer:
        """The tables that the account may read, with their columns."""
        async with self._opened(row) as connection:
            values = {"table": table, "most": _TABLES_SHOWN}
            found = await (await connection.execute(_TABLES, values)).fetchall()
        tables = [
            {"table": name, "columns": columns, **({"about": about} if about else {})} for name, about, columns in found
        ]
        if not tables:
            return ToolAnswer(content={"error": "There is no such table, or none that may be read."}, is_error=True)
        return ToolAnswer(content={"tables": tables, "is_whole": len(tables) < _TABLES_SHOWN})

    async def check(self, address: DatabaseAddress, *, name: str, timeout_s: float) -> None:
        """Raise what a query would raise before it is run."""
        async with self._transaction(address, name=name, timeout_s=timeout_s):
            pass

    def _opened(self, row: DatabaseRow) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        address = DatabaseAddress.parse(opened_address(self.sealing_key, row))
        return self._transaction(address, name=row.name, timeout_s=row.timeout_s)

    async def _row(self, context: ToolContext, name: str) -> DatabaseRow:
        rows = await self.store.databases(context.tenant_id, name)
        if not rows:
            raise SqlDatabaseNotFound(f"There is no database '{name}' any more.")
        return rows[0]

    @asynccontextmanager
    async def _transaction(
        self, address: DatabaseAddress, *, name: str, timeout_s: float
    ) -> AsyncIterator[AsyncConnection[Any]]:
        options = address.connect_options(await address.tested(self.allowed))
        try:
            async with asyncio.timeout(timeout_s + CONNECT_S):
                connection = await AsyncConnection.connect(**options, autocommit=True, prepare_threshold=None)
                try:
                    ms = int(timeout_s * 1000)
                    await connection.execute(_BEGIN.format(ms=ms, idle_ms=ms + 5_000).encode())
                    await _require_a_modest_account(connection)
                    yield connection
                finally:
                    await connection.close()  # whatever was begun is rolled back
        except TimeoutError as error:
            raise QueryRefused(f"The query did not end within {timeout_s:g} s.") from error
        except psycopg.errors.QueryCanceled as error:
            raise QueryRefused(f"The query was stopped: {_in_short(error)}") from error
        except UnicodeDecodeError as error:
            raise QueryRefused("A text of the answer is not UTF-8.") from error
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate[:2] in {"08", "28", "3D", "53", "57"}:
                raise SqlDatabaseUnavailable(f"The database '{name}' refuses: {_in_short(error)}") from error
            raise QueryRefused(f"PostgreSQL says: {_in_short(error)}") from error


def sealed_about(row_name: str, tenant_id: Any) -> str:
    """What an address is bound to: elsewhere it does not open."""
    return f"tool-database:{tenant_id}:{row_name}"


def opened_address(key: SealingKey, row: DatabaseRow) -> str:
    """Its address, with the password. Raises `SecretUnreadable`."""
    return unseal(key, row.sealed, about=sealed_about(row.name, row.tenant_id), named=f"the database '{row.name}'")


async def _require_a_modest_account(connection: AsyncConnection[Any]) -> None:
    row = await (await connection.execute(_ACCOUNT)).fetchone()
    if row is None:
        raise AccountTooPowerful("The account cannot be looked up.")
    name, *powers, memberships = row
    words = ("SUPERUSER", "REPLICATION", "BYPASSRLS", "CREATEROLE")
    held = [word for word, holds in zip(words, powers, strict=True) if holds] + [memberships] * bool(memberships)
    if held:
        raise AccountTooPowerful(
            f"The account '{name}' has {', '.join(held)}. Give this tool an account of its own that may only SELECT."
        )


async def _fetched(connection: AsyncConnection[Any], most: int) -> list[str]:
    """Rows as JSON texts, one more than `most` where there are more, fewer where they are long."""
    rows, left = list[str](), MOST_CHARACTERS
    while len(rows) <= most and left > 0:
        count = min(most + 1 - len(rows), max(1, left // 2_000))
        page = await (await connection.execute(f"FETCH FORWARD {count} FROM answer".encode())).fetchall()
        rows += [each[0] for each in page]
        left -= sum(len(each[0]) for each in page)
        if len(page) < count:
            return rows
    return rows[: most + 1] if len(rows) > most else [*rows, ""]


def _told(texts: list[str], most: int) -> ToolAnswer:
    is_whole = len(texts) <= most and "" not in texts
    shown = [_row_of(each) for each in texts[:most] if each]
    return ToolAnswer(content={"rows": shown, "count": len(shown), "is_whole": is_whole})


def _row_of(text: str) -> Any:
    if len(text) > ROW_CHARACTERS:
        return {"cut": text[:ROW_CHARACTERS]}
    try:
        return _READ(text)
    except ValueError:  # a value of the row is nested too deeply
        return {"text": text}


def _with_all_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which two columns of one name both stay (`id`, `id_2`)."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        key, number = name, 2
        while key in made:
            key, number = f"{name}_{number}", number + 1
        made[key] = value
    return made


_READ = reader(object_pairs_hook=_with_all_names, parse_float=Decimal)


def _in_short(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    return f"{text}{hint}"[:1000]
