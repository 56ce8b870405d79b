"""Requests to addresses that users name: resolved once, tested, and connected to just what was tested."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from cognitionos.platform.http_address import (
    AllowedHosts,
    DestinationRefused,
    Resolve,
    is_public,
    parse_url,
    resolve_by_system,
)

LOOK_UP_S = 5.0


class PublicResolver(AbstractResolver):
    """Finds public addresses only; those of hosts that the operator named may be any.

    It is asked at each connect, so a name that later leads elsewhere is refused then. aiohttp does not ask it about
    literal addresses: `check_base_url` has.
    """

    def __init__(self, allowed: AllowedHosts, *, resolve: Resolve = resolve_by_system) -> None:
        self._allowed = allowed
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses to connect to; `OSError`, as of any name that does not resolve, where one is not public."""
        found = await self._resolve(host, port)
        if not self._allowed.has_name(host.removesuffix("."), port) and not all(map(is_public, found)):
            raise OSError(f"{host} leads to an address that is not public")
        return resolved(host, port, found)

    async def close(self) -> None:
        """Nothing is held."""


def resolved(host: str, port: int, addresses: Iterable[str]) -> list[ResolveResult]:
    """These addresses of `host`, as a resolver of aiohttp's gives them."""
    return [
        ResolveResult(
            hostname=host,
            host=address,
            port=port,
            family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            proto=socket.IPPROTO_TCP,
            flags=socket.AI_NUMERICHOST,
        )
        for address in addresses
    ]


async def check_base_url(url: str, allowed: AllowedHosts, *, resolve: Resolve = resolve_by_system) -> None:
    """Raise `BadUrl` or `DestinationRefused` for a URL that leads inside. A name that does not resolve now passes."""
    parsed = parse_url(url)
    host, port = (parsed.raw_host or "").removesuffix("."), parsed.port or 0
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if address is not None:
        refused = not allowed.opens(address, port) and not is_public(host)
    elif allowed.has_name(host, port):
        return
    else:
        try:
            async with asyncio.timeout(LOOK_UP_S):
                refused = not all(map(is_public, await resolve(host, port)))
        except (OSError, TimeoutError):
            return
    if refused:
        raise DestinationRefused(f"{host} leads to an address that is not public; the operator may allow it")
