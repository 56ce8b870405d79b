"""The HTTP tool against real servers on loopback: what it may reach answers, what it may not hears nothing."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from tests.waiting import eventually

from cognitionos.agents.infrastructure.http_tool import HttpHostUnavailable, HttpRequestRefused, HttpTool
from cognitionos.kernel.errors import DomainError
from cognitionos.platform.http_address import BadUrl, DestinationRefused

PUBLIC = "93.184.215.14"


@dataclass
class Server:
    """A server on both loopback addresses that answers by its path and remembers who came."""

    port: int = 0
    seen: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    location: str = "/"
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        self.bodies.append(await request.read())
        match request.path:
            case "/redirect":
                return web.Response(status=int(request.query.get("status", "302")), headers={"Location": self.location})
            case "/circle":
                return web.Response(status=307, headers={"Location": "/circle"})
            case "/large":
                return web.Response(body=b"x" * 5000)
            case "/bomb":
                return web.Response(body=gzip.compress(bytes(50 * 2**20)), headers={"Content-Encoding": "gzip"})
            case "/packed":
                return web.Response(body=gzip.compress("größe".encode()), headers={"Content-Encoding": "gzip"})
            case "/latin":
                return web.Response(
                    body="größe".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}
                )
            case "/slow":
                await self.gate.wait()
        return web.Response(text="hello", headers={"Set-Cookie": "a=b"})


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    first = web.TCPSite(runner, "127.0.0.1", 0)
    await first.start()
    server.port = runner.addresses[0][1]
    with suppress(OSError):  # a machine without IPv6 has one door less
        await web.TCPSite(runner, "::1", server.port).start()
    try:
        yield server
    finally:
        server.gate.set()
        await runner.cleanup()


@pytest.fixture
def server(run: Any) -> Iterator[Server]:
    context = serving()
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


def a_tool(server: Server, *more: str, **options: Any) -> HttpTool:
    return HttpTool(allowed_hosts=[f"127.0.0.1:{server.port}", *more], **options)


async def test_an_allowed_address_answers(server: Server) -> None:
    response = await a_tool(server).request("get", f"http://127.0.0.1:{server.port}/x?q=1", headers={"X-Mine": "1"})

    assert (response.status, response.body_text, response.truncated) == (200, "hello", False)
    assert server.seen[0].method == "GET"
    assert (server.seen[0].headers["X-Mine"], server.seen[0].query["q"]) == ("1", "1")


async def test_a_json_body_and_the_idempotency_key_are_sent(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/"

    await a_tool(server).request("POST", url, json={"größe": 1}, idempotency_key="run-1:task-2:0")

    assert server.seen[0].headers["Idempotency-Key"] == "run-1:task-2:0"
    assert server.seen[0].headers["Content-Type"] == "application/json"
    assert server.bodies[0] == b'{"gr\\u00f6\\u00dfe": 1}'


@pytest.mark.parametrize(
    ("path", "text", "truncated"),
    [("large", "x" * 1000, True), ("packed", "größe", False), ("latin", "größe", False), ("bomb", "\0" * 1000, True)],
)
async def test_the_body_is_text_of_limited_size(server: Server, path: str, text: str, truncated: bool) -> None:  # noqa: FBT001
    tool = a_tool(server, max_response_bytes=1000)

    response = await tool.request("GET", f"http://127.0.0.1:{server.port}/{path}")

    assert (response.body_text, response.truncated) == (text, truncated)


async def test_a_slow_host_is_given_up(server: Server) -> None:
    with pytest.raises(HttpHostUnavailable, match="no answer within"):
        await a_tool(server).request("GET", f"http://127.0.0.1:{server.port}/slow", timeout_s=0.1)


def test_a_request_may_take_as_long_as_it_is_given() -> None:
    """Two hours go by on a clock that only this loop has, while the host thinks."""
    asyncio.run(_two_hours())


async def _two_hours() -> None:
    loop, passed_s = asyncio.get_running_loop(), 0.0
    clock = loop.time
    loop.time = lambda: clock() + passed_s  # type: ignore[method-assign]
    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}/slow"
        patient = asyncio.create_task(a_tool(server).request("GET", url, timeout_s=7_000))
        hasty = asyncio.create_task(a_tool(server).request("GET", url, timeout_s=3_500))
        await eventually(lambda: len(server.seen) == 2)

        passed_s = 3_600.0
        with pytest.raises(HttpHostUnavailable, match="no answer within 3500 s"):
            await hasty

        assert not patient.done()
        passed_s = 7_200.0
        with pytest.raises(HttpHostUnavailable, match="no answer within 7000 s"):
            await patient


async def test_a_circle_of_redirects_ends(server: Server) -> None:
    with pytest.raises(HttpHostUnavailable, match="redirects"):
        await a_tool(server).request("GET", f"http://127.0.0.1:{server.port}/circle")

    assert len(server.seen) == 6


async def test_a_closed_port_is_unavailable() -> None:
    async with serving() as gone:
        pass

    with pytest.raises(HttpHostUnavailable):
        await a_tool(gone).request("GET", f"http://127.0.0.1:{gone.port}/")


async def test_no_cookie_and_no_proxy_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    tool = a_tool(server)

    for _ in range(2):
        await tool.request("GET", f"http://127.0.0.1:{server.port}/")

    assert "Cookie" not in server.seen[1].headers


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [(302, "POST", "GET", b""), (303, "PUT", "GET", b""), (307, "POST", "POST", b"data"), (308, "PUT", "PUT", b"data")],
)
async def test_a_redirect_within_the_host_is_followed(
    server: Server, status: int, method: str, then: str, body: bytes
) -> None:
    url = f"http://127.0.0.1:{server.port}/redirect?status={status}"

    response = await a_tool(server).request(method, url, body=b"data", headers={"Authorization": "Bearer x"})

    assert response.status == 200
    assert (server.seen[1].method, server.bodies[1]) == (then, body)
    assert server.seen[1].headers["Authorization"] == "Bearer x"


async def test_another_origin_gets_no_credentials(server: Server) -> None:
    async with serving() as other:
        server.location = f"http://127.0.0.1:{other.port}/there"
        tool = a_tool(server, f"127.0.0.1:{other.port}")
        secrets = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "y", "Accept": "text/plain"}

        await tool.request("GET", f"http://127.0.0.1:{server.port}/redirect", headers=secrets, idempotency_key="k")

        assert {"Authorization", "Cookie", "X-Api-Key", "Idempotency-Key"}.isdisjoint(other.seen[0].headers)
        assert other.seen[0].headers["Accept"] == "text/plain"


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "CONNECT"}, {"method": "TRACE"}, {"method": "GET\r\nX: y"}, {"headers": {"Host": "a"}},
        {"headers": {"Transfer-Encoding": "chunked"}}, {"headers": {"X": "a\r\nY: b"}}, {"headers": {"X: y\r\nZ": "a"}},
        {"body": b"x" * (2**20 + 1)}, {"idempotency_key": "a\nb"},
    ],
)  # fmt: skip
async def test_a_request_that_is_not_plain_is_not_sent(server: Server, wrong: dict[str, Any]) -> None:
    with pytest.raises(HttpRequestRefused):
        await a_tool(server).request(**{"method": "POST", "url": f"http://127.0.0.1:{server.port}/", **wrong})

    assert server.seen == []


# P stands for the canary's port. Every name in it resolves to loopback, and is on the allow-list.
WAYS_IN = [
    "http://127.0.0.1:P/", "http://127.1:P/", "http://127.0.1:P/", "http://2130706433:P/", "http://0x7f000001:P/",
    "http://0x7f.0x0.0x0.0x1:P/", "http://0x7f.1:P/", "http://0177.0.0.1:P/", "http://017700000001:P/",
    "http://127.0.0.1.:P/", "http://127.000.000.001:P/", "http://127.0.0.2:P/", "http://0:P/", "http://0.0.0.0:P/",
    "http://00000:P/", "http://[::1]:P/", "http://[::]:P/", "http://[0:0:0:0:0:0:0:1]:P/", "http://[::ffff:127.0.0.1]:P/",
    "http://[::ffff:7f00:1]:P/", "http://[0:0:0:0:0:ffff:127.0.0.1]:P/", "http://[::127.0.0.1]:P/",
    "http://[64:ff9b::127.0.0.1]:P/", "http://[2002:7f00:1::]:P/", "http://[::1%25lo]:P/", "http://[::1%lo]:P/",
    "http://localhost:P/", "http://LOCALHOST:P/", "http://localhost.:P/", "http://localhost..:P/",
    "http://localhost.localdomain:P/", "http://rebind.example.com:P/", "http://a.wild.example.com:P/",
    "http://127.0.0.1.nip.io:P/", "http://mapped.example.com:P/", "http://mixed.example.com:P/",
    "http://zone.example.com:P/", "http://api.example.com@127.0.0.1:P/", "http://api.example.com:80@127.0.0.1:P/",
    "http://api.example.com%40127.0.0.1:P/", "http://127.0.0.1:P@api.example.com/", "http://127.0.0.1:P#@api.example.com/",
    "http://127.0.0.1:P\\@api.example.com/", "http://api.example.com\\@127.0.0.1:P/", "http://127.0.0.1:P?@api.example.com/",
    "http://127。0。0。1:P/", "http://127\uff0e0\uff0e0\uff0e1:P/", "http://\uff11\uff12\uff17.0.0.1:P/", "http://①②⑦.⓪.⓪.①:P/",
    "http://ⓛocalhost:P/", "http://loc\u00adalhost:P/", "http://%6c%6f%63%61%6c%68%6f%73%74:P/",
    "http://127.0.0.1%00.example.com:P/", "http://127.0.0.1\t:P/", " http://127.0.0.1:P/", "http://127.0.0.1:P\r\n/",
    "//127.0.0.1:P/", "http:127.0.0.1:P/", "http:/127.0.0.1:P/", "http:///127.0.0.1:P/", "ftp://127.0.0.1:P/",
    "gopher://127.0.0.1:P/_GET", "file:///etc/passwd", "HTTP://127.0.0.1:P/", "https://127.0.0.1:P/", "ws://127.0.0.1:P/",
    "http://127.0.0.1:0P/", "http://[127.0.0.1]:P/", "http://[v1.127.0.0.1]:P/", "http://xn--localhost-:P/", "http://:P/",
    "http://127.255.255.254:P/", "http://0x7f000001.:P/", "http://0177.1:P/", "http://127.0x0.0.1:P/", "http://[::FFFF:127.0.0.1]:P/",
    "http://[::ffff:0:127.0.0.1]:P/", "http://[64:ff9b:1::127.0.0.1]:P/", "http://[fe80::1%25lo]:P/", "http://[fc00::1]:P/",
    "http://169.254.169.254:P/latest/meta-data", "http://[fd00:ec2::254]:P/", "http://10.0.0.1:P/", "http://192.168.0.1:P/",
    "http://LocalHost.LocalDomain:P/", "http://user:pass@localhost:P/",
]  # fmt: skip
TABLE = {
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "mixed.example.com": [PUBLIC, "::1"],
    "zone.example.com": ["fe80::1%lo"],
}


async def leads_to_loopback(host: str, port: int) -> Sequence[str]:
    return TABLE.get(host, ["127.0.0.1", "::1"])


def a_besieged_tool(server: Server, *more: str) -> HttpTool:
    names = ("localhost", "localhost.localdomain", "*.example.com", "*.nip.io", "ipv4only.arpa")
    return HttpTool(
        allowed_hosts=[*(f"{name}:{server.port}" for name in names), "api.example.com", *more],
        resolve=leads_to_loopback,
    )


def test_there_are_at_least_eighty_ways_in() -> None:
    assert len(set(WAYS_IN)) >= 80


@pytest.mark.parametrize("way", WAYS_IN)
async def test_no_way_in_reaches_loopback(server: Server, way: str) -> None:
    with pytest.raises((BadUrl, DestinationRefused)) as refusal:
        await a_besieged_tool(server).request("GET", way.replace("P", str(server.port), 1), timeout_s=5)

    assert isinstance(refusal.value, DomainError)
    assert server.seen == []


@pytest.mark.parametrize("way", [way for way in WAYS_IN if "://" in way])
async def test_no_redirect_reaches_loopback(server: Server, way: str) -> None:
    async with serving() as start:
        start.location = way.replace("P", str(server.port), 1).replace("\r\n", "").strip()
        tool = a_besieged_tool(server, f"127.0.0.1:{start.port}")

        with suppress(BadUrl, DestinationRefused, HttpHostUnavailable):
            await tool.request("GET", f"http://127.0.0.1:{start.port}/redirect", timeout_s=5)

        assert start.seen
    assert server.seen == []


async def test_a_name_is_resolved_once_and_the_tested_address_is_connected_to(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    targets: list[Any] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return next(answers)

    async def unreachable(_: object, address: Any) -> None:
        targets.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", unreachable)
    tool = HttpTool(allowed_hosts=[f"rebind.example.com:{server.port}"], resolve=rebinding)

    with pytest.raises(HttpHostUnavailable):
        await tool.request("GET", f"http://rebind.example.com:{server.port}/")

    assert targets == [PUBLIC]
    assert next(answers) == ["127.0.0.1"]
    assert server.seen == []


async def test_nothing_is_allowed_by_default(server: Server) -> None:
    with pytest.raises(DestinationRefused):
        await HttpTool(allowed_hosts=[]).request("GET", f"http://127.0.0.1:{server.port}/")
