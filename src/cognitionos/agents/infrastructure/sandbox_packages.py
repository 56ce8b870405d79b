"""Packages for agents' Python: pure wheels that a tenant uploads, pinned by their hash, read-only in the sandbox.

Nothing is downloaded when code runs, and nothing of a wheel is run when it is installed: to install is to unpack. Each
is unpacked once per machine, in a directory named by its hash, and removed when no code had it for an hour: what was
deleted or replaced goes by that, and what is still wanted is unpacked again. Source: PEP 427, the wheel format.
"""

import asyncio
import hashlib
import io
import os
import re
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.parser import Parser
from pathlib import Path, PurePosixPath
from uuid import UUID

from psycopg.rows import class_row

from cognitionos.agents.infrastructure.sandbox_workspace import MAX_DEPTH, remove_tree
from cognitionos.kernel.errors import Invalid, LimitExceeded, NotFound
from cognitionos.platform.database import Database

MOST_BYTES = 20 * 2**20
MOST_UNPACKED = 100 * 2**20
MOST_FILES = 5_000
MOST_PACKAGES = 50
MOST_BYTES_OF_TENANT = 100 * 2**20
UNUSED_S = 3600.0
"""Far longer than a call of `python` may take."""
_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[A-Za-z0-9._!+]+)(-\d[^-]*)?-[a-z0-9.]+-none-any\.whl\Z"
)
_COMPILED = frozenset({".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".exe"})
_PUT = """
INSERT INTO tool_packages (tenant_id, name, version, file_name, sha256, bytes, content)
VALUES (%(tenant_id)s, %(name)s, %(version)s, %(file_name)s, %(sha256)s, %(bytes)s, %(content)s)
ON CONFLICT (tenant_id, name) DO UPDATE SET version = excluded.version, file_name = excluded.file_name,
  sha256 = excluded.sha256, bytes = excluded.bytes, content = excluded.content, changed_at = now()
RETURNING name, version, file_name, sha256, bytes, changed_at
"""
_LIST = "SELECT name, version, file_name, sha256, bytes, changed_at FROM tool_packages ORDER BY name"


class BadPackage(Invalid):
    """Not a pure wheel, not the bytes that the hash says, or too large."""


class TooManyPackages(LimitExceeded):
    """A tenant may keep so many packages, and so many bytes of them."""


class PackageNotFound(NotFound):
    """This tenant has no package of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRow:
    """A package, without its content."""

    name: str
    version: str
    file_name: str
    sha256: str
    bytes: int
    changed_at: datetime


class SandboxPackages:
    """Tenants' packages: in the database, and unpacked below `root` on each machine that needs them."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    async def put(self, tenant_id: UUID, *, file_name: str, sha256: str, content: bytes) -> PackageRow:
        """Keep a wheel; one of the same name is replaced. Raises `BadPackage`, `TooManyPackages`."""
        name, version = await asyncio.to_thread(checked, file_name, sha256, content)
        values = {
            "tenant_id": tenant_id,
            "name": name,
            "version": version,
            "file_name": file_name,
            "sha256": sha256,
            "bytes": len(content),
            "content": content,
        }
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(PackageRow))
            row = await (await cursor.execute(_PUT, values)).fetchone()
            kept = await (await cursor.execute(_LIST)).fetchall()
            if len(kept) > MOST_PACKAGES or sum(each.bytes for each in kept) > MOST_BYTES_OF_TENANT:
                raise TooManyPackages(f"At most {MOST_PACKAGES} packages of {MOST_BYTES_OF_TENANT} bytes together.")
        if row is None:
            raise RuntimeError("an INSERT with RETURNING gave no row")
        return row

    async def of(self, tenant_id: UUID) -> list[PackageRow]:
        """The tenant's, by name."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(PackageRow))
            return await (await cursor.execute(_LIST)).fetchall()

    async def delete(self, tenant_id: UUID, name: str) -> None:
        """Take it away. Raises `PackageNotFound`."""
        async with self._database.transaction(tenant_id) as connection:
            gone = await connection.execute("DELETE FROM tool_packages WHERE name = %s", (name.replace("\x00", ""),))
            if not gone.rowcount:
                raise PackageNotFound(f"There is no package '{name[:100]}' of yours.")

    async def places(self, tenant_id: UUID) -> list[Path]:
        """Where each is unpacked on this machine."""
        found = []
        for each in await self.of(tenant_id):
            place = self._root / each.sha256
            if not await asyncio.to_thread(_taken_up, place):
                await self._unpack(tenant_id, each, place)
            found.append(place.absolute())
        return found

    def sweep(self) -> int:
        """Remove from this machine what no code had for an hour, or a kill left half unpacked; gives its number."""
        removed = 0
        for place in self._root.iterdir() if self._root.is_dir() else ():
            with suppress(OSError):  # another process was first
                if time.time() - place.stat().st_mtime > UNUSED_S:
                    old = place.with_name(f".old-{place.name}")
                    place.rename(old)  # in one step: who comes now unpacks it anew
                    remove_tree(old)
                    removed += 1
        return removed

    async def _unpack(self, tenant_id: UUID, package: PackageRow, place: Path) -> None:
        query = "SELECT content FROM tool_packages WHERE name = %s AND sha256 = %s"
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(query, (package.name, package.sha256))).fetchone()
        if row is None:
            raise PackageNotFound(f"The package '{package.name}' was changed just now.")
        await asyncio.to_thread(_unpacked, bytes(row[0]), place)


def checked(file_name: str, sha256: str, content: bytes) -> tuple[str, str]:
    """Name and version of a wheel that may be used. Raises `BadPackage`."""
    match = _WHEEL.match(file_name)
    if match is None:
        raise _bad("file_name", "a pure wheel is called NAME-VERSION-py3-none-any.whl")
    if len(content) > MOST_BYTES:
        raise _bad("content_base64", f"it has more than {MOST_BYTES} bytes")
    if hashlib.sha256(content).hexdigest() != sha256.lower():
        raise _bad("sha256", "the content has another hash")
    with tempfile.TemporaryDirectory() as place:
        _extract(content, Path(place))
    return re.sub(r"[-_.]+", "-", match["name"]).lower(), match["version"]


def _extract(content: bytes, into: Path) -> None:
    """Unpack a wheel that may be used. Raises `BadPackage` for another, and for one that cannot be unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            _check_entries(wheel)
            _check_purity(wheel)
            wheel.extractall(into)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, KeyError, ValueError, OSError) as error:
        reason = f"it is no wheel, or one that cannot be unpacked ({type(error).__name__}: {error})"
        raise _bad("content_base64", reason[:300]) from error


