"""A provider's server-sent events as they arrive (WHATWG HTML, section 9.2), as long as it says anything."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

import aiohttp

from cognitionos.platform.http_exchange import readany


class Silent(aiohttp.ClientError):
    """Nothing has come for too long, not even a sign of life."""


class ArrivingEvents:
    """The `data` of the events, those together that arrived together; comments and other fields are skipped.

    Who reads says when the first words came, by `spoken`: until then a model may think for `first_words_s`; from then
    on `Silent` is raised after `longest_silence_s`. Time between two reads does not count. `stop` it at the end.

    No generator: one that is left before its end costs a task that closes it, and every stream is left so. The timer is
    set anew when it is due, not at every read: it rarely is.
    """

    __slots__ = ("_asked_at", "_content", "_first_words_s", "_longest_silence_s", "_loop", "_rest", "_timer", "spoken")

    def __init__(self, content: aiohttp.StreamReader, *, longest_silence_s: float, first_words_s: float) -> None:
        self.spoken = False
        self._content = content
        self._longest_silence_s = longest_silence_s
        self._first_words_s = max(first_words_s, longest_silence_s)
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._asked_at: float | None = None
        self._timer = self._loop.call_later(longest_silence_s, self._due)

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[bytes]:
        while True:
            self._asked_at = self._loop.time()
            part = await readany(self._content)
            self._asked_at = None
            if not part:
                break
            lines = (self._rest + part).split(b"\n")
            self._rest = lines.pop()
            if data := [line[5:].strip() for line in lines if line.startswith(b"data:")]:
                return data
        rest, self._rest = self._rest, b""
        if rest.startswith(b"data:"):
            return [rest[5:].strip()]
        raise StopAsyncIteration

    async def each(self) -> AsyncGenerator[bytes, None]:
        """The same one by one."""
        async for arrived in self:
            for data in arrived:
                yield data

    def _due(self) -> None:
        now = self._loop.time()
        limit_s = self._longest_silence_s if self.spoken else self._first_words_s
        due = (now if self._asked_at is None else self._asked_at) + limit_s
        if due <= now:
            self._content.set_exception(Silent(f"it has said nothing for {limit_s:g} s"))
        else:
            self._timer = self._loop.call_at(min(due, now + self._longest_silence_s), self._due)
