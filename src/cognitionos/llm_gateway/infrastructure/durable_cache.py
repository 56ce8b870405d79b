"""Whole answers in PostgreSQL, which outlive Redis, and what tenants have declared void.

Look-ups that come together share one call of a function, and so do stores, which happen after the answer has left.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast
from uuid import UUID

import msgspec
import psycopg

from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.domain.cached import EVERYTHING, KEY, LONGEST_KEPT_S, Kept, Voided
from cognitionos.llm_gateway.domain.chat import CACHE_DURABLE
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.batching import GroupCommit
from cognitionos.llm_gateway.infrastructure.exact_cache import LARGEST_BYTES
from cognitionos.llm_gateway.infrastructure.kept_answers import read_kept, write_kept
from cognitionos.llm_gateway.infrastructure.openai_schema import encode
from cognitionos.llm_gateway.infrastructure.semantic_store import forget_voided
from cognitionos.platform.database import Database
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

KEPT_S = 3600.0
GATHER_S = 0.1
"""So long answers wait for company on their way here: nobody waits for them, and a statement for each costs more CPU
than the rest of keeping it. Whoever asks meanwhile finds them in Redis."""
MOST_SCOPES = 1000
"""A tenant that voids more single scopes than this within a week has everything voided instead."""
_Asked = tuple[UUID, str]
_Found = tuple[Kept | None, int | None]
_ToStore = tuple[UUID, str, Kept, float]

_GET = "SELECT answer, epoch FROM llm_kept_answers(%s::uuid[], %s::text[])"
_PUT = """
SELECT llm_keep_answers(array_agg(tenant), array_agg(key), array_agg(epoch), array_agg(scopes), array_agg(stored),
  array_agg(expires), array_agg(convert_to(answer, 'UTF8')))
FROM json_to_recordset(%s::json) AS a(
  tenant uuid, key text, epoch bigint, scopes text, stored float8, expires float8, answer text)
"""
_SWEEP = "SELECT deleted, answers, bytes FROM llm_sweep_answers(%s, %s)"
_VOIDED = """
SELECT COALESCE((SELECT json_object_agg(scope, epoch) FROM cache_voids), '{}')::text,
  EXISTS (SELECT FROM cached_answers)
"""
_COUNT = """
INSERT INTO cache_voids (tenant_id, scope, epoch) VALUES (%s, '', 1)
ON CONFLICT (tenant_id, scope) DO UPDATE SET epoch = cache_voids.epoch + 1, at = now() RETURNING epoch
"""
_VOID = """
INSERT INTO cache_voids (tenant_id, scope, epoch) SELECT %s, scope, %s FROM unnest(%s::text[]) AS s(scope)
ON CONFLICT (tenant_id, scope) DO UPDATE SET epoch = excluded.epoch, at = now()
"""
_FOLD = """
DELETE FROM cache_voids WHERE scope <> '' AND (SELECT count(*) FROM cache_voids) > %s
"""
_NAME = """
INSERT INTO cache_names (tenant_id, key, scope)
SELECT %(tenant)s, %(key)s, scope FROM unnest(%(scopes)s::text[]) AS s(scope)
ON CONFLICT (tenant_id, scope, key) DO UPDATE SET at = now()
"""
_FORGET_NAMES = "DELETE FROM cache_names WHERE at < now() - make_interval(secs => %s)"
_NAMED = """
DELETE FROM cache_names WHERE %s OR key IN (SELECT key FROM cache_names WHERE scope = ANY(%s::text[])) RETURNING key
"""
_DELETE = "DELETE FROM cached_answers WHERE %s OR scopes && %s::text[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep deleted, and what is left."""

    deleted: int
    answers: int
    bytes: int


