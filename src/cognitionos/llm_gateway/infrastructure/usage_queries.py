"""Reads of the ledger: sums by any of its columns, and the calls themselves."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row

from cognitionos.kernel.errors import Invalid, NotFound
from cognitionos.kernel.money import usd_text
from cognitionos.kernel.time_zones import is_time_zone
from cognitionos.platform.database import Database

GroupBy = Literal[
    "model", "model_asked", "provider", "goal", "workflow", "run", "task", "user", "api_key", "project", "tenant",
    "agent_run", "kind", "outcome", "cache", "route_reason", "finish_reason", "service_tier", "streamed", "simulated",
    "hour", "day", "week", "month",
]  # fmt: skip
BUCKETS = frozenset({"hour", "day", "week", "month"})
_TEXT_OF: Mapping[str, str] = {
    "model": "provider || '/' || model",
    "goal": "goal_id::text",
    "run": "run_id::text",
    "task": "task_id",
    "user": "user_id",
    "api_key": "api_key_id::text",
    "project": "project_id::text",
    "tenant": "tenant_id::text",
    "agent_run": "agent_run_id::text",
    "streamed": "streamed::text",
    "simulated": "simulated::text",
    "hour": "to_char(settled_at, 'YYYY-MM-DD\"T\"HH24:00TZH:TZM')",
    "day": "to_char(settled_at, 'YYYY-MM-DD')",
    "week": "to_char(settled_at, 'IYYY-\"W\"IW')",
    "month": "to_char(settled_at, 'YYYY-MM')",
}
"""The column of each grouping where it is not of the same name; times are in the session's time zone."""
_MOMENT = {"hour": "to_char(k{}::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"}
"""By what a bucket is ordered where that is not its text: an hour comes twice where clocks are set back."""
_EQUAL: Mapping[str, str] = {
    "provider": "provider = %(provider)s",
    "model": "(model = %(model)s OR provider || '/' || model = %(model)s)",
    "model_asked": "model_asked = %(model_asked)s",
    "user": "user_id = %(user)s",
    "api_key": "api_key_id = %(api_key)s",
    "project": "project_id = %(project)s",
    "goal": "goal_id = %(goal)s",
    "workflow": "workflow = %(workflow)s",
    "run": "run_id = %(run)s",
    "task": "task_id = %(task)s",
    "agent_run": "agent_run_id = %(agent_run)s",
    "kind": "kind = %(kind)s",
    "outcome": "outcome = %(outcome)s",
    "cache": "cache = %(cache)s",
    "from_": "settled_at >= %(from_)s",
    "to": "settled_at < %(to)s",
}
_SUMS = """
  count(*) AS calls,
  count(*) FILTER (WHERE cache <> 'none') AS cached_calls,
  count(*) FILTER (WHERE outcome NOT IN ('ok', 'aborted')) AS failed_calls,
  count(*) FILTER (WHERE NOT priced) AS unpriced_calls,
  count(*) FILTER (WHERE estimated) AS estimated_calls,
  sum(prompt_tokens)::bigint AS prompt_tokens, sum(cached_tokens)::bigint AS cached_tokens,
  sum(cache_write_tokens)::bigint AS cache_write_tokens, sum(completion_tokens)::bigint AS completion_tokens,
  sum(reasoning_tokens)::bigint AS reasoning_tokens,
  sum(cost_nanousd)::bigint AS cost, sum(saved_nanousd)::bigint AS saved,
  round(avg(latency_ms))::int AS latency_ms, round(avg(first_token_ms))::int AS first_token_ms
"""
_CALLS = """
SELECT *, goal_id AS goal, run_id AS run, task_id AS task, user_id AS user, api_key_id AS api_key,
  project_id AS project, agent_run_id AS agent_run FROM calls
"""
_OF_RUNS = "SELECT coalesce(sum(cost_nanousd), 0)::bigint FROM calls WHERE run_id = ANY(%s)"
_ANSWERED = """
SELECT coalesce(array_agg(DISTINCT provider || '/' || model), '{}') AS models,
  coalesce(bool_or(simulated), false) AS simulated,
  coalesce(sum(prompt_tokens), 0)::bigint AS prompt_tokens,
  coalesce(sum(completion_tokens), 0)::bigint AS completion_tokens
FROM calls WHERE run_id = %s AND kind = 'chat' AND outcome IN ('ok', 'aborted')
"""
EXPORT_BATCH = 2000


class UsageRefused(Invalid):
    """A sum that cannot be made."""


def _unknown_zone(name: str) -> UsageRefused:
    return UsageRefused(f"There is no time zone '{name}'.", fields={"timezone": "an IANA name, such as Europe/Berlin"})


class CallNotFound(NotFound):
    """No call of the tenant has this id."""


