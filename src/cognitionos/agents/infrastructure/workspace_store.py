"""Runs' files in PostgreSQL: any worker can take a run over from the database alone."""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from cognitionos.agents.domain.agent_run import Place
from cognitionos.agents.domain.workspace import (
    Artifact,
    FileChanges,
    FileNotFound,
    InputIsReadOnly,
    NewFile,
    Origin,
    check_sizes,
    file_name,
    media_type_of,
)
from cognitionos.agents.infrastructure.workspace_versions import keep_earlier, mark_removed, take_turns
from cognitionos.platform.database import Database

_COLUMNS = "name, media_type, bytes, sha256, origin, task_id, changed_at"
_LIST = f"SELECT {_COLUMNS} FROM workspace_files WHERE run_id = %s ORDER BY name"  # noqa: S608 - a constant
_OF_AGENT_RUN = f"SELECT {_COLUMNS} FROM workspace_files WHERE agent_run_id = %s ORDER BY name"  # noqa: S608 - a constant
_READ = f"SELECT {_COLUMNS}, content FROM workspace_files WHERE run_id = %s AND name = %s"  # noqa: S608 - a constant
_READ_ALL = f"SELECT {_COLUMNS}, content FROM workspace_files WHERE run_id = %s ORDER BY name"  # noqa: S608 - a constant
_SIZES = "SELECT name, bytes, origin, task_id FROM workspace_files WHERE run_id = %s"
_PUT = """
INSERT INTO workspace_files (tenant_id, run_id, name, origin, media_type, bytes, sha256, content, agent_run_id,
                             task_id)
VALUES (%(tenant)s, %(run)s, %(name)s, %(origin)s, %(media_type)s, %(bytes)s, %(sha256)s, %(content)s, %(agent_run)s,
        %(task)s)
ON CONFLICT (run_id, name) DO UPDATE
SET origin = EXCLUDED.origin, media_type = EXCLUDED.media_type, bytes = EXCLUDED.bytes, sha256 = EXCLUDED.sha256,
    content = EXCLUDED.content, agent_run_id = EXCLUDED.agent_run_id, task_id = EXCLUDED.task_id, changed_at = now()
"""
_REMOVE = "DELETE FROM workspace_files WHERE run_id = %s AND name = ANY(%s) AND origin = 'output'"


@dataclass(frozen=True, slots=True)
class PostgresFiles:
    """`Files`, and all of a run's contents at once for the sandbox."""

    database: Database

    async def of_run(self, tenant_id: UUID, run_id: UUID) -> list[Artifact]:
        """See `Files.of_run`."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_LIST, (run_id,))).fetchall()
        return [_artifact(row) for row in rows]

    async def of_agent_run(self, tenant_id: UUID, agent_run_id: UUID) -> list[Artifact]:
        """See `Files.of_agent_run`."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_OF_AGENT_RUN, (agent_run_id,))).fetchall()
        return [_artifact(row) for row in rows]

    async def read(self, tenant_id: UUID, run_id: UUID, name: str) -> tuple[Artifact, bytes]:
        """See `Files.read`."""
        name = file_name(name)
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_READ, (run_id, name))).fetchone()
        if row is None:
            raise FileNotFound(f"There is no file '{name}' in this run.", fields={"name": "not found"})
        return _artifact(row[:-1]), bytes(row[-1])

    async def read_all(self, tenant_id: UUID, run_id: UUID) -> list[tuple[Artifact, bytes]]:
        """Every file of the run with its content."""
        async with self.database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_READ_ALL, (run_id,))).fetchall()
        return [(_artifact(row[:-1]), bytes(row[-1])) for row in rows]

    async def put_input(self, tenant_id: UUID, run_id: UUID, *, name: str, media_type: str, content: bytes) -> Artifact:
        """See `Files.put_input`."""
        new = NewFile(name=file_name(name), content=content, media_type=media_type)
        async with self.database.transaction(tenant_id) as connection:
            sizes = await _sizes(connection, run_id)
            check_sizes(new, {name: known.bytes for name, known in sizes.items()})
            return await _put(connection, tenant_id, run_id, new, writer=None)


async def apply_changes(connection: AsyncConnection[Any], place: Place, changes: FileChanges) -> tuple[Artifact, ...]:
    """Write and remove within the caller's transaction. Raises `InputIsReadOnly`, `WorkspaceLimit`, `BadFileName`."""
    if changes.is_empty:
        return ()
    written = [replace(new, name=file_name(new.name)) for new in changes.written]
    known = await _sizes(connection, place.run_id)
    outputs = {name for name, file in known.items() if file.origin == "output"}
    if place.task_id is not None:
        touched = {*changes.removed, *(new.name for new in written)} & outputs
        await keep_earlier(connection, place.run_id, [n for n in touched if known[n].task_id != place.task_id])
    sizes = {name: file.bytes for name, file in known.items()}
    removed = outputs.intersection(changes.removed)
    if removed:
        await connection.execute(_REMOVE, (place.run_id, list(removed)))
        if place.task_id is not None:
            await mark_removed(connection, place.run_id, place.task_id, list(removed))
        sizes = {name: size for name, size in sizes.items() if name not in removed}
    for new in written:
        if new.name in known and new.name not in outputs:
            raise InputIsReadOnly(f"'{new.name}' is an input of the goal; write under another name.")
        check_sizes(new, sizes)
        sizes[new.name] = len(new.content)
    return tuple([await _put(connection, place.tenant_id, place.run_id, new, writer=place) for new in written])


@dataclass(frozen=True, slots=True)
class _Known:
    bytes: int
    origin: str
    task_id: UUID | None


async def _sizes(connection: AsyncConnection[Any], run_id: UUID) -> dict[str, _Known]:
    await take_turns(connection, run_id)
    rows = await (await connection.execute(_SIZES, (run_id,))).fetchall()
    return {row[0]: _Known(*row[1:]) for row in rows}


async def _put(
    connection: AsyncConnection[Any], tenant_id: UUID, run_id: UUID, new: NewFile, *, writer: Place | None
) -> Artifact:
    origin: Origin = "input" if writer is None else "output"
    values = {
        "tenant": tenant_id,
        "run": run_id,
        "name": new.name,
        "origin": origin,
        "media_type": new.media_type or media_type_of(new.name),
        "bytes": len(new.content),
        "sha256": sha256(new.content).hexdigest(),
        "content": new.content,
        "agent_run": None if writer is None else writer.agent_run_id,
        "task": None if writer is None else writer.task_id,
    }
    await connection.execute(_PUT, values)
    return replace(new.artifact, origin=origin)


def _artifact(row: tuple[Any, ...]) -> Artifact:
    name, media_type, size, digest, origin, task_id, changed_at = row
    return Artifact(
        name=name,
        media_type=media_type,
        bytes=size,
        sha256=digest,
        origin=origin,
        task_id=task_id,
        changed_at=changed_at,
    )
