"""History over HTTP: conversations searched, exported and deleted, all of them or a user's."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream

from cognitionos.agents.application.conversations import Conversations
from cognitionos.agents.domain.conversation import ConversationNotFound
from cognitionos.agents.infrastructure.conversation_queries import TalkQueries
from cognitionos.agents.infrastructure.conversation_views import (
    Deleted,
    FoundTurns,
    found_view,
    talk_view,
    turn_view,
)
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.platform.http_api import Who, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Limit

JSONL = "application/jsonl"
_PAGE = 200
_NO_NUL = r"^[^\x00]*\Z"

Words = Annotated[
    str,
    QueryParameter(
        name="q",
        min_length=1,
        max_length=500,
        pattern=_NO_NUL,
        description='all of these words; "a phrase", -without, or',
    ),
]
OfUser = Annotated[
    str | None,
    QueryParameter(
        name="user", min_length=1, max_length=200, pattern=_NO_NUL, description="only where this user spoke"
    ),
]
ThisUser = Annotated[
    str, QueryParameter(name="user", min_length=1, max_length=200, pattern=_NO_NUL, description="whose")
]


class HistoryRoutes(Controller):
    """What was said."""

    tags = ("conversations",)

    @get("/v1/conversations/search", guards=[requires(Permission.RUNS_READ)], summary="Search messages")
    async def search(
        self,
        talks: NamedDependency[TalkQueries],
        who: Who,
        q: Words,
        user: OfUser = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> FoundTurns:
        """Messages and answers in which the words stand, in any language, newest first."""
        return FoundTurns(
            items=[found_view(row) for row in await talks.search(who.tenant_id, q, user=user, limit=limit)]
        )

    @get(
        "/v1/conversations.jsonl",
        guards=[requires(Permission.RUNS_READ)],
        summary="Export conversations",
        responses={
            200: ResponseSpec(str, media_type=JSONL, generate_examples=False, description="One conversation a line")
        },
    )
    async def export(self, talks: NamedDependency[TalkQueries], who: Who, user: OfUser = None) -> Stream:
        """One conversation a line, newest first: as it is listed, with all its `messages`."""
        headers = {"content-disposition": 'attachment; filename="conversations.jsonl"'}
        return Stream(_lines(talks, who, user), media_type=JSONL, headers=headers)

    @delete(
        "/v1/conversations",
        status_code=200,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Delete a user's conversations",
    )
    async def remove_all(
        self,
        talks: NamedDependency[TalkQueries],
        conversations: NamedDependency[Conversations],
        who: Who,
        user: ThisUser,
    ) -> Deleted:
        """All in which the user spoke, with all that their agents did and kept. A turn under way is cancelled."""
        deleted = 0
        while rows := await talks.listed(who.tenant_id, limit=_PAGE, user=user):
            for row in rows:
                try:
                    await conversations.delete(who, row.id)
                    deleted += 1
                except ConversationNotFound:
                    continue  # somebody else was faster
        return Deleted(deleted=deleted)


async def _lines(talks: TalkQueries, who: Principal, user: str | None) -> AsyncIterator[bytes]:
    async for row, turns in talks.whole(who.tenant_id, user=user):
        talk = msgspec.structs.asdict(talk_view(row))
        yield msgspec.json.encode({**talk, "messages": [turn_view(turn) for turn in turns]}) + b"\n"
