"""The account that servers run as: ourselves, or, started as root, an existing account without privileges.

PostgreSQL refuses to run as root. Such an account cannot pass a 0700 directory, so reach is asked before use.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from cognitionos.kernel.errors import Unavailable

# `nobody` last: agents' sandboxes may run as it, and they must not own the database's files
_CANDIDATES = ("postgres", "daemon", "nobody")


class NoAccount(Unavailable):
    """Started as root and no unprivileged account exists."""


@dataclass(frozen=True, slots=True)
class Account:
    """An existing user of the system."""

    name: str
    uid: int
    gid: int


def server_account(existing: Path | None = None) -> Account | None:
    """None when we are not root. `existing` data keep their owner, so a new account on the system changes nothing."""
    if os.geteuid() != 0:
        return None
    if existing is not None and existing.exists() and (owner := existing.stat().st_uid) != 0:
        entry = pwd.getpwuid(owner)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise NoAccount(f"running as root needs one of the accounts {', '.join(_CANDIDATES)}; or start as another user")


def can_reach(account: Account, path: Path) -> bool:
    """Whether `account` may pass every directory above `path` and read and execute it (mode bits; no ACLs)."""
    resolved = path.resolve()
    return all(_may_pass(account, place) for place in (resolved, *resolved.parents) if place.exists())


def _may_pass(account: Account, path: Path) -> bool:
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
