"""Size and content of a run's workspace, seen from outside while code that is not trusted may be changing it."""

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

MAX_ENTRIES = 10_000
MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class SandboxFile:
    """A file that a run made or changed: its path within the workspace and its size in bytes."""

    path: str
    bytes: int


@dataclass(slots=True)
class Inventory:
    """What a workspace holds: apparent size, number of entries, and per file what tells a change.

    `unseen` says why not all of it was looked at: what cannot be seen cannot be counted.
    """

    total_bytes: int = 0
    entries: int = 0
    unseen: str | None = None
    files: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def excess(self, max_bytes: int) -> str | None:
        """Why this is too much, or None."""
        if self.total_bytes > max_bytes:
            return f"the workspace holds {self.total_bytes} bytes, {max_bytes} are allowed"
        if self.entries > MAX_ENTRIES:
            return f"the workspace holds more than {MAX_ENTRIES} files and directories"
        return self.unseen

    def changed_since(self, before: "Inventory") -> tuple[SandboxFile, ...]:
        """The files that are new or different, in the order of their paths."""
        different = (path for path, mark in self.files.items() if before.files.get(path) != mark)
        return tuple(SandboxFile(path, self.files[path][0]) for path in sorted(different))


def take_inventory(root: Path) -> Inventory:
    """Walk `root` without following a link; what disappears meanwhile is left out. Stops soon after `MAX_ENTRIES`."""
    found = Inventory()
    waiting = [(str(root), "")]
    while waiting and found.entries <= MAX_ENTRIES:
        place, prefix = waiting.pop()
        if prefix.count("/") > MAX_DEPTH:
            found.unseen = f"the workspace has directories more than {MAX_DEPTH} deep"
            continue
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    _count(entry, prefix + entry.name, found, waiting)
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed, or no longer a directory
        except OSError as error:
            found.unseen = f"the workspace has a directory that cannot be looked into ({error.strerror})"
    return found


def _count(entry: os.DirEntry[str], name: str, found: Inventory, waiting: list[tuple[str, str]]) -> None:
    found.entries += 1
    if entry.is_dir(follow_symlinks=False):
        waiting.append((entry.path, f"{name}/"))
    elif entry.is_file(follow_symlinks=False):
        with suppress(FileNotFoundError):
            state = entry.stat(follow_symlinks=False)
            found.total_bytes += state.st_size
            found.files[name] = (state.st_size, state.st_mtime_ns, state.st_ino)


def free_bytes(place: Path) -> int:
    """What the file system of `place` has room for."""
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize


def remove_tree(root: Path) -> None:
    """Remove `root` and all in it, however deep and whatever rights its directories have; never raises."""
    with suppress(OSError, RecursionError):
        shutil.rmtree(root)  # on Python 3.11 it calls itself, and keeps a file open, at each level
    if root.exists():
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(root)], check=False, capture_output=True)  # noqa: S603 - all ours


def can_be_reached_by_others(path: Path) -> bool:
    """Whether an account without rights of its own can pass every directory above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def hand_over(root: Path, uid: int) -> None:
    """Make `uid` the owner of the workspace and all in it. Only for root; follows no link."""
    os.chown(root, uid, uid)
    for _, directories, files, place in os.fwalk(root, follow_symlinks=False):
        for name in (*directories, *files):
            os.chown(name, uid, uid, dir_fd=place, follow_symlinks=False)
