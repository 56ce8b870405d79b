"""A test's own database that is gone for a while, on a server that others share."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from tests.conftest import TestDatabase


@contextmanager
def lost(database: TestDatabase) -> Iterator[None]:
    """Inside of it every connection to `database` is cut and none is made."""
    parts = urlsplit(database.admin_url)
    name = sql.Identifier(parts.path.lstrip("/"))
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as admin:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        admin.execute(allow.format(name, sql.SQL("false")))
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [parts.path.lstrip("/")]
            )
            yield
        finally:
            admin.execute(allow.format(name, sql.SQL("true")))
