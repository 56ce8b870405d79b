"""The ledger over HTTP: sums by any of its columns, its calls, and all of them as CSV."""

import csv
import io
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Router, get
from litestar.di import NamedDependency, Provide
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Permission
from cognitionos.llm_gateway.infrastructure.usage_queries import (
    GROUPS,
    ByTime,
    ByUse,
    CallFilter,
    CallView,
    GroupBy,
    LedgerQueries,
    Usage,
    UsageRefused,
    usage_of,
)
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor, page

MOST_GROUPINGS = 4
_CSV = "text/csv; charset=utf-8"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|")
"""What a spreadsheet may take for the start of a formula. Source: OWASP, "CSV Injection"."""
From = Annotated[datetime | None, QueryParameter(name="from", description="settled at or after this time")]
To = Annotated[datetime | None, QueryParameter(name="to", description="settled before this time")]
Word = Annotated[str | None, QueryParameter(max_length=512)]
Outcome = Literal["ok", "error", "aborted", "lost"]
Groupings = Annotated[
    str,
    QueryParameter(
        pattern=f"^({'|'.join(GROUPS)})(,({'|'.join(GROUPS)}))*$",
        description=f"what to group by, at most {MOST_GROUPINGS} with commas between: {', '.join(GROUPS)}",
    ),
]
TimeZone = Annotated[
    str, QueryParameter(pattern="^[A-Za-z0-9_+/-]{1,64}$", description="of hour, day, week and month: an IANA name")
]


def call_filter(
    *,
    from_: From = None,
    to: To = None,
    provider: Word = None,
    model: Word = None,
    model_asked: Word = None,
    user: Word = None,
    api_key: FromQuery[UUID | None] = None,
    project: FromQuery[UUID | None] = None,
    goal: FromQuery[UUID | None] = None,
    workflow: Word = None,
    run: FromQuery[UUID | None] = None,
    task: Word = None,
    agent_run: FromQuery[UUID | None] = None,
    kind: FromQuery[Literal["chat", "embedding"] | None] = None,
    outcome: FromQuery[Outcome | None] = None,
    cache: Word = None,
) -> CallFilter:
    """Which calls the query parameters mean; `model` is `provider/model` or bare."""
    given: dict[str, Any] = dict(locals())
    texts = (given[name] for name in ("provider", "model", "model_asked", "user", "workflow", "task", "cache"))
    if any("\0" in text for text in texts if text):
        raise UsageRefused("No call has a NUL in a name.")
    for name in ("from_", "to"):
        if given[name] is not None and given[name].tzinfo is None:
            given[name] = given[name].replace(tzinfo=UTC)
    return CallFilter(**given)


class UsageRoutes(Controller):
    """What was used, and what it cost."""

    path = "/v1"
    tags = ("money",)

    @get("/usage", guards=[requires(Permission.USAGE_READ)], summary="Sum up usage", responses=problems(422))
    async def usage(
        self,
        ledger: NamedDependency[LedgerQueries],
        which: NamedDependency[CallFilter],
        who: Who,
        group_by: Groupings = "model",
        timezone: TimeZone = "UTC",
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Usage:
        """Calls, tokens and exact money of the ledger, by one or more of its columns and of time."""
        names = _names(group_by)
        rows, *totals = await ledger.usage(
            who.tenant_id, names, which, time_zone=timezone, after=decode_cursor(cursor, ByUse), limit=limit
        )
        shown = rows[:limit]
        last = shown[-1] if len(rows) > limit else None
        more = None if last is None else encode_cursor(last["at"], last["cheap"], last["place"])
        return usage_of(names, shown, totals=(totals[0], totals[1]), next_cursor=more)

    @get("/usage/calls", guards=[requires(Permission.USAGE_READ)], summary="List calls", responses=problems(422))
    async def calls(
        self,
        ledger: NamedDependency[LedgerQueries],
        which: NamedDependency[CallFilter],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[CallView]:
        """Rows of the ledger, newest first."""
        rows = await ledger.calls(who.tenant_id, which, after=decode_cursor(cursor, ByTime), limit=limit)
        return page(rows, limit, lambda row: (row.settled_at, row.call_id))

    @get(
        "/usage/calls/{call_id:uuid}",
        guards=[requires(Permission.USAGE_READ)],
        summary="Read a call",
        responses=problems(404),
    )
    async def call(self, call_id: FromPath[UUID], ledger: NamedDependency[LedgerQueries], who: Who) -> CallView:
        """The row of one call: its id is in the header `x-cognitionos-call-id` of the answer."""
        return await ledger.call(who.tenant_id, call_id)

    @get(
        "/usage.csv",
        guards=[requires(Permission.USAGE_READ)],
        summary="Export calls as CSV",
        responses=problems(422)
        | {200: ResponseSpec(str, media_type="text/csv", generate_examples=False, description="The calls")},
    )
    async def export(
        self,
        ledger: NamedDependency[LedgerQueries],
        which: NamedDependency[CallFilter],
        now: NamedDependency[Clock],
        who: Who,
    ) -> Stream:
        """Every column of every call, oldest first. A cell that a spreadsheet would run gets a `'` before it."""
        batches = ledger.export(who.tenant_id, which, until=now())
        headers = {"content-disposition": 'attachment; filename="usage.csv"', "content-type": _CSV}
        return Stream(_csv(batches), headers=headers)


def routes(ledger: LedgerQueries, now: Clock) -> Router:
    """The router."""
    dependencies = {
        "ledger": instance(ledger),
        "now": instance(now),
        "which": Provide(call_filter, sync_to_thread=False),
    }
    return Router("/", route_handlers=[UsageRoutes], dependencies=dependencies)


async def _csv(batches: AsyncGenerator[list[CallView]]) -> AsyncGenerator[bytes]:
    yield _lines([CallView.__struct_fields__])
    async for batch in batches:
        yield _lines([[_cell(value) for value in msgspec.structs.astuple(view)] for view in batch])


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _names(group_by: str) -> list[GroupBy]:
    names = list(dict.fromkeys(group_by.split(",")))
    if len(names) > MOST_GROUPINGS:
        raise UsageRefused(f"At most {MOST_GROUPINGS} groupings at once.", fields={"group_by": "too many"})
    return msgspec.convert(names, list[GroupBy])
