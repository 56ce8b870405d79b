"""What the caches did for a tenant, from its ledger, and what they keep of it."""

from datetime import datetime
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from redis.asyncio import Redis

from cognitionos.kernel.money import usd_text
from cognitionos.llm_gateway.domain.chat import CACHE_COALESCED, CACHE_DURABLE, CACHE_EXACT, CACHE_NONE
from cognitionos.llm_gateway.infrastructure.exact_cache import answers_of
from cognitionos.platform.database import Database
from cognitionos.platform.redis import REDIS_ERRORS

LAYERS = (CACHE_EXACT, CACHE_DURABLE, CACHE_COALESCED)
"""In the order they are asked; layers that answered something else follow."""
_MOST_STEPS, _STEP = 100, 1000
_CALLS = """
SELECT cache, count(*) AS calls, sum(saved_nanousd)::bigint AS saved, avg(cache_age_s)::float8 AS average_age_s,
  max(cache_age_s) AS oldest_age_s
FROM calls WHERE kind = 'chat' AND outcome = 'ok' AND NOT simulated
  AND (%(since)s::timestamptz IS NULL OR settled_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR settled_at < %(until)s)
GROUP BY cache
"""
_KEPT = """
SELECT count(*) AS answers, COALESCE(sum(bytes), 0)::bigint AS bytes, min(stored_at) AS oldest, max(stored_at) AS newest
FROM cached_answers WHERE expires_at > now()
"""


class LayerView(msgspec.Struct, frozen=True, kw_only=True):
    """One layer: its hits, how old their answers were, what they would have cost; what it keeps now.

    `answers` null: not counted. `coalesced` is the layer of calls that waited for an identical one under way.
    """

    layer: str
    hits: int
    saved_usd: str
    average_age_s: float | None
    oldest_age_s: int | None
    answers: int | None = None
    bytes: int | None = None
    oldest: datetime | None = None
    newest: datetime | None = None


class CacheStats(msgspec.Struct, frozen=True, kw_only=True):
    """`calls` ended well; `hit_rate` is the share of them that no provider was asked for."""

    calls: int
    hits: int
    hit_rate: float
    saved_usd: str
    invalidations: int
    layers: list[LayerView]


class CacheQueries:
    """The tenant's own only, by row-level security and by the names of keys."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    async def stats(self, tenant_id: UUID, *, since: datetime | None, until: datetime | None) -> CacheStats:
        """Of the calls settled in [since, until); what is kept is as of now."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(_CALLS, {"since": since, "until": until})).fetchall()
            kept = await (await cursor.execute(_KEPT)).fetchone() or {}
            voids = await (await connection.execute("SELECT epoch FROM cache_voids WHERE scope = ''")).fetchone()
        by_layer = {row["cache"]: row for row in rows}
        asked = by_layer.pop(CACHE_NONE, {"calls": 0})["calls"]
        hits = sum(row["calls"] for row in by_layer.values())
        more = {CACHE_DURABLE: kept, CACHE_EXACT: {"answers": await self._in_redis(tenant_id)}}
        names = dict.fromkeys((*LAYERS, *by_layer))
        return CacheStats(
            calls=asked + hits,
            hits=hits,
            hit_rate=round(hits / (asked + hits), 4) if hits else 0.0,
            saved_usd=usd_text(sum(row["saved"] for row in by_layer.values())),
            invalidations=voids[0] if voids else 0,
            layers=[_layer(name, by_layer.get(name, {}), more.get(name, {})) for name in names],
        )

    async def _in_redis(self, tenant_id: UUID) -> int | None:
        """How many answers of the tenant there are; None where Redis is gone or too full to look through."""
        found, cursor = 0, 0
        try:
            for _ in range(_MOST_STEPS):
                cursor, names = await self._redis.scan(cursor, match=answers_of(tenant_id) + "*", count=_STEP)
                found += len(names)
                if not cursor:
                    return found
        except REDIS_ERRORS:
            return None
        return None


def _layer(name: str, row: dict[str, object], kept: dict[str, object]) -> LayerView:
    values = {
        "layer": name,
        "hits": row.get("calls", 0),
        "saved_usd": usd_text(int(str(row.get("saved", 0)))),
        "average_age_s": row.get("average_age_s"),
        "oldest_age_s": row.get("oldest_age_s"),
        **kept,
    }
    return msgspec.convert(values, LayerView)
