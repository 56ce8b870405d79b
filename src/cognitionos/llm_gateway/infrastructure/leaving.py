"""Whole answers whose client may leave before they are there.

Most such calls go on: their answer is kept, and whoever asks the same again gets it. What nobody may be given is of no
use to anybody, so its provider is stopped.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from litestar import Request, Response

from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.facade import ChatResult
from cognitionos.llm_gateway.infrastructure.event_stream import Watch

CLIENT_LEFT = 499
"""nginx's word for it in the access log; nobody reads the answer."""


async def unless_left(
    answering: Coroutine[Any, Any, ChatResult], request: Request[Any, Any, Any], asked: ChatRequest
) -> ChatResult | None:
    """The answer; None where the client left and nobody else may have it: it is billed as a stream that is left."""
    if asked.cache_wish.keep or "idempotency-key" in request.headers:
        return await answering
    watch = Watch(request.receive)
    try:
        return await answering
    except asyncio.CancelledError:
        if not watch.cancelled_sending():
            raise
        return None
    finally:
        watch.end()


def to_nobody() -> Response[bytes]:
    """What is said to a client that is gone."""
    return Response(b"", status_code=CLIENT_LEFT)
