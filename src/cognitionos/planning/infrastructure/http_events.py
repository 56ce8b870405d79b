"""A run's events over HTTP: a JSON page, or a stream (`text/event-stream`) that can be taken up again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream

from cognitionos.kernel.errors import Unavailable
from cognitionos.kernel.principal import Permission
from cognitionos.planning.infrastructure.event_feed import EventFeed
from cognitionos.planning.infrastructure.queries import PlanningQueries
from cognitionos.planning.infrastructure.views import EventView
from cognitionos.platform.http_api import Who, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Limit

SSE = "text/event-stream"
HEARTBEAT_S = 15.0
PAGE = 500
_AGAIN_S = 1.0

After = Annotated[int, QueryParameter(ge=0, le=2**62, description="only events with a higher `seq`")]
LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", description="`id` of the last event seen: the stream goes on after it"),
]


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events in order. Ask again with `after=next_after`; `is_final`: the run has ended and these are its last."""

    items: list[EventView]
    next_after: int
    is_final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStreams:
    """Makes streams of events."""

    queries: PlanningQueries
    feed: EventFeed

    async def page(self, tenant_id: UUID, run_id: UUID, *, after: int, limit: int) -> EventPage:
        """Some events after number `after`; a number that no event has yet counts as the last one's."""
        head, events = await self.queries.events(tenant_id, run_id, after=after, limit=limit)
        last = events[-1].seq if events else min(after, head.last_seq)
        return EventPage(items=events, next_after=last, is_final=head.status.is_final and last >= head.last_seq)

    async def stream(self, tenant_id: UUID, run_id: UUID, *, after: int) -> AsyncIterator[bytes]:
        """Events as they come, a comment every 15 s, and `event: end` after the run's last."""
        async with self.feed.watching(run_id) as woken:
            while not self.feed.closing:
                woken.clear()
                try:
                    page = await self.page(tenant_id, run_id, after=after, limit=PAGE)
                except Unavailable:
                    yield b": the database does not answer, still here\n\n"
                    await asyncio.sleep(_AGAIN_S)
                    continue
                for event in page.items:
                    yield _frame(event)
                after = page.next_after
                if page.is_final:
                    yield b'event: end\ndata: {"last_seq":%d}\n\n' % after
                    return
                if len(page.items) < PAGE and not await _waited(woken):
                    yield b": still here\n\n"


@get(
    "/v1/runs/{run_id:uuid}/events",
    guards=[requires(Permission.RUNS_READ)],
    summary="Follow a run",
    tags=["runs"],
    responses=problems(404),
)
async def run_events(
    request: Request[Any, Any, Any],
    run_id: FromPath[UUID],
    event_streams: NamedDependency[EventStreams],
    who: Who,
    last_event_id: LastEventId = None,
    after: After = 0,
    limit: Limit = DEFAULT_LIMIT,
) -> Response[EventPage]:
    """What happened in the run, in order and without gaps.

    With `Accept: text/event-stream` the events come as they happen: `id` is `seq`, `event` the kind, `data` the event
    as JSON; `event: end` closes the stream after the last. After a break, send `Last-Event-ID` (or `after`).
    """
    after = _number(last_event_id, after)
    if SSE not in request.headers.get("accept", ""):
        return Response(await event_streams.page(who.tenant_id, run_id, after=after, limit=limit))
    await event_streams.page(
        who.tenant_id, run_id, after=after, limit=1
    )  # not there: say so while a status can be given
    stream: Any = Stream(
        event_streams.stream(who.tenant_id, run_id, after=after),
        media_type=SSE,
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )
    return stream  # type: ignore[no-any-return]


def _number(last_event_id: str | None, after: int) -> int:
    if not last_event_id:
        return after
    if not last_event_id.isascii() or not last_event_id.isdecimal() or len(last_event_id) > 18:
        message = "must be the `id` of an event of this run"
        raise ValidationException(extra=[{"key": "Last-Event-ID", "message": message}])
    return max(after, int(last_event_id))


def _frame(event: EventView) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, event.kind.encode(), msgspec.json.encode(event))


async def _waited(woken: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(HEARTBEAT_S):
            await woken.wait()
    return woken.is_set()
