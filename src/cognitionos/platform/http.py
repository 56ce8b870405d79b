"""HTTP out: one client library (aiohttp), one session per process."""

import aiohttp
from aiohttp.abc import AbstractResolver

CONNECT_TIMEOUT_S = 10.0


class HttpClient:
    """Holds an `aiohttp` session. Deadlines are the caller's: pass `timeout=` with each request.

    `resolver` None: the operating system's.
    """

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

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
