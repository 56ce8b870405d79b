"""Questions and their answers in PostgreSQL by pgvector, each statement in a transaction of its tenant."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.domain.cached import EVERYTHING, Kept
from cognitionos.llm_gateway.domain.semantic import Neighbour, Question, Reuse, SemanticRules, SemanticState
from cognitionos.llm_gateway.domain.semantic_calibration import LEVELS, Tally
from cognitionos.platform.database import Database, Row
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

EXACT_UP_TO = 5_000
"""Answers of one scope that are always compared one by one; above, the index is asked."""
MOST_ANSWERS = 50_000
"""Answers that a tenant may have; the oldest go first."""
MOST_JUDGEMENTS = 5_000
"""The latest count: what was right long ago says little."""
REUSES_KEPT = "90 days"
COPIES_KEPT = "7 days"
"""A popular question has many calls that got a copy of one reuse; who judges does so soon."""
SWEEP_EVERY_S = 60.0
_LONGEST_QUESTION = 2000

_STATE = """
SELECT enabled, error_bound, ttl_s, shadow_rate,
  (SELECT COALESCE(json_agg(json_build_array(level, judged, wrong)), '[]') FROM (
    SELECT width_bucket(score, %(levels)s::float8[]) - 1 AS level, count(*) AS judged,
      count(*) FILTER (WHERE NOT correct) AS wrong
    FROM (SELECT score, correct FROM semantic_reuses WHERE correct IS NOT NULL AND judged_at >= s.judged_since
          ORDER BY judged_at DESC LIMIT %(most)s) AS latest
    GROUP BY 1) AS tallies)
FROM semantic_settings AS s
"""
_SET = """
INSERT INTO semantic_settings (tenant_id, enabled, error_bound, ttl_s, shadow_rate)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (tenant_id) DO UPDATE SET enabled = excluded.enabled, error_bound = excluded.error_bound,
  ttl_s = excluded.ttl_s, shadow_rate = excluded.shadow_rate, changed_at = now(),
  judged_since = CASE WHEN excluded.enabled AND NOT semantic_settings.enabled THEN now()
                      ELSE semantic_settings.judged_since END
"""
_NEAREST = """
SELECT key, question, wire, model, cost_nanousd, epoch, scopes, extract(epoch FROM stored_at)::float8,
  extract(epoch FROM expires_at)::float8, 1 - (embedding <=> %(vector)s::halfvec)
FROM semantic_nearest(%(key)s, %(scope)s, %(vector)s::halfvec, %(since)s, %(wanted)s, %(exact)s)
"""
_KEEP = """
INSERT INTO semantic_answers (tenant_id, key, scope, question, embedding, wire, model, cost_nanousd, epoch, scopes,
  stored_at, expires_at)
VALUES (%(tenant_id)s, %(key)s, %(scope)s, %(question)s, %(vector)s::halfvec, %(wire)s, %(model)s, %(cost)s, %(epoch)s,
  %(scopes)s, %(stored_at)s, %(expires_at)s)
ON CONFLICT (tenant_id, key) DO UPDATE SET wire = excluded.wire, model = excluded.model,
  cost_nanousd = excluded.cost_nanousd, epoch = excluded.epoch, scopes = excluded.scopes,
  stored_at = excluded.stored_at, expires_at = excluded.expires_at
WHERE semantic_answers.stored_at <= excluded.stored_at
"""
_RECORD = """
INSERT INTO semantic_reuses (tenant_id, call_id, key, answer_key, similarity, score, served, correct, judged_by,
  judged_at)
VALUES (%(tenant_id)s, %(call_id)s, %(key)s, %(answer_key)s, %(similarity)s, %(score)s, %(served)s, %(correct)s,
  %(judged_by)s, CASE WHEN %(correct)s::boolean IS NULL THEN NULL ELSE now() END)
ON CONFLICT DO NOTHING
"""
_COPIED = """
WITH old AS (DELETE FROM semantic_reuses WHERE copy_of IS NOT NULL AND at < now() - %(kept)s::interval)
INSERT INTO semantic_reuses (tenant_id, call_id, key, answer_key, similarity, score, served, copy_of)
SELECT tenant_id, %(call_id)s, key, answer_key, similarity, score, served, call_id FROM semantic_reuses
WHERE call_id = %(reuse)s
ON CONFLICT DO NOTHING
"""
_JUDGE = """
UPDATE semantic_reuses SET correct = %(correct)s, judged_by = 'feedback', judged_at = now()
WHERE served AND call_id = (SELECT COALESCE(copy_of, call_id) FROM semantic_reuses WHERE call_id = %(call_id)s)
RETURNING call_id, key, answer_key, similarity, score, served, correct, judged_by
"""
_COUNTS = """
SELECT (SELECT count(*) FROM semantic_answers WHERE expires_at > now()),
  count(*) FILTER (WHERE served AND copy_of IS NULL),
  count(*) FILTER (WHERE judged_by = 'feedback'), count(*) FILTER (WHERE judged_by = 'shadow'),
  count(*) FILTER (WHERE judged_by = 'near')
