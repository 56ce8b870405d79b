"""HTTP out: one client library (aiohttp), one session per process."""

from collections.abc import Mapping

import aiohttp
from aiohttp.abc import AbstractResolver

from cognitionos.platform.http_exchange import Exchange, Place, post

CONNECT_TIMEOUT_S = 10.0
MOST_PLACES = 1_000
LONGEST_SILENCE_S = 120.0


class HttpClient:
    """Holds an `aiohttp` session. Deadlines are the caller's: pass `timeout=` with each request.

    `resolver` None: the operating system's. `longest_silence_s`: so long a stream that has begun may be silent.
    """

    def __init__(
        self, *, resolver: AbstractResolver | None = None, longest_silence_s: float = LONGEST_SILENCE_S
    ) -> None:
        self.longest_silence_s = longest_silence_s
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._places: dict[tuple[str, tuple[tuple[str, str], ...]], Place] = {}

    async def open(self) -> None:
        """Make the session on the running loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),  # what one provider's server sets is no business of another call
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            trust_env=False,
            auto_decompress=True,
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        if self._session is None:
            raise RuntimeError("HttpClient.open() has not run on this loop")
        return self._session

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, more: Mapping[str, str] | None = None
    ) -> Exchange:
        """Send `body` to an address that is asked again and again with the same `headers`; `more` are of this request.

        Raises `aiohttp.ClientError`, `ValueError` for a header that carries a control character.
        """
        known = (url, tuple(headers.items()))
        place = self._places.get(known)
        if place is None:
            if len(self._places) >= MOST_PLACES:
                self._places.clear()
            place = self._places[known] = Place(self.session, url, headers)
        return await post(self.session, place, body, more or {})
