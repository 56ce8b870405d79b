"""The files of runs as they are now, with the tasks that wrote them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from cognitionos.planning.domain.task import TaskStatus
from cognitionos.platform.database import Database

_WRITERS = "SELECT id, key, status FROM tasks WHERE run_id = %s AND id = ANY(%s)"


class StoredFile(Protocol):
    """A file of a run, as `Agents.files` lists it; of an input, no task wrote it."""

    @property
    def name(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def task_id(self) -> UUID | None: ...
    @property
    def changed_at(self) -> datetime | None: ...


Files = Callable[[UUID, UUID], Awaitable[Sequence[StoredFile]]]
ReadFile = Callable[[UUID, UUID, str], Awaitable[tuple[StoredFile, bytes]]]


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a run; `href` gives its bytes.

    `task` wrote it last (null: it came with the goal). Where its `task_status` is `failed`, it is what a task left that
    did not get done: one that a new plan replaced, or that ended the run.
    """

    name: str
    media_type: str
    bytes: int
    sha256: str
    origin: str
    task: str | None
    task_status: TaskStatus | None
    changed_at: datetime | None
    href: str


class ByName(NamedTuple):
    """Where a page of files ended."""

    name: str


class Writer(NamedTuple):
    """The task that wrote a file last."""

    key: str
    status: TaskStatus


async def writers(
    connection: AsyncConnection[Any], run_id: UUID, files: Sequence[StoredFile]
) -> Mapping[UUID | None, Writer]:
    """The tasks of these files by their ids; nothing is asked where none was written by one."""
    ids = list({file.task_id for file in files if file.task_id is not None})
    if not ids:
        return {}
    rows = await (await connection.execute(_WRITERS, (run_id, ids))).fetchall()
    return {task_id: Writer(key, TaskStatus(status)) for task_id, key, status in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """A tenant's own view of its runs' files; of a run that it has not, there are none."""

    database: Database
    of_run: Files
    read: ReadFile

    async def listed(self, tenant_id: UUID, run_id: UUID, *, limit: int, after: ByName | None) -> list[FileView]:
        """`limit + 1` files by name after the cursor."""
        files = sorted(await self.of_run(tenant_id, run_id), key=lambda file: file.name)
        files = [file for file in files if after is None or file.name > after.name][: limit + 1]
        async with self.database.transaction(tenant_id) as connection:
            wrote = await writers(connection, run_id, files)
        return [_view(run_id, file, wrote.get(file.task_id)) for file in files]


def _view(run_id: UUID, file: StoredFile, writer: Writer | None) -> FileView:
    return FileView(
        name=file.name,
        media_type=file.media_type,
        bytes=file.bytes,
        sha256=file.sha256,
        origin=file.origin,
        task=writer and writer.key,
        task_status=writer and writer.status,
        changed_at=file.changed_at,
        href=f"/v1/runs/{run_id}/files/{quote(file.name)}",
    )