FROM semantic_reuses
"""
_SWEEP = "SELECT semantic_sweep(%s, %s::interval)"
_FORGET = "DELETE FROM semantic_answers WHERE %s OR scopes && %s::text[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticCounts:
    """Answers kept, reuses served, and judgements by who made them."""

    answers: int
    reused: int
    judged_by: Mapping[str, int]


class PostgresSemanticStore:
    """`semantic_ports.SemanticStore`."""

    def __init__(self, database: Database, *, exact_up_to: int = EXACT_UP_TO) -> None:
        self._database = database
        self._exact_up_to = exact_up_to

    async def state(self, tenant_id: UUID) -> SemanticState:
        """The tenant's rules (off where it has set none) and its judgements."""
        values = {"levels": list(LEVELS), "most": MOST_JUDGEMENTS}
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_STATE, values)).fetchone()
        if row is None:
            return SemanticState()
        tallies = [Tally() for _ in LEVELS]
        for level, judged, wrong in row[4]:
            if level >= 0:
                tallies[level] = Tally(judged, wrong)
        rules = SemanticRules(enabled=row[0], error_bound=row[1], ttl_s=row[2], shadow_rate=row[3])
        return SemanticState(rules=rules, tallies=tuple(tallies))

    async def set_rules(self, tenant_id: UUID, rules: SemanticRules) -> None:
        """Set the rules. Being turned on after off, earlier judgements no longer count."""
        values = (tenant_id, rules.enabled, rules.error_bound, rules.ttl_s, rules.shadow_rate)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_SET, values)

    async def nearest(self, tenant_id: UUID, question: Question, *, wanted: int) -> Sequence[Neighbour]:
        """The nearest live answers by their questions, nearest first; none that was judged wrong for this key."""
        values = {
            "key": question.key,
            "scope": question.scope,
            "vector": _vector_text(question.vector),
            "since": _moment(question.stored_after),
            "wanted": wanted,
            "exact": self._exact_up_to,
        }
        async with self._database.transaction(tenant_id) as connection:
            rows = await (await connection.execute(_NEAREST, values)).fetchall()
        return [
            Neighbour(
                key=row[0],
                question=row[1],
                similarity=row[9],
                kept=Kept(
                    wire=row[2],
                    model=row[3],
                    cost_nanousd=row[4],
                    epoch=row[5],
                    scopes=tuple(row[6]),
                    stored_at=row[7],
                    expires_at=row[8],
                ),
            )
            for row in rows
        ]

    async def keep(self, tenant_id: UUID, question: Question, text: str, kept: Kept) -> None:
        """Keep an answer under its question; the key's earlier one is replaced."""
        values = {
            "tenant_id": tenant_id,
            "key": question.key,
            "scope": question.scope,
            "question": text[:_LONGEST_QUESTION].replace("\x00", ""),
            "vector": _vector_text(question.vector),
            "wire": kept.wire,
            "model": kept.model,
            "cost": kept.cost_nanousd,
            "epoch": kept.epoch,
            "scopes": list(kept.scopes),
            "stored_at": _moment(kept.stored_at),
            "expires_at": _moment(kept.expires_at),
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_KEEP, values)

    async def record(self, tenant_id: UUID, reuse: Reuse) -> None:
        """Write a reuse down, once per call."""
        values = {name: getattr(reuse, name) for name in Reuse.__dataclass_fields__} | {"tenant_id": tenant_id}
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_RECORD, values)

    async def copied(self, tenant_id: UUID, call_id: UUID, *, reuse: UUID) -> None:
        """This call got the answer that was reused for the call `reuse`."""
        values = {"call_id": call_id, "reuse": reuse, "kept": COPIES_KEPT}
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(_COPIED, values)

    async def judge(self, tenant_id: UUID, call_id: UUID, *, correct: bool) -> Reuse | None:
        """The tenant's own judgement of a served reuse, or of a copy of it; it may change its mind. None: there is no
        such reuse."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            row: dict[str, Any] | None = await (
                await cursor.execute(_JUDGE, {"call_id": call_id, "correct": correct})
            ).fetchone()
        return None if row is None else Reuse(**row)

    async def counts(self, tenant_id: UUID) -> SemanticCounts:
        """What the tenant has."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_COUNTS)).fetchone() or (0, 0, 0, 0, 0)
        judged_by = dict(zip(("feedback", "shadow", "near"), row[2:], strict=True))
        return SemanticCounts(answers=row[0], reused=row[1], judged_by=judged_by)

    async def sweep(self) -> int:
        """Forget what is over, of every tenant; gives how many answers went."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_SWEEP, (MOST_ANSWERS, REUSES_KEPT))).fetchone()
        return int(row[0]) if row else 0


async def forget_voided(connection: AsyncConnection[Row], scopes: Collection[str]) -> None:
    """Delete what these scopes declare void, in the transaction of a tenant that declares it."""
    await connection.execute(_FORGET, (EVERYTHING in scopes, list(scopes)))


class SemanticSweeper:
    """Forgets expired answers every minute."""

    def __init__(self, store: PostgresSemanticStore, *, every_s: float = SWEEP_EVERY_S) -> None:
        self._store = store
        self._every_s = every_s
        self._loop: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Sweep on the running loop."""
        self._loop = asyncio.create_task(self._run(), name="llm_gateway.semantic_sweeper")

    async def close(self) -> None:
        """Stop."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._store.sweep()
            except Unavailable as error:
                log.warning("semantic_sweep_failed", reason=str(error))


def _vector_text(vector: Sequence[float]) -> str:
    return "[" + ",".join([f"{value:.6g}" for value in vector]) + "]"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
