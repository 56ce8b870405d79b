"""A provider's server-sent events as they arrive (WHATWG HTML, section 9.2), as long as it says anything."""

import asyncio
from codecs import BOM_UTF8
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

    __slots__ = (
        "_after_cr",
        "_asked_at",
        "_begun",
        "_content",
        "_first_words_s",
        "_longest_silence_s",
        "_loop",
        "_rest",
        "_timer",
        "spoken",
    )

    def __init__(self, content: aiohttp.StreamReader, *, longest_silence_s: float, first_words_s: float) -> None:
        self.spoken = False
        self._content = content
        self._longest_silence_s = longest_silence_s
        self._first_words_s = max(first_words_s, longest_silence_s)
        self._rest = b""
        self._begun = False
        self._after_cr = False
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
            if b"\r" in part or self._after_cr:
                part = self._in_lines(part)
            lines = (self._rest + part).split(b"\n")
            rest = lines.pop()
            data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
            if data and _are_plain(lines, data):
                self._begun, self._rest = True, rest
                return data
            events = (self._rest + part).split(b"\n\n")
            self._rest = events.pop()
            if data := self._data(events):
                return data
        rest, self._rest = self._rest, b""
        if data := self._data([rest]):  # a server that ends without an empty line has said it all the same
            return data
        raise StopAsyncIteration

    def _data(self, events: list[bytes]) -> list[bytes]:
        """What the events carry that carry anything."""
        if events and not self._begun:
            self._begun, events[0] = True, events[0].removeprefix(BOM_UTF8)
        return [data for each in events if (data := _data_of(each))]

    def _in_lines(self, part: bytes) -> bytes:
        """`part` with lines that end as ours do, be it by CR LF or CR alone; one end may come in two parts."""
        if self._after_cr:
            part = part.removeprefix(b"\n")
        self._after_cr = part.endswith(b"\r")
        return part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

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


def _are_plain(lines: list[bytes], data: list[bytes]) -> bool:
    """Whether `lines`, of which `data` are those of data, are events as nearly all are: data, or its name and data."""
    if len(lines) == 2 * len(data):
        return all(data) and not any(lines[1::2])
    if len(lines) == 3 * len(data):
        return all(data) and not any(lines[2::3]) and all(line.startswith(b"event:") for line in lines[::3])
    return False


def _data_of(event: bytes) -> bytes:
    """Its lines of data; empty where it has none (a comment, a name alone).

    Joined by spaces: JSON has line ends between its words only, and goes on to callers in one line.
    """
    return b" ".join([line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]).strip()
