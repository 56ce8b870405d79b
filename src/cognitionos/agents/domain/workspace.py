"""A run's files. Inputs are what the goal came with and stay as they are; outputs are what agents wrote."""

import mimetypes
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Literal
from uuid import UUID

from cognitionos.kernel.errors import Conflict, Invalid, LimitExceeded, NotFound

Origin = Literal["input", "output"]

MAX_FILE_BYTES = 16 * 2**20
MAX_RUN_BYTES = 64 * 2**20
MAX_EARLIER_BYTES = MAX_RUN_BYTES
"""What is kept of a run's files that later tasks replaced or removed; the oldest are dropped first."""
MAX_RUN_FILES = 1_000
_MAX_PATH_BYTES, _MAX_PART_BYTES, _MAX_PARTS = 1024, 255, 32
_TEXTS = {".md": "text/markdown", ".csv": "text/csv", ".json": "application/json", ".txt": "text/plain"}


class FileNotFound(NotFound):
    """The run has no such file."""


class BadFileName(Invalid):
    """The name is not that of a file below the workspace."""


class InputIsReadOnly(Conflict):
    """The file is an input of the goal: agents write their own files beside it."""


class EarlierFileGone(Conflict):
    """A fork or a retry needs a file as an earlier task left it, which was dropped to make room for later ones."""


class WorkspaceLimit(LimitExceeded):
    """The file, or the run's files together, would be too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file of a run, without its content; as stored also which task wrote it last (none: an input), and when."""

    name: str
    media_type: str
    bytes: int
    sha256: str
    origin: Origin
    task_id: UUID | None = field(default=None, compare=False)
    changed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file to be kept, with its content."""

    name: str
    content: bytes
    media_type: str = ""

    @property
    def artifact(self) -> Artifact:
        """What is shown of it, as an output."""
        return Artifact(
            name=self.name,
            media_type=self.media_type or media_type_of(self.name),
            bytes=len(self.content),
            sha256=sha256(self.content).hexdigest(),
            origin="output",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChanges:
    """What a tool call did to the workspace; kept in the commit of its step, or not at all."""

    written: tuple[NewFile, ...] = ()
    removed: tuple[str, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not self.written and not self.removed

    @property
    def bytes(self) -> int:
        """The size of what is written."""
        return sum(len(file.content) for file in self.written)


def file_name(name: str) -> str:
    """`name` in its one form (`a/b.txt`); raises `BadFileName` for one that is absolute, leaves or cannot be kept."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    faults = (
        (not parts or name.endswith("/"), "it names no file"),
        (name.startswith("/"), "names are relative to the workspace"),
        (".." in parts, "'..' is not allowed"),
        (any(not letter.isprintable() for letter in name), "it has a character that cannot be shown"),
        (len(parts) > _MAX_PARTS or len(name.encode("utf-8", "replace")) > _MAX_PATH_BYTES, "it is too long"),
        (any(len(part.encode("utf-8", "replace")) > _MAX_PART_BYTES for part in parts), "a part of it is too long"),
    )
    for is_fault, reason in faults:
        if is_fault:
            raise BadFileName(f"{name[:200]!r} is refused: {reason}.", fields={"name": reason})
    return "/".join(parts)


def media_type_of(name: str) -> str:
    """What the ending of the name says."""
    _, dot, ending = name.rpartition(".")
    known = _TEXTS.get(f"{dot}{ending}".lower())
    return known or mimetypes.guess_type(name)[0] or "application/octet-stream"


def check_sizes(new: NewFile, others: dict[str, int]) -> None:
    """Raise `WorkspaceLimit` when `new` beside `others` (sizes by name) is more than a run may hold."""
    if len(new.content) > MAX_FILE_BYTES:
        raise WorkspaceLimit(
            f"{new.name} has {len(new.content)} bytes, {MAX_FILE_BYTES} are allowed.", fields={"content": "too large"}
        )
    rest = {name: size for name, size in others.items() if name != new.name}
    if sum(rest.values()) + len(new.content) > MAX_RUN_BYTES:
        raise WorkspaceLimit(f"A run's files may have {MAX_RUN_BYTES} bytes together.", fields={"content": "too large"})
    if len(rest) >= MAX_RUN_FILES:
        raise WorkspaceLimit(f"A run may have {MAX_RUN_FILES} files.", fields={"name": "too many files"})