class Answered(NamedTuple):
    """Which models answered, whether one of them only stood in for a model, and the tokens of all answers."""

    models: list[str]
    simulated: bool
    prompt_tokens: int
    completion_tokens: int


class UsageGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the calls that are alike in what was grouped by: `keys`, null for the calls without one.

    `key` is the first of them. `unpriced_calls` cost something that nobody told: they are not in `cost_usd`.
    Latencies are averages in milliseconds; the time to the first token is that of streams.
    """

    key: str | None
    keys: dict[str, str | None]
    calls: int
    cached_calls: int
    failed_calls: int
    unpriced_calls: int
    estimated_calls: int
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_usd: str
    saved_usd: str
    latency_ms: int
    first_token_ms: int | None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Time first where it is grouped by, then the dearest group first. The totals are over every page."""

    group_by: str
    groups: list[UsageGroup]
    total_usd: str
    total_calls: int
    next_cursor: str | None


class CallView(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger. Cost null: the model has no known price. `latency_ms` is to the end of the answer."""

    call_id: UUID
    settled_at: datetime
    kind: str
    outcome: str
    project: UUID
    api_key: UUID | None
    user: str | None
    goal: UUID | None
    workflow: str | None
    run: UUID | None
    task: str | None
    agent_run: UUID | None
    provider: str
    model: str
    model_asked: str
    route_reason: str
    cache: str
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    image_input_tokens: int
    image_output_tokens: int
    cached_audio_tokens: int
    searches: int
    service_tier: str | None
    cost_usd: str | None
    saved_usd: str
    estimated: bool
    latency_ms: int
    first_token_ms: int | None
    attempts: int
    finish_reason: str | None
    streamed: bool
    simulated: bool
    limit_lowered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which calls: those settled in [from_, to), alike in everything that is given."""

    from_: datetime | None = None
    to: datetime | None = None
    provider: str | None = None
    model: str | None = None
    model_asked: str | None = None
    user: str | None = None
    api_key: UUID | None = None
    project: UUID | None = None
    goal: UUID | None = None
    workflow: str | None = None
    run: UUID | None = None
    task: str | None = None
    agent_run: UUID | None = None
    kind: str | None = None
    outcome: str | None = None
    cache: str | None = None

    def values(self) -> dict[str, Any]:
        """What is given."""
        return {name: value for name in _EQUAL if (value := getattr(self, name)) is not None}


class ByUse(NamedTuple):
    """Where a list of groups goes on: time, cost below zero, and the keys."""

    at: str
    cheap: int
    place: list[str]


class ByTime(NamedTuple):
    """Where a list of calls goes on."""

    at: datetime
    id: UUID


class LedgerQueries:
    """The tenant's own rows only, by row-level security."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def usage(
        self,
        tenant_id: UUID,
        group_by: Sequence[GroupBy],
        which: CallFilter,
        *,
        time_zone: str,
        after: ByUse | None,
        limit: int,
    ) -> tuple[list[dict[str, Any]], int, int]:
        """At most `limit + 1` groups after the one named, and the cost and number of all calls that are meant."""
        texts = [_TEXT_OF.get(name, name) for name in group_by]
        time = next((_MOMENT.get(name, "k{}").format(at) for at, name in enumerate(group_by) if name in BUCKETS), "''")
        named = ", ".join(f"{text} AS k{at}" for at, text in enumerate(texts))
        order = ", ".join(f"COALESCE('=' || k{at}, '')" for at in range(len(texts)))
        values = which.values()
        query = f"""
            WITH grouped AS (SELECT {named}, {_SUMS} FROM calls {_where(values)} GROUP BY {_numbers(texts)}),
            ranked AS (SELECT *, ({time})::text COLLATE "C" AS at, -cost AS cheap,
              ARRAY[{order}] COLLATE "C" AS place, sum(cost) OVER ()::bigint AS total,
              sum(calls) OVER ()::bigint AS total_calls FROM grouped)
            SELECT * FROM ranked
            WHERE %(at)s::text IS NULL OR (at, cheap, place) > (%(at)s, %(cheap)s, %(place)s::text[])
            ORDER BY at, cheap, place LIMIT %(most)s
        """  # noqa: S608 - columns of the tables above
        place = after._asdict() if after else {"at": None, "cheap": 0, "place": []}
        if not is_time_zone(time_zone):  # PostgreSQL would also take what POSIX calls one: abc5
            raise _unknown_zone(time_zone)
        async with self._database.transaction(tenant_id) as connection:
            try:
                await connection.execute("SELECT set_config('TimeZone', %s, true)", (time_zone,))
            except psycopg.errors.InvalidParameterValue as error:
                raise _unknown_zone(time_zone) from error
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(query.encode(), values | place | {"most": limit + 1})).fetchall()
        return rows, rows[0]["total"] if rows else 0, rows[0]["total_calls"] if rows else 0

    async def calls(self, tenant_id: UUID, which: CallFilter, *, after: ByTime | None, limit: int) -> list[CallView]:
        """At most `limit + 1` calls, newest first, before the one named."""
        values = which.values()
        where = _where(values, "(settled_at, call_id) < (%(at)s, %(id)s)" if after else None)
        query = f"{_CALLS} {where} ORDER BY settled_at DESC, call_id DESC LIMIT %(most)s"
        place = after._asdict() if after else {}
        return await self._views(tenant_id, query, values | place | {"most": limit + 1})

    async def call(self, tenant_id: UUID, call_id: UUID) -> CallView:
        """One call; raises `CallNotFound`."""
        found = await self._views(tenant_id, f"{_CALLS} WHERE call_id = %(id)s", {"id": call_id})
        if not found:
            raise CallNotFound("There is no such call, or it is not over.")
        return found[0]

    async def called(self, tenant_id: UUID, call_ids: Sequence[UUID]) -> list[CallView]:
        """Those of these calls that are over, in no order."""
        return await self._views(tenant_id, f"{_CALLS} WHERE call_id = ANY(%(ids)s)", {"ids": list(call_ids)})

    async def export(self, tenant_id: UUID, which: CallFilter, *, until: datetime) -> AsyncGenerator[list[CallView]]:
        """Every call settled before `until`, oldest first, in batches: no connection is held while one is sent."""
        values = which.values() | {"until": until, "most": EXPORT_BATCH}
        after: ByTime | None = None
        while True:
            later = "settled_at < %(until)s" + (" AND (settled_at, call_id) > (%(at)s, %(id)s)" if after else "")
            query = f"{_CALLS} {_where(values, later)} ORDER BY settled_at, call_id LIMIT %(most)s"
            place = after._asdict() if after else {}
            batch = await self._views(tenant_id, query, values | place)
            if batch:
                yield batch
            if len(batch) < EXPORT_BATCH:
                return
            after = ByTime(batch[-1].settled_at, batch[-1].call_id)

    async def _views(self, tenant_id: UUID, query: str, values: Mapping[str, Any]) -> list[CallView]:
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(query.encode(), values)).fetchall()
        return [_view(row) for row in rows]

    async def spent_by_runs(self, tenant_id: UUID, run_ids: Sequence[UUID]) -> int:
        """Nano-dollars of all calls of these runs."""
        async with self._database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_OF_RUNS, (list(run_ids),))).fetchone()
        return int(row[0]) if row else 0

    async def answered_in_run(self, tenant_id: UUID, run_id: UUID) -> Answered:
        """The models that answered in this run, whatever became of the tasks that asked."""
        async with self._database.transaction(tenant_id) as connection:
            [row] = await (await connection.execute(_ANSWERED, (run_id,))).fetchall()
        return Answered(*row)


def usage_of(
    group_by: Sequence[GroupBy], rows: Sequence[Mapping[str, Any]], *, totals: tuple[int, int], next_cursor: str | None
) -> Usage:
    """The groups as the API shows them."""
    return Usage(
        group_by=",".join(group_by),
        groups=[_group(group_by, row) for row in rows],
        total_usd=usd_text(totals[0]),
        total_calls=totals[1],
        next_cursor=next_cursor,
    )


def _group(group_by: Sequence[GroupBy], row: Mapping[str, Any]) -> UsageGroup:
    keys = {str(name): row[f"k{at}"] for at, name in enumerate(group_by)}
    counts = {name: row[name] for name in UsageGroup.__struct_fields__ if name in row}
    cost, saved = usd_text(row["cost"]), usd_text(row["saved"])
    return UsageGroup(key=row["k0"], keys=keys, cost_usd=cost, saved_usd=saved, **counts)


def _view(row: Mapping[str, Any]) -> CallView:
    told = {name: row[name] for name in CallView.__struct_fields__ if name in row}
    told |= {
        name: 0 for name, value in told.items() if value is None and (name.endswith("_tokens") or name == "searches")
    }
    cost = usd_text(row["cost_nanousd"]) if row["priced"] else None
    return CallView(**told, cost_usd=cost, saved_usd=usd_text(row["saved_nanousd"]))


def _where(values: Mapping[str, Any], more: str | None = None) -> str:
    terms = [_EQUAL[name] for name in values if name in _EQUAL] + ([more] if more else [])
    return "WHERE " + " AND ".join(terms) if terms else ""


def _numbers(texts: Sequence[str]) -> str:
    return ", ".join(str(at + 1) for at in range(len(texts)))


GROUPS = get_args(GroupBy)
