"""The HTTP API as seen by somebody who is not put off: what does not answer is asked again for a while."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp

from cognitionos.cli.client import RequestRefused, ServerUnreachable

FINAL = frozenset({"succeeded", "failed", "cancelled"})
_GIVE_UP_AFTER_S = 120.0
_AGAIN_S = 0.5
_REQUEST_S = 20.0
_NOT_NOW = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Asks the API at `url`."""

    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        """The JSON answer of GET `path`. Raises `RequestRefused`, `ServerUnreachable`."""
        return await self._asked("GET", path, None)

    async def post(self, path: str, body: Any) -> Any:
        """The same of POST, under one idempotency key however often it is sent."""
        return await self._asked("POST", path, body)

    async def all_of(self, path: str) -> list[Any]:
        """Every item of a list of pages."""
        items: list[Any] = []
        more = ""
        while True:
            page = await self.get(f"{path}?limit=200{more}")
            items += page["items"]
            if not page.get("next_cursor"):
                return items
            more = f"&cursor={page['next_cursor']}"

    async def _asked(self, method: str, path: str, body: Any) -> Any:
        headers = {} if body is None else {"Idempotency-Key": str(uuid4())}
        begun = time.monotonic()
        while True:
            try:
                async with self.session.request(method, self.url + path, json=body, headers=headers) as answer:
                    told = await answer.json()
                    if answer.status < 400:
                        return told
                    failure: Exception = RequestRefused(
                        f"{told.get('detail')} (HTTP {answer.status}, {path})", status=answer.status
                    )
                    is_final = answer.status not in _NOT_NOW
            except (aiohttp.ClientError, TimeoutError) as error:
                failure, is_final = ServerUnreachable(f"nothing answers at {self.url} ({error})"), False
            if is_final or time.monotonic() - begun > _GIVE_UP_AFTER_S:
                raise failure
            await asyncio.sleep(_AGAIN_S)


@asynccontextmanager
async def a_client(url: str, api_key: str) -> AsyncIterator[Client]:
    """A client of the API at `url` with a key."""
    headers, timeout = {"Authorization": f"Bearer {api_key}"}, aiohttp.ClientTimeout(total=_REQUEST_S)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Client(url=url.rstrip("/"), session=session)
