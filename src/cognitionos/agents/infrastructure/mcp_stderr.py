"""The last that an MCP server's process wrote to its standard error: what people look for when it has died."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import TextIOWrapper

_KEPT_BYTES = 16 * 1024
_MOST_LINES = 8
_MOST_CHARACTERS = 800
_END_WITHIN_S = 0.5
_SHORTEST_SECRET = 4
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


@dataclass(eq=False)
class LastWords(asyncio.Protocol):
    """Read as it comes, so that the process never waits to be heard; only the end is kept, without `secrets`."""

    secrets: Collection[str] = ()
    _kept: bytearray = field(default_factory=bytearray, init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[TextIOWrapper]:
        """What to give the process as its standard error; to be closed here as soon as the process has it."""
        reading, writing = os.pipe()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, os.fdopen(reading, "rb"))
        try:
            with os.fdopen(writing, "w", encoding="utf-8") as errlog:
                yield errlog
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_WITHIN_S):
                    await self._ended.wait()
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Keep the end."""
        self._kept += data
        del self._kept[:-_KEPT_BYTES]

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody can write any more."""
        self._ended.set()

    async def told(self) -> str:
        """`; its last words: ...` of a process that may just have died, one line; empty where it said nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_WITHIN_S):
                await self._ended.wait()
        text = _ESCAPES.sub("", self._kept.decode("utf-8", "replace"))
        for secret in sorted((each for each in self.secrets if len(each) >= _SHORTEST_SECRET), key=len, reverse=True):
            text = text.replace(secret, "***")
        printable = ("".join(c if c.isprintable() else " " for c in line).strip() for line in text.splitlines())
        lines = [line for line in printable if line][-_MOST_LINES:]
        return f"; its last words: {' | '.join(lines)[-_MOST_CHARACTERS:]}" if lines else ""
