"""Conversations over HTTP: messages answered whole or as a stream of what happens, taken up again, cancelled."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Controller, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from cognitionos.agents.application.conversations import Conversations
from cognitionos.agents.domain.conversation import ConversationNotFound, NothingToResume, Turn
from cognitionos.agents.infrastructure.conversation_store import PostgresTalks, TalkRow
from cognitionos.agents.infrastructure.queries import After, AgentQueries, StepView
from cognitionos.kernel.errors import DomainError
from cognitionos.kernel.money import usd_text
from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

SSE = "text/event-stream"
HEARTBEAT_S = 15.0
DEFAULT_AGENT = "executor"
LONGEST_MESSAGE = 20_000


class StartConversation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`agent` is one of `/v1/agents`."""

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = DEFAULT_AGENT
    title: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*\Z")] = ""


class ConversationView(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. `status` is its last turn's; null: nobody has said anything."""

    id: UUID
    agent: str
    title: str
    turns: int
    status: str | None
    created_at: datetime


class SendMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is said. `stream`: tell what happens as it happens (`text/event-stream`)."""

    content: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_MESSAGE, pattern=r"^[^\x00]*\Z")]
    stream: bool = False


class ResumeTurn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`stream` as for a message."""

    stream: bool = False


class TurnView(msgspec.Struct, frozen=True, kw_only=True):
    """A message and its answer. `status`: running, succeeded, failed or cancelled; `error` has `type` and `detail`.

    `files` are those that the agent wrote; `prompts` the prompt version of each agent that took part.
    """

    id: UUID
    number: int
    status: str
    message: str
    answer: str | None
    error: dict[str, Any] | None
    model: str | None
    simulated: bool
    prompts: dict[str, str]
    files: list[str]
    steps: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str
    started_at: datetime
    ended_at: datetime | None


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
        self, data: JSONBody[StartConversation], conversations: NamedDependency[Conversations], who: Who
    ) -> Response[ConversationView]:
        """With an agent, which uses its tools and what memory knows."""
        talk = await conversations.create(who, agent=data.agent, title=data.title)
        view = ConversationView(
            id=talk.id, agent=talk.agent, title=talk.title, turns=0, status=None, created_at=talk.created_at
        )
        return Response(view, status_code=201, headers={"location": f"/v1/conversations/{talk.id}"})

    @get("", guards=[requires(Permission.RUNS_READ)], summary="List conversations")
    async def list_conversations(
        self, talks: NamedDependency[PostgresTalks], who: Who, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[ConversationView]:
        """Newest first."""
        rows = await talks.listed(who.tenant_id, limit=limit + 1, after=decode_cursor(cursor, Older))
        return page([_talk(row) for row in rows], limit, lambda each: (each.created_at, each.id))

    @get(
        "/{conversation_id:uuid}",
        guards=[requires(Permission.RUNS_READ)],
        summary="Read a conversation",
        responses=problems(404),
    )
    async def read(
        self, conversation_id: FromPath[UUID], talks: NamedDependency[PostgresTalks], who: Who
    ) -> ConversationView:
        """Without its messages."""
        rows = await talks.listed(who.tenant_id, limit=1, only=conversation_id)
        if not rows:
            raise ConversationNotFound(f"There is no conversation {conversation_id}.")
        return _talk(rows[0])

    @delete(
        "/{conversation_id:uuid}",
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Delete a conversation",
        responses=problems(404),
    )
    async def remove(
        self, conversation_id: FromPath[UUID], conversations: NamedDependency[Conversations], who: Who
    ) -> None:
        """Its messages, the journal of its agents and their files. What it cost stays in the ledger."""
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
        talks: NamedDependency[PostgresTalks],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[TurnView]:
        """Each with its answer, oldest first."""
        await talks.get(who.tenant_id, conversation_id)
        after = decode_cursor(cursor, After)
        turns = await talks.turns(
            who.tenant_id, conversation_id, after=0 if after is None else after.number, limit=limit + 1
        )
        return page([_turn(each) for each in turns], limit, lambda each: (each.number,))

    @get(
        "/{conversation_id:uuid}/steps",
        guards=[requires(Permission.RUNS_READ)],
        summary="List what the agents of a conversation did",
        responses=problems(404),
    )
    async def list_steps(
        self,
        conversation_id: FromPath[UUID],
        talks: NamedDependency[PostgresTalks],
        agent_queries: NamedDependency[AgentQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[StepView]:
        """Their journal, oldest first."""
        await talks.get(who.tenant_id, conversation_id)
        after = decode_cursor(cursor, After)
        rows = await agent_queries.steps(who.tenant_id, conversation_id, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.number,))


class MessageRoutes(Controller):
    """What is said in a conversation."""

    path = "/v1/conversations/{conversation_id:uuid}"
    tags = ("conversations",)
    guards = (requires(Permission.RUNS_WRITE),)

    @post("/messages", status_code=200, summary="Say something", responses=problems(404, 409, 422))
    async def say(
        self,
        conversation_id: FromPath[UUID],
        data: JSONBody[SendMessage],
        conversations: NamedDependency[Conversations],
        who: Who,
    ) -> Response[TurnView]:
        """The agent's answer. It works on when nobody waits any more. As a stream: `agent.*` events as in a run, then
        `message` with the turn or `error` with a problem; a comment while nothing happens.
        """
        told: asyncio.Queue[_Event] = asyncio.Queue()
        work = await conversations.say(who, conversation_id, data.content, report=_into(told))
        return await _answer(work, told, stream=data.stream)

    @post("/resume", status_code=200, summary="Resume a broken-off turn", responses=problems(404, 409, 422))
    async def resume(
        self,
        conversation_id: FromPath[UUID],
        data: JSONBody[ResumeTurn],
        conversations: NamedDependency[Conversations],
        who: Who,
    ) -> Response[TurnView]:
        """After a crash: what the agent had done is not done again. 409 while its process may be alive (10 s)."""
        told: asyncio.Queue[_Event] = asyncio.Queue()
        work = await conversations.resume(who, conversation_id, report=_into(told))
        return await _answer(work, told, stream=data.stream)

    @post("/cancel", status_code=200, summary="Cancel a turn", responses=problems(404, 409))
    async def cancel(
        self, conversation_id: FromPath[UUID], conversations: NamedDependency[Conversations], who: Who
    ) -> TurnView:
        """The one under way, in whichever process; within a second it spends nothing more."""
        turn = await conversations.cancel(who, conversation_id)
        if turn is None:
            raise NothingToResume("No turn of this conversation is under way.")
        return _turn(turn)


_Event = tuple[str, Mapping[str, Any]]


def routes(*, conversations: Conversations, talks: PostgresTalks, queries: AgentQueries) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[ConversationRoutes, MessageRoutes],
        dependencies={
            "conversations": instance(conversations),
            "talks": instance(talks),
            "agent_queries": instance(queries),
        },
    )


def _into(told: "asyncio.Queue[_Event]") -> Any:
    async def report(kind: str, data: dict[str, Any]) -> None:
        told.put_nowait((kind, data))

    return report


async def _answer(work: "asyncio.Task[Turn]", told: "asyncio.Queue[_Event]", *, stream: bool) -> Response[TurnView]:
    if not stream:
        return Response(_turn(await asyncio.shield(work)))
    made: Any = Stream(
        _frames(work, told), media_type=SSE, headers={"cache-control": "no-store", "x-accel-buffering": "no"}
    )
    return made  # type: ignore[no-any-return]


async def _frames(work: "asyncio.Task[Turn]", told: "asyncio.Queue[_Event]") -> AsyncIterator[bytes]:
    """What happens, and at last how it ended. The work goes on when the client is gone."""
    while not (work.done() and told.empty()):
        getting = asyncio.create_task(told.get())
        try:
            await asyncio.wait({work, getting}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield _frame(*getting.result())
            elif not work.done():
                yield b": still here\n\n"
        finally:
            getting.cancel()
    if work.cancelled():
        yield _frame("error", {"type": "/problems/unavailable", "detail": "The server stops; resume the turn."})
    elif (error := work.exception()) is not None:
        yield _frame("error", _problem(error))
    else:
        yield _frame("message", msgspec.to_builtins(_turn(work.result())))


def _frame(kind: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))


def _problem(error: BaseException) -> Mapping[str, Any]:
    if isinstance(error, DomainError):
        return {"type": f"/problems/{error.type_slug()}", "detail": error.detail}
    return {"type": "/problems/internal-error", "detail": "The agent stopped for a reason of ours; the log has it."}


def _talk(row: TalkRow) -> ConversationView:
    return ConversationView(
        id=row.id, agent=row.agent, title=row.title, turns=row.turns, status=row.status, created_at=row.created_at
    )


def _turn(turn: Turn) -> TurnView:
    outcome = turn.outcome or {}
    return TurnView(
        id=turn.id,
        number=turn.number,
        status=turn.status.value,
        message=turn.message,
        answer=turn.answer,
        error=None if turn.error is None else dict(turn.error),
        model=outcome.get("model"),
        simulated=outcome.get("simulated", False),
        prompts=outcome.get("prompt_versions", {}),
        files=outcome.get("files", []),
        steps=outcome.get("steps", 0),
        prompt_tokens=outcome.get("prompt_tokens", 0),
        completion_tokens=outcome.get("completion_tokens", 0),
        cost_usd=usd_text(outcome.get("cost_nanousd", 0)),
        started_at=turn.started_at,
        ended_at=turn.ended_at,
    )
