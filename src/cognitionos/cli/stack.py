"""Everything `cognitionos up` runs, in order: servers, schema, key, API and worker."""

import json
import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cognitionos.cli.listening import answers_ready, free_port, public_url
from cognitionos.cli.note import KEY_FILE, RUNNING_FILE, SECRET_FILE
from cognitionos.cli.program import Program, ProgramFailed
from cognitionos.cli.supervision import Interrupts, Member, Supervisor
from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.draining import DRAIN_S, ENDING_S
from cognitionos.platform.embedded.child import tail
from cognitionos.platform.embedded.locks import DirectoryLock
from cognitionos.platform.embedded.placement import make_data_directory
from cognitionos.platform.embedded.postgres import PostgresOptions
from cognitionos.platform.embedded.servers import EmbeddedServers, ServerUrls

LOCK_FILE = "supervisor.lock"
_MIGRATION_TIMEOUT_S = 3600.0
_TENANT_TIMEOUT_S = 60.0
_READY_TIMEOUT_S = 60.0
_WORKER_DRAIN_S = 27.0  # the worker hands back within 10 s, then lets background jobs end within 15
_POLL_S = 0.02


class Interrupted(Unavailable):
    """Asked to stop before everything was ready."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a caller needs: the one line of `--json`."""

    url: str
    api_key: str
    pid: int


class Stack:
    """The stack of one data directory: `start`, `watch`, `stop`."""

    def __init__(self, data_dir: Path, *, host: str, interrupts: Interrupts, say: Callable[[str], None]) -> None:
        self.data_dir = data_dir.absolute()
        self._host = host
        self._interrupts = interrupts
        self._say = say
        self._cleanup = ExitStack()
        self._members: list[Member] = []

    def start(self, *, port: int) -> Running:
        """Return when everything is ready; port 0: any free one. Raises `DataDirectoryInUse`, `PortTaken`,
        `ServerDidNotStart`, `ProgramFailed`, `Interrupted`.
        """
        self._lock()
        port = free_port(self._host, port)
        servers = self._servers()
        url = public_url(self._host, port)
        servers.begin()
        env = self._environment(servers, port)
        web = self._program("web", "serve", env=env, drain_s=_web_drain_s())
        worker = self._program("worker", "work", env=env, drain_s=_WORKER_DRAIN_S)
        preparation = self._preparation(env)
        web.load()
        worker.load()
        servers.finish()
        self._prepare(preparation, env)
        self._members += [worker, web, *(server for server in (servers.valkey, servers.postgres) if server)]
        web.go()
        worker.go()
        self._until(preparation.has_ended_well, within_s=_TENANT_TIMEOUT_S, log=preparation.log)
        self._until(worker.has_reported_ready, within_s=_READY_TIMEOUT_S, log=worker.log)
        self._until(lambda: answers_ready(url), within_s=_READY_TIMEOUT_S, log=web.log)
        running = Running(url=url, api_key=(self.data_dir / KEY_FILE).read_text().strip(), pid=os.getpid())
        self._announce(running, servers.urls)
        return running

    def watch(self) -> None:
        """Keep everything running until asked to stop."""
        Supervisor(self._members, interrupts=self._interrupts, say=self._say).watch()

    def stop(self) -> None:
        """Worker first (claims no more, hands back), then the API, then the servers. Safe at any time."""
        self._cleanup.close()

    def _lock(self) -> None:
        """The directory is there and ours alone, or `DataDirectoryInUse`."""
        make_data_directory(self.data_dir)
        lock = DirectoryLock(self.data_dir / LOCK_FILE)
        self._cleanup.callback(lock.close)
        lock.acquire()

    def _servers(self) -> EmbeddedServers:
        """The servers that nobody gave us, not yet started."""
        servers = EmbeddedServers(
            self.data_dir,
            postgres=None if _given("DATABASE_URL") else PostgresOptions(),
            valkey=not _given("REDIS_URL"),
        )
        self._cleanup.callback(servers.stop)
        return servers

    def _environment(self, servers: EmbeddedServers, port: int) -> dict[str, str]:
        """The settings of our children, beside what we were given."""
        settings = {
            "COGNITIONOS_DATA_DIR": str(self.data_dir),
            "COGNITIONOS_HOST": self._host,
            "COGNITIONOS_PORT": str(port),
            "DATABASE_URL": servers.urls.app,
            "MIGRATION_DATABASE_URL": servers.urls.owner,
            "REDIS_URL": servers.urls.redis,
        }
        if "COGNITIONOS_SECRET_KEY" not in os.environ:
            settings["COGNITIONOS_SECRET_KEY"] = self._secret_key()
        return {name: value for name, value in settings.items() if value is not None}

    def _secret_key(self) -> str:
        path = self.data_dir / SECRET_FILE
        if not path.exists():
            _write_private(path, secrets.token_urlsafe(32))
        return path.read_text().strip()

    def _program(self, name: str, *arguments: str, env: dict[str, str], drain_s: float = 5.0) -> Program:
        program = Program(name, *arguments, log=self.data_dir / "logs" / f"{name}.log", env=env, drain_s=drain_s)
        self._cleanup.callback(program.stop)
        return program

    def _preparation(self, env: dict[str, str]) -> Program:
        """The one-time program: loaded ahead in a new directory, else only at hand."""
        key_file = self.data_dir / KEY_FILE
        if key_file.exists():
            return self._program("migrate", "migrate", env=env)
        program = self._program("prepare", "prepare", "--key-file", str(key_file), env=env)
        program.load()
        return program

    def _prepare(self, program: Program, env: dict[str, str]) -> None:
        """Return when the schema is up to date; with a key at hand and nothing to migrate that costs one query."""
        from cognitionos.platform import migrations

        if program.process is None:
            url = env.get("MIGRATION_DATABASE_URL") or _given("MIGRATION_DATABASE_URL") or _given("DATABASE_URL")
            if url is not None and migrations.is_current(url):
                return
            program.load()
        program.go()
        self._until(
            lambda: program.has_reported_ready() or program.has_ended_well(),
            within_s=_MIGRATION_TIMEOUT_S,
            log=program.log,
        )

    def _until(self, condition: Callable[[], bool], *, within_s: float, log: Path) -> None:
        waited_s = 0.0
        while not condition():
            for member in self._members:
                if member.process is not None and member.process.poll() is not None:
                    ended = self.data_dir / "logs" / f"{member.name}.log"
                    raise ProgramFailed(f"{member.name} ended while starting; {ended} ends with:\n{tail(ended)}")
            if self._interrupts.asked_to_stop:
                raise Interrupted("stopped before it was ready")
            if waited_s > within_s:
                raise ProgramFailed(f"not ready within {within_s:.0f} s; {log} ends with:\n{tail(log)}")
            waited_s += self._interrupts.wait(_POLL_S)

    def _announce(self, running: Running, servers: ServerUrls) -> None:
        """Leave a note for other commands: where this stack and its own servers answer. It holds no secret."""
        note = self.data_dir / RUNNING_FILE
        told = {"url": running.url, "pid": running.pid, "database_url": servers.app, "redis_url": servers.redis}
        _write_private(note, json.dumps(told))
        self._cleanup.callback(note.unlink, missing_ok=True)


def _web_drain_s() -> float:
    """What the API needs at most from SIGTERM to its end; the margin is that of the process around it."""
    return float(_given("DRAIN_S") or DRAIN_S) + ENDING_S + 1.0


def _given(name: str) -> str | None:
    """What the operator set; the names are those of `Settings`, which our children read."""
    return os.environ.get(f"COGNITIONOS_{name}") or os.environ.get(name)


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    fresh.replace(path)
