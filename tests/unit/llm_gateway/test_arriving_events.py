"""Server-sent events as the HTML standard has them (section 9.2), however they are cut on their way."""

import asyncio

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from cognitionos.llm_gateway.infrastructure.arriving_events import ArrivingEvents

SAID = (
    b'\xef\xbb\xbfdata: {"a": 1}\n\n'
    b": a sign of life\n\n"
    b'event: named\nid: 7\ndata: {"b":\ndata: 2}\nretry: 10\n\n'
    b'data:{"c": 3}\n\n\n'
    b"data:\n\n"
    b"database: none of ours\n\n"
    b'data: "\xc3\xa9\xe2\x80\xa8 is one line" \n\n'
    b"data: [DONE]\n\n"
)
MEANT = [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}', b'"\xc3\xa9\xe2\x80\xa8 is one line"', b"[DONE]"]


def a_content() -> aiohttp.StreamReader:
    """The body of a connection that stands."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return aiohttp.StreamReader(protocol, 2**16, loop=loop)


async def read(*parts: bytes) -> list[bytes]:
    """What is read of `parts`, each of which comes alone."""
    content = a_content()
    events, read = ArrivingEvents(content, longest_silence_s=60, first_words_s=60), list[bytes]()

    async def reading() -> None:
        async for arrived in events:
            read.extend(arrived)

    task = asyncio.create_task(reading())
    for part in parts:
        content.feed_data(part)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    content.feed_eof()
    await task
    events.stop()
    return read


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_events_are_read_however_their_lines_end_and_wherever_they_are_cut(end: bytes) -> None:
    said = SAID.replace(b"\n", end)

    whole = await read(said)
    cut = [await read(said[:place], said[place:]) for place in range(1, len(said))]
    singly = await read(*(said[place : place + 1] for place in range(len(said))))

    assert whole == singly == MEANT
    assert [each for each in cut if each != MEANT] == []


async def test_an_event_is_given_when_its_empty_line_is_there_and_the_last_one_also_without() -> None:
    content = a_content()
    events = ArrivingEvents(content, longest_silence_s=60, first_words_s=60)
    content.feed_data(b"data: 1\r\n\r")  # an end of two lines already, whatever comes

    first = await anext(events)
    content.feed_data(b"\ndata: 2\ndata: 3")
    content.feed_eof()
    second = await anext(events)
    events.stop()

    assert (first, second) == ([b"1"], [b"2 3"])


async def test_kinds_of_line_ends_may_be_mixed_and_none_joins_or_parts_what_is_not_its_own() -> None:
    said = (
        b"data: 1\r\n\ndata: 2\r\rdata: 3\n\r\n"
        + b"event: a\ndata: 4\n\n" * 2
        + b"data: 5\ndata: 6\n\nevent: b\nid: 1\n\n"
    )

    singly = await read(*(said[place : place + 1] for place in range(len(said))))

    assert singly == await read(said) == [b"1", b"2", b"3", b"4", b"4", b"5 6"]
