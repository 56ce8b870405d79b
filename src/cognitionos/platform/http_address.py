"""Where an outbound HTTP request may go: an allow-list of hosts, and public addresses only.

Resolve once, test every address, connect to what was tested: the caller hands `Destination.addresses` to its connector,
so that there is no second look-up to answer differently. Repeat for each redirect.

Blocks: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), and the clouds' metadata.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from yarl import URL

from cognitionos.kernel.errors import Forbidden, Invalid, Unavailable

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Address = IPv4Address | IPv6Address

_USUAL_PORTS = frozenset({80, 443})
_NOT_PUBLIC_4 = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's host agent: a public number that leads inside
    )
)  # fmt: skip
_UNICAST_6 = ip_network("2000::/3")
# Teredo, ORCHID, benchmarks and the like; documentation; 6to4 (it carries an IPv4 address); AS112; SRv6 documentation.
_NOT_PUBLIC_6 = tuple(
    ip_network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_INSIDE = (".localhost", ".local", ".internal", ".home.arpa", ".lan")
_NAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")


class DestinationRefused(Forbidden):
    """The host is not on the allow-list, or it leads to an address that is not public."""


class BadUrl(Invalid):
    """Not an absolute http(s) URL with a plain host."""


class HostNotFound(Unavailable):
    """The name does not resolve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A URL that may be requested, and the tested addresses (at least one) to connect to."""

    url: URL
    host: str
    port: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Hosts that may be reached: exact names, `*.` suffixes, and literal addresses that are open although not public.

    Entries: `api.example.com` and `*.example.com` (ports 80 and 443, or `:port`), `127.0.0.1:8080`, `[::1]:8080`.
    """

    names: frozenset[tuple[str, int | None]]
    suffixes: frozenset[tuple[str, int | None]]
    literals: frozenset[tuple[Address, int]]

    @classmethod
    def parse(cls, entries: Sequence[str]) -> Self:
        """Read the operator's list; raises `ValueError` with the entry that is not understood."""
        names: set[tuple[str, int | None]] = set()
        suffixes: set[tuple[str, int | None]] = set()
        literals: set[tuple[Address, int]] = set()
        for entry in entries:
            host, port = _split(entry.strip().lower())
            address = _address(host)
            if address is not None:
                if port is None:
                    raise ValueError(f"{entry!r}: a literal address needs its port")
                literals.add((address, port))
            elif _NAME.match(host.removeprefix("*.")) and not _looks_like_a_number(host):
                (suffixes if host.startswith("*.") else names).add((host.removeprefix("*."), port))
            else:
                raise ValueError(f"{entry!r} is not a host, a *.host or an address:port")
        return cls(frozenset(names), frozenset(suffixes), frozenset(literals))

    def opens(self, address: Address, port: int) -> bool:
        """Whether the operator named exactly this address and port."""
        return (address, port) in self.literals

    def has_name(self, host: str, port: int) -> bool:
        """Whether the name is on the list for this port."""
        ports = {port} | ({None} if port in _USUAL_PORTS else set())
        parents = [host[place + 1 :] for place, character in enumerate(host) if character == "."]
        return any(
            (host, allowed) in self.names or any((parent, allowed) in self.suffixes for parent in parents)
            for allowed in ports
        )


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """The addresses of `host` as the operating system finds them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def approve(url: str | URL, *, allowed: AllowedHosts, resolve: Resolve = resolve_by_system) -> Destination:
    """Check `url` and resolve its host once. Raises `BadUrl`, `DestinationRefused`, `HostNotFound`."""
    parsed = parse_url(url)
    host, port = (parsed.raw_host or "").removesuffix("."), parsed.port or 0
    address = _address(host)
    if address is not None:
        if not allowed.opens(address, port):
            raise DestinationRefused(f"{host}:{port} is not on the list of allowed hosts")
        return Destination(url=parsed, host=host, port=port, addresses=(str(address),))
    if not allowed.has_name(host, port):
        raise DestinationRefused(f"{host}:{port} is not on the list of allowed hosts")
    try:
        found = tuple(dict.fromkeys(await resolve(host, port)))
    except OSError as error:
        raise HostNotFound(f"{host} does not resolve") from error
    if not found:
        raise HostNotFound(f"{host} does not resolve")
    if not all(is_public(text) for text in found):
        raise DestinationRefused(f"{host} leads to an address that is not public")
    return Destination(url=parsed, host=host, port=port, addresses=found)


def parse_url(url: str | URL) -> URL:
    """An absolute http(s) URL whose host is a plain name or a canonical address, without credentials. Else `BadUrl`."""
    text = str(url)
    if any(character <= " " or character in '\\<>"^`{|}' or character == "\x7f" for character in text):
        raise _bad("it contains a character that URLs do not have")
    try:
        parsed, authority = URL(text), urlsplit(text).netloc
        port = parsed.port
    except ValueError as error:
        raise _bad(str(error)) from error
    if parsed.scheme not in {"http", "https"} or not parsed.raw_host or not port:
        raise _bad("only absolute http and https URLs are requested")
    if parsed.raw_user is not None or parsed.raw_password is not None or "@" in authority:
        raise _bad("credentials do not belong into it")
    host = parsed.raw_host.removesuffix(".")
    if not authority.isascii() or "%" in authority:
        raise _bad("write the host in plain ASCII (an international name in its xn-- form)")
    if _address(host) is None and (_looks_like_a_number(host) or not _NAME.match(host)):
        raise _bad("the host is neither a name nor an address in its usual form")
    return parsed


def is_public(text: str) -> bool:
    """Whether `text` is an address on the public Internet. What is no address is not."""
    address = _address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _NOT_PUBLIC_4)
    # Mapped, compatible and NAT64 forms of IPv4, loopback, local and multicast addresses are all outside 2000::/3.
    return address is not None and address in _UNICAST_6 and not any(address in block for block in _NOT_PUBLIC_6)


def leads_inside(url: str) -> bool:
    """Whether the host of `url` is an address that is not public, or a name that only one's own network knows: one
    without a dot, or below a suffix kept for such (RFC 6761, 6762, 8375, and `internal`). Nothing is resolved.
    """
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if _address(host.partition("%")[0]) is not None:
        return not is_public(host)
    return bool(host) and ("." not in host or host.endswith(_INSIDE)) and not _looks_like_a_number(host)


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _looks_like_a_number(host: str) -> bool:
    """Whether a C library would read the host as an IPv4 address: 2130706433, 0x7f.1, 127.1, 0177.0.0.1."""
    return _NUMBER.match(host.lower().rpartition(".")[2]) is not None


def _split(entry: str) -> tuple[str, int | None]:
    host, separator, port = entry.rpartition(":")
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        separator, port = port[:1], port[1:]
    elif not separator or ":" in host:
        return entry, None
    if separator != ":" or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{entry!r}: the port is missing or wrong")
    return host, int(port)


def _bad(reason: str) -> BadUrl:
    return BadUrl(f"the URL is refused: {reason}", fields={"url": reason})
