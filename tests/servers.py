"""A PostgreSQL and a Redis for the tests: given by the environment, by a Docker engine, or embedded; never skipped."""

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg

from cognitionos.platform import migrations
from cognitionos.platform.embedded import EmbeddedServers
from cognitionos.platform.embedded.postgres import PostgresOptions

BOOTSTRAP = Path(migrations.__file__).with_name("bootstrap.sql")
# one fixed password, so that two test runs on one shared server do not lock each other out
_ROLE_PASSWORD = "cognitionos-tests"
_ONE_AT_A_TIME = 7_310_001  # advisory lock: roles belong to the whole server


@dataclass(frozen=True, slots=True)
class TestServers:
    """`postgres_url` is a superuser's, to any database; `redis_url` is without a database number."""

    __test__ = False

    postgres_url: str
    redis_url: str


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """One database, as each of the roles that matter; `admin_url` is the superuser's."""

    __test__ = False

    app_url: str
    owner_url: str
    admin_url: str


@contextlib.contextmanager
def running_servers() -> Iterator[TestServers]:
    """Servers from TEST_DATABASE_URL / TEST_REDIS_URL, else from Docker where an engine answers, else embedded."""
    postgres_url, redis_url = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    with contextlib.ExitStack() as stack:
        if postgres_url is None or redis_url is None:
            start = _in_containers if docker_answers() else _embedded
            started = stack.enter_context(start(postgres=postgres_url is None, redis=redis_url is None))
            postgres_url, redis_url = postgres_url or started.postgres_url, redis_url or started.redis_url
        yield TestServers(postgres_url, redis_url)


def docker_answers() -> bool:
    """Whether an engine listens on Docker's socket (a local connect: no waiting, no client start-up)."""
    host = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    if host.scheme != "unix":
        return bool(host.scheme)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(host.path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


@contextlib.contextmanager
def scratch_dir() -> Iterator[Path]:
    """A directory for servers: short for unix sockets and, unlike pytest's own, not below a 0700 directory."""
    path = Path(tempfile.mkdtemp(prefix="cos-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def make_template(servers: TestServers) -> TestDatabase:
    """Make a database with everything of bootstrap.sql and all migrations, to be cloned and in the end dropped."""
    template = create_database(servers)
    migrations.upgrade(template.owner_url)
    return template


def create_database(servers: TestServers, *, template: TestDatabase | None = None) -> TestDatabase:
    """A fresh bootstrapped database, or a clone of `template` (which nobody may be connected to)."""
    name = f"test_{uuid4().hex[:12]}"
    source = f'TEMPLATE "{database_name(template)}"' if template else ""
    with psycopg.connect(servers.postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" {source}'.encode())
    admin_url = with_database(servers.postgres_url, name)
    with psycopg.connect(admin_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_ONE_AT_A_TIME])
        connection.execute(BOOTSTRAP.read_bytes())
        for role in ("cognitionos_app", "cognitionos_owner"):
            connection.execute(f"ALTER ROLE {role} PASSWORD '{_ROLE_PASSWORD}'".encode())
    return TestDatabase(
        app_url=_as_role(admin_url, "cognitionos_app"),
        owner_url=_as_role(admin_url, "cognitionos_owner"),
        admin_url=admin_url,
    )


def drop_database(servers: TestServers, database: TestDatabase) -> None:
    """Drop it, whoever is still connected."""
    with psycopg.connect(servers.postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{database_name(database)}" WITH (FORCE)'.encode())


def database_name(database: TestDatabase) -> str:
    """Its name on the server."""
    return urlsplit(database.admin_url).path.lstrip("/")


def redis_database(servers: TestServers, number: int) -> str:
    """The URL of one of the server's numbered databases."""
    if servers.redis_url.startswith("unix:"):
        return f"{servers.redis_url.split('?')[0]}?db={number}"
    return urlunsplit(urlsplit(servers.redis_url)._replace(path=f"/{number}"))


@contextlib.contextmanager
def _embedded(*, postgres: bool, redis: bool) -> Iterator[TestServers]:
    options = PostgresOptions(durable=False) if postgres else None
    with scratch_dir() as data_dir:
        servers = EmbeddedServers(data_dir, postgres=options, valkey=redis)
        try:
            urls = servers.start()
            yield TestServers(urls.admin or "", urls.redis or "")
        finally:
            servers.stop()
            shutil.rmtree(servers.placement.home, ignore_errors=True)


@contextlib.contextmanager
def _in_containers(*, postgres: bool, redis: bool) -> Iterator[TestServers]:
    from testcontainers.community.postgres import PostgresContainer
    from testcontainers.community.redis import RedisContainer

    postgres_url = redis_url = ""
    with contextlib.ExitStack() as stack:
        if postgres:
            database = stack.enter_context(PostgresContainer("pgvector/pgvector:pg18", driver=None))
            postgres_url = database.get_connection_url()
        if redis:
            cache = stack.enter_context(RedisContainer("redis:8-alpine"))
            redis_url = f"redis://{cache.get_container_host_ip()}:{cache.get_exposed_port(6379)}/0"
        yield TestServers(postgres_url, redis_url)


def with_database(url: str, name: str) -> str:
    """`url` of another database on the same server."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")


def _as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    is_socket = parse_qs(parts.query).get("host", [""])[0].startswith("/")
    password = "" if is_socket else f":{quote(_ROLE_PASSWORD)}"
    server = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{role}{password}@{server}{parts.path}" + (f"?{parts.query}" if parts.query else "")