class DurableCache:
    """`kept_s` 0: no answer is kept here; invalidations are all the same."""

    def __init__(self, database: Database, *, kept_s: float = KEPT_S) -> None:
        self._database = database
        self._kept_s = kept_s
        self._lookups: GroupCommit[_Asked, _Found] = GroupCommit(self._look_up)
        self._stores: GroupCommit[_ToStore, None] = GroupCommit(self._store, gather_s=GATHER_S)

    async def get(self, tenant_id: UUID, key: str) -> _Found:
        """The answer, and how many invalidations there were; nothing where the database does not answer."""
        return await self._lookups.submit((tenant_id, key))

    def put(self, tenant_id: UUID, key: str, kept: Kept) -> None:
        """Keep an answer in the background; a very large one is left out."""
        until = min(kept.expires_at, time.time() + self._kept_s)
        if self._kept_s and len(kept.wire) <= LARGEST_BYTES:
            self._stores.submit((tenant_id, key, kept, until))

    async def name(self, tenant_id: UUID, key: str, scopes: Collection[str]) -> None:
        """Have these scopes declare the answer of a key void too; logged where the database does not answer."""
        values = {"tenant": tenant_id, "key": key, "scopes": sorted(map(_clean, scopes))}
        try:
            async with self._database.transaction(tenant_id) as connection:
                await connection.execute(_NAME, values)
                await connection.execute(_FORGET_NAMES, (LONGEST_KEPT_S,))
        except (Unavailable, psycopg.Error) as error:
            metrics.CACHE_ERRORS.inc()
            log.warning("answer_not_named", reason=str(error))

    async def voided(self, tenant_id: UUID) -> tuple[Voided, bool] | None:
        """The tenant's invalidations, and whether anything of it is kept; None where the database does not answer."""
        try:
            async with self._database.transaction(tenant_id) as connection:
                row = await (await connection.execute(_VOIDED)).fetchone()
        except Unavailable:
            return None
        text, any_kept = cast("tuple[str, bool]", row)
        return _voided(text), any_kept

    async def void(self, tenant_id: UUID, scopes: Sequence[str]) -> tuple[Voided, int]:
        """Declare every answer of these scopes void; how many rows were deleted. Raises `Unavailable`.

        What this process has put so far is stored before, so that it counts.
        """
        await self.stored()
        names = {_clean(each) for each in scopes}
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_COUNT, (tenant_id,))).fetchone()
            epoch = cast("tuple[int]", row)[0]
            if (await connection.execute(_FOLD, (MOST_SCOPES,))).rowcount:
                names.add(EVERYTHING)
            named = await (await connection.execute(_NAMED, (EVERYTHING in names, list(names)))).fetchall()
            names |= {f"{KEY}{key}" for (key,) in named}
            await connection.execute(_VOID, (tenant_id, epoch, list(names)))
            deleted = (await connection.execute(_DELETE, (EVERYTHING in names, list(names)))).rowcount
            await forget_voided(connection, names)
            row = await (await connection.execute(_VOIDED)).fetchone()
        return _voided(cast("tuple[str, bool]", row)[0]), deleted

    async def sweep(self, most_bytes: int) -> Swept | None:
        """Delete what has expired and the oldest beyond `most_bytes`; None where another process is at it."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_SWEEP, (most_bytes, LONGEST_KEPT_S))).fetchone()
        return None if row is None else Swept(deleted=row[0], answers=row[1], bytes=row[2])

    async def stored(self) -> None:
        """Wait until everything put so far is stored or given up."""
        await self._stores.drain()

    async def _look_up(self, asked: list[_Asked]) -> list[_Found]:
        try:
            async with self._database.connection() as connection:
                cursor = await connection.execute(_GET, ([each[0] for each in asked], [each[1] for each in asked]))
                rows = await cursor.fetchall()
        except Unavailable:
            metrics.CACHE_ERRORS.inc()
            return [(None, None)] * len(asked)
        return [(read_kept(answer, layer=CACHE_DURABLE) if answer else None, epoch) for answer, epoch in rows]

    async def _store(self, answers: list[_ToStore]) -> list[None]:
        rows = [
            {
                "tenant": tenant_id,
                "key": key,
                "epoch": kept.epoch,
                "scopes": [_clean(each) for each in kept.scopes],
                "stored": kept.stored_at,
                "expires": until,
                "answer": write_kept(kept, expires_at=until).decode(),
            }
            for tenant_id, key, kept, until in answers
        ]
        try:
            async with self._database.connection() as connection:
                await connection.execute(_PUT, (encode(rows).decode(),))
        except (Unavailable, psycopg.Error) as error:
            metrics.CACHE_ERRORS.inc()
            log.warning("answers_not_kept", answers=len(answers), reason=str(error))
        return [None] * len(answers)


def _voided(text: str) -> Voided:
    by_scope = msgspec.json.decode(text, type=dict[str, int])
    return Voided(epoch=by_scope.pop("", 0), by_scope=by_scope)


def _clean(scope: str) -> str:
    """A scope as PostgreSQL can store it."""
    return scope.replace("\0", "")
