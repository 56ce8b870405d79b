"""Advisory locks on a data directory."""

import fcntl
import os
import time
from pathlib import Path

from cognitionos.kernel.errors import Conflict


class DataDirectoryInUse(Conflict):
    """Another process works in this data directory."""


class DirectoryLock:
    """An exclusive `flock`; its file names the holder's pid.

    Children that inherit `fd` hold it too: it is free only when the last of them has gone, so whoever gets it knows
    that no server of an earlier, killed supervisor is still at work.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self, *, timeout_s: float = 0.0) -> None:
        """Raise `DataDirectoryInUse`, naming the holder, when it is not free within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not self._try():
            if time.monotonic() >= deadline:
                holder = self.path.read_text().strip() or "unknown"
                raise DataDirectoryInUse(f"{self.path.parent} is in use by process {holder}")
            time.sleep(0.02)
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)

    @classmethod
    def holder(cls, path: Path) -> int | None:
        """The pid that holds the lock at `path`; None when it is free."""
        if not path.exists():
            return None
        lock = cls(path)
        try:
            return None if lock._try() else int(path.read_text().strip() or 0) or None
        finally:
            lock.close()

    def close(self) -> None:
        """Let go of our own hold."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
