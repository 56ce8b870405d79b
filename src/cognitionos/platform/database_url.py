"""A database's URL: shown without its password, and tried before a command does anything with it."""

import re

import psycopg

from cognitionos.kernel.errors import Conflict, Unavailable

_CONNECT_WITHIN_S = 3
ENCODING = "UTF8"
ENCODING_REMEDY = "create it with ENCODING 'UTF8' TEMPLATE template0"
_SECRETS = (
    (re.compile(r"(://[^:@/?]*):.*@"), r"\1:***@"),
    (re.compile(r"\b(password|sslpassword)=('[^']*'|[^&\s]*)"), r"\1=***"),
)


class DatabaseUnreachable(Unavailable):
    """PostgreSQL does not answer at a URL, or does not let us in."""


class DatabaseUnfit(Conflict):
    """The database at a URL was made in a way that we cannot work with."""


def require_database(url: str, *, remedy: str) -> None:
    """Return when a connection to `url` succeeds within 3 s, else raise `DatabaseUnreachable` with the `remedy`.

    Raises `DatabaseUnfit` for a database that does not keep its texts as UTF-8.
    """
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_WITHIN_S) as connection:
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != ENCODING:
                raise DatabaseUnfit(f"the database at {redacted(url)} has the encoding {encoding}: {ENCODING_REMEDY}")
    except psycopg.Error as error:
        reasons = str(error).strip().splitlines() or ["no answer"]
        raise DatabaseUnreachable(f"no database at {redacted(url)}: {_brief(reasons[0])}. {remedy}") from None


def redacted(url: str) -> str:
    """`url` (or a libpq connection string) without its password."""
    for secret, shown in _SECRETS:
        url = secret.sub(shown, url)
    return url


def _brief(reason: str) -> str:
    """What libpq says, without the address that we have named already."""
    return reason.rpartition(" failed: ")[2].removeprefix("connection failed: ").strip()
