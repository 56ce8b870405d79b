"""A PostgreSQL that takes statements and answers none (it hangs, the network lost it) is as one that is gone.

Nobody's time is taken per statement: connections that wait for an answer are looked at now and then. Once one has
waited for half of the limit, PostgreSQL is asked something on a new connection. While it answers that, a statement is
only slow, and goes on. Says it nothing for the other half, every connection that waits is shut: whoever waits is told
what he would be told of a server that died, and nothing more is sent until it answers again. What was shut in a
transaction is rolled back when the server wakes; a commit under way is as one whose answer was lost.
"""

import asyncio
import os
import socket
from collections.abc import Iterable

from psycopg import AsyncConnection

from cognitionos.platform.database import Database, Row
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
LOOKS = 20
"""Looks within the limit. It is counted in looks, so that a stall of this process is not taken for one of theirs."""
ENDED_WITHIN_S = 2.0
"""So long the end of what was shut is waited for once PostgreSQL answers: what it did late is then over."""
_NOT_ITS_OWN = 0
"""The driver's limit for connecting: it goes by the clock."""
_STILL_THERE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"


class SilenceWatch:
    """Cuts what waits for a silent PostgreSQL, and says so to `database`. `open` it on the loop that uses that."""

    def __init__(self, database: Database, *, within_s: float) -> None:
        self._database = database
        self._look_s = within_s / LOOKS
        self._shut: set[int] = set()
        self._loop: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[int]] = set()

    async def open(self) -> None:
        """Look from now on."""
        self._loop = asyncio.create_task(self._run(), name="database.silence")

    async def close(self) -> None:
        """Stop looking."""
        for asking in self._asking:
            asking.cancel()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _run(self) -> None:
        looks: dict[AsyncConnection[Row], int] = {}
        while True:
            await asyncio.sleep(self._look_s)
            looks = {each: looks.get(each, 0) + 1 for each in self._database.waiting()}
            if max(looks.values(), default=0) >= LOOKS // 2:
                looks = {}
                if not await self._answers():
                    await self._silent()

    async def _silent(self) -> None:
        """Shut what waits, and let nothing begin, until it answers."""
        log.warning("database_silent", remedy="requests get 503 until it answers")
        self._database.is_silent = True
        try:
            self._shut_waiting()
            while not await self._answers():
                pass
            await self._ended()
        finally:
            self._database.is_silent = False
        self._shut.clear()
        log.warning("database_answers_again")

    async def _answers(self) -> bool:
        """Whether PostgreSQL says anything to a newcomer within half of the limit; a refusal is an answer too."""
        asking = self._ask()
        for _ in range(LOOKS // 2):
            done, _ = await asyncio.wait({asking}, timeout=self._look_s)
            if done:
                return True
            if self._database.is_silent:
                self._shut_waiting()  # in a transaction that had begun before
        asking.cancel()
        return False

    async def _ended(self) -> None:
        """Wait until PostgreSQL has done with what was shut: a hold that is taken late must not follow its release."""
        for _ in range(max(1, round(ENDED_WITHIN_S / self._look_s))):
            asking = self._ask()
            await asyncio.wait({asking}, timeout=ENDED_WITHIN_S)
            if not asking.done() or asking.exception() is not None or not asking.result():
                asking.cancel()
                return
            await asyncio.sleep(self._look_s)

    def _ask(self) -> "asyncio.Task[int]":
        asking = asyncio.create_task(self._still_there(), name="database.ask")
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        return asking

    def _asked(self, asking: "asyncio.Task[int]") -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # one that nobody waits for any more may fail as it likes

    async def _still_there(self) -> int:
        """How many of the server's processes behind what was shut are left."""
        url = self._database.url
        async with await AsyncConnection.connect(url, autocommit=True, connect_timeout=_NOT_ITS_OWN) as connection:
            row = await (await connection.execute(_STILL_THERE, (list(self._shut),))).fetchone()
            return int(row[0]) if row else 0

    def _shut_waiting(self) -> None:
        waiting = self._database.waiting()
        self._shut |= {each.info.backend_pid for each in waiting}
        _shut(waiting)


def _shut(connections: Iterable[AsyncConnection[Row]]) -> None:
    """Let each read the end of what the server says; closing it is for whoever waits for it."""
    for connection in connections:
        with socket.socket(fileno=os.dup(connection.fileno())) as same:
            try:
                same.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is shut already
                continue
