"""Files of a run's workspace, for tools: list, read, write, delete, never a step outside.

Every path is walked directory by directory with `O_NOFOLLOW` from an open root, so that no link, planted before or
swapped in meanwhile, is followed. The methods block: call them from a thread.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cognitionos.agents.infrastructure.sandbox_workspace import SandboxFile, take_inventory
from cognitionos.kernel.errors import Invalid, LimitExceeded, NotFound

_MAX_DEPTH, _MAX_PATH = 32, 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class WorkspacePathRefused(Invalid):
    """The path leaves the workspace, goes through a link, or is not that of a file."""


class WorkspaceFileNotFound(NotFound):
    """There is no such file in the workspace."""


class WorkspaceFileTooLarge(LimitExceeded):
    """The file is larger than a tool may read or write."""


class WorkspaceFull(LimitExceeded):
    """Writing this would make the workspace larger than it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFiles:
    """The files below `root`, an existing directory. Sizes in bytes."""

    root: Path
    max_file_bytes: int = 16 * 2**20
    max_total_bytes: int = 256 * 2**20

    def list(self) -> tuple[SandboxFile, ...]:
        """Every regular file in the order of the paths; links and other things are left out."""
        files = take_inventory(self.root).files
        return tuple(SandboxFile(path, files[path][0]) for path in sorted(files))

    def read(self, path: str) -> bytes:
        """The content of the file at `path`."""
        with self._parent_of(path) as (place, name), _told_as(path):
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
            with os.fdopen(file, "rb") as source:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise _refused(path, "it is not a regular file")
                content = source.read(self.max_file_bytes + 1)
        if len(content) > self.max_file_bytes:
            raise WorkspaceFileTooLarge(
                f"{path} is larger than {self.max_file_bytes} bytes", fields={"path": "too large"}
            )
        return content

    def write(self, path: str, content: bytes) -> SandboxFile:
        """Make or replace the file at `path`, whole or not at all; missing directories are made."""
        if len(content) > self.max_file_bytes:
            detail = f"{len(content)} bytes are more than the {self.max_file_bytes} that a file may have"
            raise WorkspaceFileTooLarge(detail, fields={"content": "too large"})
        with self._parent_of(path, make=True) as (place, name), _told_as(path):
            replaced = _size_of_file(path, name, place)
            total = take_inventory(self.root).total_bytes - replaced + len(content)
            if total > self.max_total_bytes:
                raise WorkspaceFull(f"the workspace would hold {total} bytes, {self.max_total_bytes} are allowed")
            _replace(name, place, content)
        return SandboxFile("/".join(_parts(path)), len(content))

    def delete(self, path: str) -> None:
        """Remove the file at `path`. A link is removed, not what it points to."""
        with self._parent_of(path) as (place, name), _told_as(path):
            if stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                raise _refused(path, "it is a directory")
            os.unlink(name, dir_fd=place)

    @contextmanager
    def _parent_of(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open directory that holds the last part of `path`, and that part."""
        *directories, name = _parts(path)
        place = os.open(self.root, _DIRECTORY)
        try:
            for directory in directories:
                with _told_as(path):
                    place = _step(place, directory, make=make)
            yield place, name
        finally:
            os.close(place)


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.startswith("/"):
        raise _refused(path, "paths are relative to the workspace")
    if ".." in parts:
        raise _refused(path, "'..' is not allowed")
    if not parts or path.endswith("/"):
        raise _refused(path, "it names no file")
    if any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in path):
        raise _refused(path, "it contains a control character")
    if len(parts) > _MAX_DEPTH or len(path.encode()) > _MAX_PATH or any(len(part.encode()) > 255 for part in parts):
        raise _refused(path, "it is too long")
    return parts


def _step(place: int, directory: str, *, make: bool) -> int:
    """Go down one directory and close the one above; when it fails, the one above stays open for the caller."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(directory, 0o755, dir_fd=place)
    below = os.open(directory, _DIRECTORY, dir_fd=place)
    os.close(place)
    return below


def _size_of_file(path: str, name: str, place: int) -> int:
    try:
        state = os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(state.st_mode):
        raise _refused(path, "something that is not a regular file has this name")
    return state.st_size


def _replace(name: str, place: int, content: bytes) -> None:
    draft = f".{secrets.token_hex(8)}.part"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=place)
    try:
        with os.fdopen(file, "wb") as target:
            target.write(content)
        os.replace(draft, name, src_dir_fd=place, dst_dir_fd=place)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=place)
        raise


@contextmanager
def _told_as(path: str) -> Iterator[None]:
    """Turn what the system says about a path into what the caller can understand."""
    try:
        yield
    except FileNotFoundError as error:
        raise WorkspaceFileNotFound(
            f"there is no file {path!r} in the workspace", fields={"path": "not found"}
        ) from error
    except IsADirectoryError as error:
        raise _refused(path, "it is a directory") from error
    except OSError as error:  # a link on the way (ELOOP), a file used as a directory, no rights
        raise _refused(path, error.strerror or "the system refuses it") from error


def _refused(path: str, reason: str) -> WorkspacePathRefused:
    return WorkspacePathRefused(f"{path!r} is refused: {reason}", fields={"path": reason})
