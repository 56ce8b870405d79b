"""Where embedded servers keep their files, given the directory that the operator asked for."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.embedded.account import Account, can_reach, server_account
from cognitionos.platform.embedded.binaries import SHARED_HOME

# sun_path holds 108 bytes with its end marker; the longest name below is PostgreSQL's lock file
_SOCKET_DIR_LIMIT = 107 - len("/.s.PGSQL.5432.lock")


class NoPlaceForServers(Unavailable):
    """The servers' account can reach neither the data directory nor the shared one."""


@dataclass(frozen=True, slots=True)
class Placement:
    """`home` holds the servers' data and belongs to `account` alone (None: to us)."""

    home: Path
    account: Account | None

    def make_private(self, path: Path) -> Path:
        """Make `path` a directory of the servers' account with mode 0700."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None and path.stat().st_uid != self.account.uid:
            os.chown(path, self.account.uid, self.account.gid)
        path.chmod(0o700)
        return path

    def socket_dir(self) -> Path:
        """An empty private directory with a path short enough for unix sockets. The caller holds the servers' lock."""
        usual = self.home / "run"
        if usual.is_symlink():  # of an earlier start with a long path
            shutil.rmtree(usual.readlink(), ignore_errors=True)
            usual.unlink()
        shutil.rmtree(usual, ignore_errors=True)
        if len(os.fsencode(usual)) <= _SOCKET_DIR_LIMIT:
            return self.make_private(usual)
        short = self.make_private(Path(tempfile.mkdtemp(prefix="cognitionos-", dir="/tmp")))
        usual.symlink_to(short)
        return short


def make_data_directory(data_dir: Path) -> Path:
    """Make `data_dir` (absolute path returned) if it is missing; a new or empty one becomes private.

    As root, the servers' account may pass through it, and see nothing. A directory with content keeps its modes.
    """
    asked = data_dir.absolute()
    fresh = not asked.exists() or not any(asked.iterdir())
    asked.mkdir(mode=0o700, parents=True, exist_ok=True)
    if fresh:
        account = server_account()
        if account is not None:
            os.chown(asked, -1, account.gid)
        asked.chmod(0o700 if account is None else 0o710)
    return asked


def place(data_dir: Path) -> Placement:
    """Choose and make `home`: inside `data_dir`, or, where the servers' account cannot go, below `SHARED_HOME`."""
    asked = make_data_directory(data_dir)
    home = asked / "servers"
    elsewhere = SHARED_HOME / hashlib.sha256(os.fsencode(asked.resolve())).hexdigest()[:16]
    account = server_account(existing=home if home.exists() else elsewhere)
    if account is not None and not can_reach(account, asked):
        home = elsewhere
        SHARED_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not can_reach(account, SHARED_HOME):
            raise NoPlaceForServers(f"{account.name} can reach neither {asked} nor {SHARED_HOME}")
    placement = Placement(home, account)
    placement.make_private(home)
    return placement
