"""Valkey (speaks Redis) on a unix socket. It keeps nothing on disk: Redis is for speed only."""

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from cognitionos.platform.embedded.account import Account
from cognitionos.platform.embedded.binaries import valkey_for
from cognitionos.platform.embedded.child import roll, spawn, stop, tail
from cognitionos.platform.embedded.starting import ServerDidNotStart

_START_TIMEOUT_S = 10.0


class ValkeyServer:
    """One server process; `start`, `wait_ready`, `stop` may be repeated in this order."""

    def __init__(self, *, socket_dir: Path, log: Path, account: Account | None, keep_fds: Sequence[int] = ()) -> None:
        self.socket = socket_dir / "valkey.sock"
        self.name = "valkey"
        self.process: subprocess.Popen[bytes] | None = None
        self._binary = valkey_for(account)
        self._log = log
        self._account = account
        self._keep_fds = keep_fds

    @property
    def url(self) -> str:
        """For `redis.from_url`."""
        return f"unix://{self.socket}?db=0"

    def start(self) -> None:
        """Start the process; `wait_ready` says when it answers."""
        roll(self._log)
        command: list[str | Path] = [
            self._binary,
            "--port",
            "0",
            "--unixsocket",
            self.socket,
            "--unixsocketperm",
            "700",
        ]
        command += ["--dir", self.socket.parent, "--save", "", "--appendonly", "no", "--daemonize", "no"]
        # volatile-lru evicts caches, which expire, and never a queued message, which does not
        command += ["--maxmemory", "256mb", "--maxmemory-policy", "volatile-lru"]
        self.process = spawn(
            command,
            log=self._log,
            death_signal=signal.SIGTERM,
            account=self._account,
            env={"LC_ALL": "C"},
            keep_fds=self._keep_fds,
        )

    def wait_ready(self) -> None:
        """Return when our own child answers; raise `ServerDidNotStart` with the end of its log."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerDidNotStart(f"valkey did not start:\n{tail(self._log)}")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop it; nothing is saved."""
        if self.process is not None:
            stop(self.process, signal.SIGTERM, timeout_s=5)

    def _answers(self) -> bool:
        if self.process is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(str(self.socket))
                connection.sendall(b"INFO server\r\n")
                answer = connection.recv(8192)
        except OSError:
            return False
        return f"process_id:{self.process.pid}\r\n".encode() in answer
