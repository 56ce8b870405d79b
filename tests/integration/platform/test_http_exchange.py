"""Posting without aiohttp's session: the same bytes, connections kept while they can be, failures as aiohttp's."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from tests.waiting import eventually

from cognitionos.platform import http_exchange
from cognitionos.platform.http import HttpClient

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Peer:
    """Answers each request with the next of `answers`; None closes the connection, `hang_up` after an answer too."""

    def __init__(self, *answers: bytes | None, hang_up: bool = False) -> None:
        self.answers = list(answers)
        self.hang_up = hang_up
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.late: list[asyncio.StreamWriter] = []
        self.left = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.late.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                if self.hang_up:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            self.left += 1
            writer.close()


@asynccontextmanager
async def talking(*answers: bytes | None, hang_up: bool = False) -> AsyncIterator[tuple[Peer, HttpClient]]:
    peer, http = Peer(*answers, hang_up=hang_up), HttpClient()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?x=1"
    await http.open()
    try:
        yield peer, http
    finally:
        await http.close()
        server.close()


async def read(http: HttpClient, url: str, body: bytes = b"[]", **more: str) -> bytes:
    async with await http.post(url, body, {"x-key": "k"}, more=more) as answer:
        return await answer.read()


async def test_what_is_sent_is_what_a_session_would_send() -> None:
    async with talking(OK, OK) as (peer, http):
        await read(http, peer.url, b'{"a":1}')
        async with http.session.post(peer.url, data=b'{"a":1}', headers={"x-key": "k"}) as answer:
            await answer.read()

    ours, theirs = (set(request.lower().split(b"\r\n")) for request in peer.requests)
    assert theirs - ours <= {b"content-type: application/octet-stream"}
    assert ours <= theirs


async def test_requests_one_after_the_other_share_a_connection_and_carry_headers_of_their_own() -> None:
    async with talking(OK, OK) as (peer, http):
        assert await read(http, peer.url, traceparent="00-1") == b"{}"
        assert await read(http, peer.url) == b"{}"

    assert peer.connections == 1
    assert [b"traceparent: 00-1\r\n" in each for each in peer.requests] == [True, False]


async def test_a_body_whose_end_comes_soon_after_it_was_left_keeps_the_connection() -> None:
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
    async with talking(begun, OK) as (peer, http):
        async with await http.post(peer.url, b"[]", {}) as answer:
            assert await answer.content.readany() == b"{}"
        peer.late[0].write(b"0\r\n\r\n")
        async with asyncio.timeout(5):
            await answer.content.wait_eof()
        await read(http, peer.url)

    assert peer.connections == 1


async def test_a_body_whose_end_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "END_S", 0.01)
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
    async with talking(begun) as (peer, http):
        async with await http.post(peer.url, b"[]", {}):
            pass

        assert await eventually(lambda: peer.left == 1)


async def test_a_body_that_was_not_read_to_its_end_costs_the_connection() -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"
    async with talking(half, OK) as (peer, http):
        async with await http.post(peer.url, b"[]", {}) as answer:
            assert answer.status == 200
        await read(http, peer.url)

    assert peer.connections == 2


async def test_a_compressed_answer_is_read_and_interim_answers_are_passed_over() -> None:
    body = gzip.compress(b'{"a":1}')
    packed = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    async with talking(b"HTTP/1.1 103 Early Hints\r\n\r\n" + packed) as (peer, http):
        assert await read(http, peer.url) == b'{"a":1}'


@pytest.mark.parametrize("answer", [None, b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
async def test_whatever_is_no_answer_is_an_error_of_aiohttp(answer: bytes | None) -> None:
    async with talking(answer) as (peer, http):
        with pytest.raises(aiohttp.ClientError):
            await read(http, peer.url)


async def test_an_answer_that_breaks_off_is_an_error_of_aiohttp() -> None:
    cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nab"
    async with talking(cut, hang_up=True) as (peer, http):
        with pytest.raises(aiohttp.ClientError):
            await read(http, peer.url)


async def test_nobody_there_is_an_error_of_aiohttp() -> None:
    async with talking() as (_, http):
        with pytest.raises(aiohttp.ClientError):
            await read(http, "http://127.0.0.1:1/")


@pytest.mark.parametrize("value", ["a\r\nx-other: b", "a\0b"])
async def test_a_header_cannot_carry_another_one(value: str) -> None:
    async with talking(OK) as (peer, http):
        with pytest.raises(ValueError, match="control character"):
            await http.post(peer.url, b"[]", {"x-key": value})
        with pytest.raises(ValueError, match="control character"):
            await read(http, peer.url, traceparent=value)

    assert peer.requests == []
