"""Conversations over HTTP: messages answered whole or as a stream of what happens, taken up again, cancelled."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from litestar import Controller, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromPath, HeaderParameter, JSONBody
from litestar.response import Stream

from cognitionos.agents.application.conversation_feed import Ear
from cognitionos.agents.application.conversations import Conversations, Underway
from cognitionos.agents.domain.conversation import NothingToResume
from cognitionos.agents.infrastructure.conversation_queries import TalkQueries
from cognitionos.agents.infrastructure.conversation_stream import SSE, Mark, TurnStreams
from cognitionos.agents.infrastructure.conversation_views import (
    ConversationView,
    ResumeTurn,
    SendMessage,
    StartConversation,
    TurnView,
    talk_view,
    turn_view,
)
from cognitionos.agents.infrastructure.http_history import HistoryRoutes, OfUser
from cognitionos.agents.infrastructure.queries import After, AgentQueries, StepView
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

LastEventId = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="`id` of the last event seen: go on after it")
]


class Older(NamedTuple):
    """Where a page of conversations begins."""

    created_at: datetime
    id: UUID


class ConversationRoutes(Controller):
    """Talking with an agent."""

    path = "/v1/conversations"
    tags = ("conversations",)

    @post("", guards=[requires(Permission.RUNS_WRITE)], summary="Start a conversation", responses=problems(404))
    async def start(
        self,
        data: JSONBody[StartConversation],
        conversations: NamedDependency[Conversations],
        talks: NamedDependency[TalkQueries],
        who: Who,
    ) -> Response[ConversationView]:
        """With an agent, which uses its tools and what memory knows."""
        talk = await conversations.create(who, agent=data.agent, title=data.title, user=data.user)
        view = talk_view(await talks.one(who.tenant_id, talk.id))
        return Response(view, status_code=201, headers={"location": f"/v1/conversations/{talk.id}"})

    @get("", guards=[requires(Permission.RUNS_READ)], summary="List conversations")
    async def list_conversations(
        self,
        talks: NamedDependency[TalkQueries],
        who: Who,
        user: OfUser = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ConversationView]:
        """Newest first."""
        after = decode_cursor(cursor, Older)
        rows = await talks.listed(who.tenant_id, limit=limit + 1, after=after, user=user)
        return page([talk_view(row) for row in rows], limit, lambda each: (each.created_at, each.id))

    @get(
        "/{conversation_id:uuid}",
        guards=[requires(Permission.RUNS_READ)],
        summary="Read a conversation",
        responses=problems(404),
    )
    async def read(
        self, conversation_id: FromPath[UUID], talks: NamedDependency[TalkQueries], who: Who
    ) -> ConversationView:
        """Without its messages."""
        return talk_view(await talks.one(who.tenant_id, conversation_id))

    @delete(
        "/{conversation_id:uuid}",
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Delete a conversation",
        responses=problems(404),
    )
    async def remove(
        self, conversation_id: FromPath[UUID], conversations: NamedDependency[Conversations], who: Who
    ) -> None:
        """Its messages, and what its agents did, wrote and kept. What it cost stays in the ledger."""
        await conversations.delete(who, conversation_id)

    @get(
        "/{conversation_id:uuid}/messages",
        guards=[requires(Permission.RUNS_READ)],
        summary="List messages",
        responses=problems(404),
    )
    async def list_messages(
        self,
        conversation_id: FromPath[UUID],
        talks: NamedDependency[TalkQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[TurnView]:
        """Each with its answer, oldest first."""
        await talks.one(who.tenant_id, conversation_id)
        after = decode_cursor(cursor, After)
        turns = await talks.turns(
            who.tenant_id, conversation_id, after=0 if after is None else after.number, limit=limit + 1
        )
        return page([turn_view(each) for each in turns], limit, lambda each: (each.number,))

    @get(
        "/{conversation_id:uuid}/steps",
        guards=[requires(Permission.RUNS_READ)],
        summary="List what the agents of a conversation did",
        responses=problems(404),
    )
    async def list_steps(
        self,
        conversation_id: FromPath[UUID],
        talks: NamedDependency[TalkQueries],
        agent_queries: NamedDependency[AgentQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[StepView]:
        """Their journal, oldest first."""
        await talks.one(who.tenant_id, conversation_id)
        after = decode_cursor(cursor, After)
        rows = await agent_queries.steps(who.tenant_id, conversation_id, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.number,))


class MessageRoutes(Controller):
    """What is said in a conversation."""

    path = "/v1/conversations/{conversation_id:uuid}"
    tags = ("conversations",)

    @post(
        "/messages",
        status_code=200,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Say something",
        responses=problems(404, 409, 422),
    )
    async def say(
        self,
        conversation_id: FromPath[UUID],
        data: JSONBody[SendMessage],
        conversations: NamedDependency[Conversations],
        streams: NamedDependency[TurnStreams],
        who: Who,
    ) -> Response[TurnView]:
        """The agent's answer. It works on when nobody waits any more. As a stream: `agent.delta` with the words of an
        answer as they come, `agent.*` as in a run, then `message` with the turn or `error` with a problem; a comment
        while nothing happens. What has an `id` can be taken up from there: `GET .../events`. A call that needs
        an approval is told as `approval.requested`, and the stream waits too; without a stream the answer is the turn
        with the status `waiting`.
        """
        ear = streams.feed.listen(conversation_id)
        underway = await conversations.say(who, conversation_id, data.content)
        return await _answer(streams, who.tenant_id, underway, ear, stream=data.stream)

    @get(
        "/events",
        guards=[requires(Permission.RUNS_READ)],
        summary="Follow a conversation",
        responses=problems(404),
        media_type=SSE,
    )
    async def events(
        self,
        conversation_id: FromPath[UUID],
        streams: NamedDependency[TurnStreams],
        who: Who,
        last_event_id: LastEventId = None,
    ) -> Response[bytes]:
        """The stream of the last turn, from its first step or after `Last-Event-ID`, until no turn is under way: steps
        and messages without gaps, the words of answers from now on (those before stand in the steps).
        """
        await streams.talks.one(who.tenant_id, conversation_id)
        if last_event_id:
            mark = _mark(last_event_id)
        else:
            mark = Mark(max(await streams.talks.last(who.tenant_id, conversation_id), 1))
        ear = streams.feed.listen(conversation_id)
        return _stream(streams.follow(who.tenant_id, conversation_id, ear, mark=mark))

    @post(
        "/resume",
        status_code=200,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Resume a broken-off turn",
        responses=problems(404, 409, 422),
    )
    async def resume(
        self,
        conversation_id: FromPath[UUID],
        conversations: NamedDependency[Conversations],
        streams: NamedDependency[TurnStreams],
        who: Who,
        data: JSONBody[ResumeTurn | None] = None,
    ) -> Response[TurnView]:
        """After a crash: what the agent had done is not done again. 409 while its process may be alive (10 s)."""
        ear = streams.feed.listen(conversation_id)
        underway = await conversations.resume(who, conversation_id)
        return await _answer(streams, who.tenant_id, underway, ear, stream=data is not None and data.stream)

    @post(
        "/cancel",
        status_code=200,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Cancel a turn",
        responses=problems(404, 409),
    )
    async def cancel(
        self, conversation_id: FromPath[UUID], conversations: NamedDependency[Conversations], who: Who
    ) -> TurnView:
        """The one under way, in whichever process; within a second it spends nothing more."""
        turn = await conversations.cancel(who, conversation_id)
        if turn is None:
            raise NothingToResume("No turn of this conversation is under way.")
        return turn_view(turn)


def routes(*, conversations: Conversations, talks: TalkQueries, streams: TurnStreams, queries: AgentQueries) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[ConversationRoutes, MessageRoutes, HistoryRoutes],
        dependencies={
            "conversations": instance(conversations),
            "streams": instance(streams),
            "talks": instance(talks),
            "agent_queries": instance(queries),
        },
    )


async def _answer(
    streams: TurnStreams, tenant_id: UUID, underway: Underway, ear: Ear, *, stream: bool
) -> Response[TurnView]:
    if not stream:
        return Response(turn_view(await asyncio.shield(underway.work)))
    turn = underway.turn
    frames = streams.follow(tenant_id, turn.conversation_id, ear, mark=Mark(turn.number), only=True)
    return _stream(frames)


def _stream(frames: AsyncIterator[bytes]) -> Response[Any]:
    made: Any = Stream(frames, media_type=SSE, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
    return made  # type: ignore[no-any-return]


def _mark(last_event_id: str) -> Mark:
    try:
        return Mark.parse(last_event_id)
    except ValueError as error:
        message = "must be the `id` of an event of this conversation"
        raise ValidationException(extra=[{"key": "Last-Event-ID", "message": message}]) from error
