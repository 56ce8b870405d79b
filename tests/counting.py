"""A door to PostgreSQL that counts what goes through (how many statements, and which), and may lose answers."""

import asyncio
import re
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

_ENCRYPTION = {80877103, 80877104}
"""Requests for SSL and GSS encryption, which come before the start-up message; the server here refuses both."""
_WRITES = re.compile(r"\b(INSERT INTO|UPDATE \w+ (\w+ )?SET|DELETE FROM)\b")


@dataclass(kw_only=True)
class Door:
    """`url` leads to the same database, through here. `commits` counts those of transactions that wrote something.

    A statement that `loses` is carried out, and its connection ends without the answer.
    """

    url: str = ""
    statements: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    loses: Callable[[str], bool] = lambda _: False

    @property
    def total(self) -> int:
        """Statements sent so far; `BEGIN` and `COMMIT` count."""
        return self.statements.total()

    async def read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        """Pass on what a client says, and count it (protocol 3: queries, and executions of what was parsed)."""
        is_started, has_written, bound = False, False, ""
        prepared: dict[bytes, str] = {}
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = await reader.readexactly(1) if is_started else b""
                length = await reader.readexactly(4)
                body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
                if not is_started:
                    is_started = struct.unpack("!I", body[:4])[0] not in _ENCRYPTION
                elif kind == b"Q":
                    bound = _text(body)
                elif kind == b"P":
                    name, _, rest = body.partition(b"\0")
                    prepared[name] = _text(rest)
                elif kind == b"B":
                    bound = prepared.get(body.split(b"\0", 2)[1], "?")
                if kind in {b"Q", b"E"}:
                    self.statements[bound] += 1
                    self.commits += bound == "COMMIT" and has_written
                    has_written = bound != "COMMIT" and (has_written or _WRITES.search(bound) is not None)
                    if self.loses(bound):
                        lost.set()
                writer.write(kind + length + body)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def a_door(database_url: str) -> AsyncIterator[Door]:
    """A door on a loopback port before the server of `database_url` (its unix socket, or its address)."""
    door = Door()
    parts = urlsplit(database_url)
    socket_dir = parse_qs(parts.query).get("host", [""])[0]
    port = parts.port or int(parse_qs(parts.query).get("port", ["5432"])[0])

    open_now: dict[asyncio.Future[list[None]], tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if socket_dir.startswith("/"):
            to_server = await asyncio.open_unix_connection(f"{socket_dir}/.s.PGSQL.{port}")
        else:
            to_server = await asyncio.open_connection(socket_dir or parts.hostname, port)
        lost = asyncio.Event()
        passing = asyncio.gather(door.read(reader, to_server[1], lost), _pass_on(to_server[0], writer, lost))
        open_now[passing] = (to_server[1], writer)
        passing.add_done_callback(open_now.pop)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    at = server.sockets[0].getsockname()[1]
    user = quote(parts.username or "") + (f":{quote(parts.password)}" if parts.password else "")
    door.url = urlunsplit((parts.scheme, f"{user}@127.0.0.1:{at}", parts.path, "", ""))
    try:
        yield door
    finally:
        server.close()
        for writers in open_now.values():
            for writer in writers:
                writer.close()
        await asyncio.gather(*open_now)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while (data := await reader.read(65536)) and not lost.is_set():
            writer.write(data)
            await writer.drain()
    writer.close()


def _text(body: bytes) -> str:
    return " ".join(body.partition(b"\0")[0].decode().split())
