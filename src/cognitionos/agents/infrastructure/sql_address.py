"""Where a configured database is: a PostgreSQL URL, taken apart, its host tested as every address that users name is.

Only what is named here reaches the driver: no option of the URL can read a file, pick another host or send a setting,
and nothing is taken from our own environment.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cognitionos.kernel.errors import Invalid, Unavailable
from cognitionos.platform.http_address import AllowedHosts, DestinationRefused, Resolve, is_public, resolve_by_system

_LOOK_UP_S = 5.0
_HOST = re.compile(r"[A-Za-z0-9_.:-]+\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_MODES = frozenset({"disable", "prefer", "require", "verify-ca", "verify-full"})


class BadDatabaseUrl(Invalid):
    """Not `postgresql://account:password@host:port/database`, with at most `?sslmode=`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """A database and the account to use there."""

    host: str
    port: int
    database: str
    account: str
    password: str
    sslmode: str

    @classmethod
    def parse(cls, url: str) -> "DatabaseAddress":
        """Take `url` apart. Raises `BadDatabaseUrl`."""
        try:
            parts = urlsplit(url)
            port = parts.port or 5432
            options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise _bad(str(error)) from error
        database, account = unquote(parts.path.lstrip("/")), unquote(parts.username or "")
        if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname or not database or not account:
            raise _bad("write postgresql://account:password@host:port/database")
        sslmode = options.pop("sslmode", ["prefer"])[-1]
        if options or sslmode not in _MODES:
            raise _bad("of options, it may have sslmode only")
        given = (parts.hostname, database, account, unquote(parts.password or ""))
        if not _HOST.match(parts.hostname) or any(map(_UNPRINTABLE.search, given)):
            raise _bad("it names one host, in plain characters")
        host, database, account, password = given
        return cls(host=host, port=port, database=database, account=account, password=password, sslmode=sslmode)

    async def tested(self, allowed: AllowedHosts, *, resolve: Resolve = resolve_by_system) -> str:
        """The address to connect to. Raises `DestinationRefused`, `Unavailable`."""
        try:
            literal = ip_address(self.host)
        except ValueError:
            literal = None
        if literal is not None:
            found, is_named = [str(literal)], allowed.opens(literal, self.port)
        else:
            is_named = allowed.has_name(self.host, self.port)
            try:
                async with asyncio.timeout(_LOOK_UP_S):
                    found = list(await resolve(self.host, self.port))
            except (OSError, TimeoutError) as error:
                raise Unavailable(f"{self.host} does not resolve") from error
        if not found or (not is_named and not all(map(is_public, found))):
            raise DestinationRefused(f"{self.host} leads to an address that is not public; the operator may allow it")
        return found[0]

    def connect_options(self, address: str) -> Mapping[str, Any]:
        """The driver's options; every one that it would otherwise look for in our environment is given."""
        return {
            "host": self.host,
            "hostaddr": address,
            "port": self.port,
            "dbname": self.database,
            "user": self.account,
            "password": self.password,
            "sslmode": self.sslmode,
            "sslrootcert": "system" if self.sslmode == "verify-full" else "/nowhere",
            "sslcert": "/nowhere",
            "sslkey": "/nowhere",
            "passfile": "/nowhere",
            "gssencmode": "disable",
            "channel_binding": "prefer",
            "target_session_attrs": "any",
            "application_name": "cognitionos sql tool",
            "options": "",
            "client_encoding": "utf8",  # of a database that names none (SQL_ASCII) texts would come as bytes
            "connect_timeout": 10,
        }


def _bad(reason: str) -> BadDatabaseUrl:
    return BadDatabaseUrl(f"The address of the database is refused: {reason}.", fields={"url": reason})
