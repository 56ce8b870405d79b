"""A function of PostgreSQL called with one text, without psycopg's cursor: half of the CPU of what `execute` takes.

For the few calls that every call to a model makes (`docs/performance.md`). The connection is one of psycopg's, in
autocommit and lent to nobody else meanwhile; what the server says goes through libpq, which psycopg has loaded.
"""

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from cognitionos.platform.database import Row

Values = Sequence[bytes | None]
"""A row, each value as the text that PostgreSQL writes for it."""
_UNKNOWN = b"26000"
"""The state that says that no statement of this name was prepared."""


class Statement:
    """A statement with the one parameter `$1`; each connection prepares it once, under `name`."""

    __slots__ = ("_prepared", "name", "sql")

    def __init__(self, name: str, sql: str) -> None:
        self.name = name.encode()
        self.sql = sql.encode()
        self._prepared: WeakKeyDictionary[AsyncConnection[Row], None] = WeakKeyDictionary()

    async def rows(self, connection: AsyncConnection[Row], argument: bytes) -> list[Values]:
        """What it gives for `argument`. Raises `psycopg.Error`. Left meanwhile, the connection is of no more use."""
        pg = connection.pgconn
        if connection not in self._prepared:
            await self._prepare(connection, pg)
        result = await self._execute(pg, argument)
        if result.error_field(DiagnosticField.SQLSTATE) == _UNKNOWN:
            # it was not begun: psycopg, or a pooler on the way, has forgotten what was prepared
            await self._prepare(connection, pg)
            result = await self._execute(pg, argument)
        _check(result)
        columns = range(result.nfields)
        return [[result.get_value(row, column) for column in columns] for row in range(result.ntuples)]

    async def _execute(self, pg: PGconn, argument: bytes) -> PGresult:
        pg.send_query_prepared(self.name, [argument])
        return await _answer(pg)

    async def _prepare(self, connection: AsyncConnection[Row], pg: PGconn) -> None:
        pg.send_prepare(self.name, self.sql)
        _check(await _answer(pg))
        self._prepared[connection] = None


def _check(result: PGresult) -> None:
    if result.status not in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        raise error_from_result(result)


async def _answer(pg: PGconn) -> PGresult:
    """The last result of what was sent."""
    while pg.flush():
        await _ready(pg.socket, writing=True)
        pg.consume_input()  # what it says may be why it takes no more
    answer = None
    while True:
        while pg.is_busy():
            await _ready(pg.socket)
            pg.consume_input()
        result = pg.get_result()
        if result is None:
            break
        answer = result
    if answer is None:
        raise OperationalError("the server said nothing")
    return answer


async def _ready(socket: int, *, writing: bool = False) -> None:
    """Wait until there is something to read, or to write to."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(socket, _wake, ready)
    if writing:
        loop.add_writer(socket, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