def _check_entries(wheel: zipfile.ZipFile) -> None:
    entries = wheel.infolist()
    if len(entries) > MOST_FILES or sum(each.file_size for each in entries) > MOST_UNPACKED:
        raise _bad("content_base64", f"it has more than {MOST_FILES} files or {MOST_UNPACKED} bytes unpacked")
    for each in entries:
        path = PurePosixPath(each.filename)
        mode = each.external_attr >> 16
        if path.is_absolute() or ".." in path.parts or "\\" in each.filename or "\x00" in each.filename:
            raise _bad("content_base64", "a file of it leads out of it")
        if len(path.parts) > MAX_DEPTH:
            raise _bad("content_base64", f"a file of it is more than {MAX_DEPTH} directories deep")
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise _bad("content_base64", "it holds something that is neither a file nor a directory")
        if path.suffix.lower() in _COMPILED or ".so." in path.name:
            raise _bad("content_base64", f"{each.filename[:200]!r} is compiled: only pure wheels are used")
        if path.suffix.lower() == ".pth":
            raise _bad("content_base64", f"{each.filename[:200]!r} would be run at every start")


def _check_purity(wheel: zipfile.ZipFile) -> None:
    [place] = [name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/WHEEL", name)]
    said = Parser().parsestr(wheel.read(place).decode("utf-8"))
    if said.get("Root-Is-Purelib", "").lower() != "true":
        raise _bad("content_base64", "it says of itself that it is not pure")


def _unpacked(content: bytes, place: Path) -> None:
    """Unpack beside `place` and put it there in one step; whoever is second throws his away."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.parent.chmod(0o755)
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
    try:
        _extract(content, beside)
        for each in (beside, *beside.rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)
        with suppress(OSError):
            beside.rename(place)
    finally:
        remove_tree(beside)


def _taken_up(place: Path) -> bool:
    """Whether it is there; if so it is used now."""
    try:
        os.utime(place)
    except OSError:
        return False
    return True


def _bad(field: str, reason: str) -> BadPackage:
    return BadPackage(f"The package is refused: {reason}.", fields={field: reason})


async def no_packages(_tenant_id: UUID) -> Sequence[Path]:
    """None."""
    return ()
