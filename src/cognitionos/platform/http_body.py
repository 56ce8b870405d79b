"""A request's body, read before the framework does."""

from typing import Any

from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import Receive


async def read_body(receive: Receive, *, most_bytes: int, length: str | None = None) -> bytes:
    """All of it; as much as came, where the client left. Raises `RequestEntityTooLarge`.

    `length` is what the request says of it: once so much has come, the server is not asked whether more follows.
    """
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message: Any = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most_bytes:
            raise RequestEntityTooLarge
        more = message.get("more_body", False) and str(size) != length
    return b"".join(parts)


def again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then whatever the client does next."""
    given = False

    async def replay() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
