"""Both servers of one data directory, started together and stopped together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cognitionos.platform.embedded.locks import DirectoryLock
from cognitionos.platform.embedded.placement import place
from cognitionos.platform.embedded.postgres import PostgresOptions, PostgresServer
from cognitionos.platform.embedded.valkey import ValkeyServer

# servers of a supervisor killed a moment ago are given this long to go
_FORMER_SERVERS_S = 10.0
_USUAL = PostgresOptions()


@dataclass(frozen=True, slots=True)
class ServerUrls:
    """How to connect: as each role of bootstrap.sql, as superuser (`admin`), and to Redis. None: not started here."""

    app: str | None
    owner: str | None
    admin: str | None
    redis: str | None


class EmbeddedServers:
    """PostgreSQL with the database, roles and extension in place, and Valkey, as children of this process.

    They end when this process ends, however it ends. Start from the main thread only. Raises `DataDirectoryInUse`,
    `ServerMissing`, `ServerDidNotStart`.
    """

    def __init__(self, data_dir: Path, *, postgres: PostgresOptions | None = _USUAL, valkey: bool = True) -> None:
        self.placement = place(data_dir)
        self.lock = DirectoryLock(self.placement.home / "servers.lock")
        self.lock.acquire(timeout_s=_FORMER_SERVERS_S)
        logs = data_dir.absolute() / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        self.socket_dir = self.placement.socket_dir()
        self.postgres = (
            PostgresServer(
                placement=self.placement,
                socket_dir=self.socket_dir,
                log=logs / "postgres.log",
                options=postgres,
                keep_fds=(self.lock.fd,),
            )
            if postgres
            else None
        )
        self.valkey = (
            ValkeyServer(
                socket_dir=self.socket_dir,
                log=logs / "valkey.log",
                account=self.placement.account,
                keep_fds=(self.lock.fd,),
            )
            if valkey
            else None
        )

    def start(self) -> ServerUrls:
        """Return once both answer; stop what was started when one does not."""
        self.begin()
        self.finish()
        return self.urls

    def begin(self) -> None:
        """Set both going (a new cluster: its making), and return at once."""
        with self._stopped_on_error():
            if self.postgres:
                self.postgres.prepare()
            if self.valkey:
                self.valkey.start()

    def finish(self) -> None:
        """Return once both answer and the database, roles and extension are there."""
        with self._stopped_on_error():
            if self.postgres:
                self.postgres.start()
                import psycopg  # noqa: F401 - takes as long as the server's start

                self.postgres.wait_ready()
                self.postgres.ensure_database()
            if self.valkey:
                self.valkey.wait_ready()

    @property
    def urls(self) -> ServerUrls:
        """Valid while the servers run."""
        db = self.postgres
        return ServerUrls(
            app=db.url("cognitionos_app") if db else None,
            owner=db.url("cognitionos_owner") if db else None,
            admin=db.url("postgres") if db else None,
            redis=self.valkey.url if self.valkey else None,
        )

    def stop(self) -> None:
        """Stop both and let go of the directory. Safe to repeat."""
        if self.valkey:
            self.valkey.stop()
        if self.postgres:
            self.postgres.stop()
        self.lock.close()

    @contextmanager
    def _stopped_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.stop()
            raise
