"""A PostgreSQL of a module's own that can be frozen: its processes stand still, its kernel still takes what is sent."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from tests.servers import TestDatabase, TestServers, create_database, scratch_dir

from cognitionos.platform import migrations
from cognitionos.platform.embedded import EmbeddedServers
from cognitionos.platform.embedded.postgres import PostgresOptions


@dataclass(frozen=True)
class OwnPostgres:
    """The server and a migrated database on it."""

    postmaster: int
    database: TestDatabase

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside of it no process of the server does anything."""
        with psycopg.connect(self.database.admin_url) as admin:
            os.kill(self.postmaster, signal.SIGSTOP)  # first: it starts no other
            stopped = [self.postmaster]
            pids = [int(pid) for (pid,) in admin.execute("SELECT pid FROM pg_stat_activity").fetchall()]
            try:
                for pid in sorted(pids, key=lambda pid: pid == admin.info.backend_pid):
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
                yield
            finally:
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """A server with a migrated database, until the end of the block."""
    with scratch_dir() as folder:
        servers = EmbeddedServers(folder, postgres=PostgresOptions(durable=False), valkey=False)
        urls = servers.start()
        try:
            database = create_database(TestServers(urls.admin or "", ""))
            migrations.upgrade(database.owner_url)
            assert servers.postgres is not None
            assert servers.postgres.process is not None
            yield OwnPostgres(servers.postgres.process.pid, database)
        finally:
            servers.stop()
