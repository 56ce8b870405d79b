"""A project's memory over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from cognitionos.kernel.principal import Permission, Principal
from cognitionos.memory.application.ports import Scope
from cognitionos.memory.application.recall import MAX_QUERY_CHARACTERS, MAX_RECALLED, Recall, Recollection
from cognitionos.memory.application.remember import NewMemory, Remember
from cognitionos.memory.domain.item import MAX_CONTENT_BYTES, MemoryKind, Source
from cognitionos.memory.infrastructure.queries import After, MemoryQueries, MemoryView, view_of
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

Content = Annotated[str, msgspec.Meta(min_length=1, description=f"at most {MAX_CONTENT_BYTES} bytes of UTF-8")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Kind = Annotated[MemoryKind | None, QueryParameter(description="only memories of this kind")]


class MemorySource(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where it comes from; who says it is taken from the key."""

    goal_id: UUID | None = None
    run_id: UUID | None = None
    url: str | None = None


class CreateMemory(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Something to remember. `supersedes` names the memory that no longer holds because of it."""

    content: Content
    kind: MemoryKind = MemoryKind.NOTE
    tags: list[str] = []
    source: MemorySource = msgspec.field(default_factory=MemorySource)
    confidence: Share = 1.0
    valid_until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    supersedes: UUID | None = None


class SearchMemories(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to look for, in plain words."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_QUERY_CHARACTERS)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_RECALLED)] = 10
    kind: MemoryKind | None = None
    min_confidence: Share = 0.0
    include_superseded: bool = False


class ScoreParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the score is made of: `dense` is the cosine with the question (null without an embedding), `text` BM25."""

    dense: float | None
    text: float


class FoundMemory(MemoryView, frozen=True, kw_only=True):
    """A memory with its score, which orders this one answer and does not compare between answers."""

    score: float
    parts: ScoreParts


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Best first. `degraded`: no embedding model answered, so words alone decided."""

    items: list[FoundMemory]
    degraded: bool


class MemoryRoutes(Controller):
    """The memory of the key's project."""

    path = "/v1/memories"
    tags = ("memory",)

    @post(
        guards=[requires(Permission.MEMORIES_WRITE)],
        summary="Remember something",
        responses={
            200: ResponseSpec(MemoryView, generate_examples=False, description="Known already: nothing was added"),
            **problems(404, 422),
        },
    )
    async def create(
        self, data: JSONBody[CreateMemory], remember: NamedDependency[Remember], who: Who
    ) -> Response[MemoryView]:
        """Content that the project knows already is not stored twice: 200 with the one there is."""
        kept = await remember.remember(_scope(who), _new(data, who))
        return Response(
            view_of(kept.item),
            status_code=201 if kept.created else 200,
            headers={"location": f"{self.path}/{kept.item.id}"},
        )

    @get(guards=[requires(Permission.MEMORIES_READ)], summary="List memories")
    async def list_memories(
        self,
        memory_queries: NamedDependency[MemoryQueries],
        who: Who,
        kind: Kind = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[MemoryView]:
        """Newest first, superseded and outdated ones too."""
        after = decode_cursor(cursor, After)
        rows = await memory_queries.page(who.tenant_id, who.project_id, kind=kind, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.id,))

    @post(
        "/search",
        status_code=200,
        guards=[requires(Permission.MEMORIES_READ)],
        summary="Search memories",
        responses=problems(422),
    )
    async def search(self, data: JSONBody[SearchMemories], recall: NamedDependency[Recall], who: Who) -> SearchAnswer:
        """By meaning and by words at once."""
        answer = await recall.recall(
            _scope(who),
            data.query,
            limit=data.limit,
            kinds=() if data.kind is None else (data.kind,),
            min_confidence=data.min_confidence,
            include_superseded=data.include_superseded,
        )
        return SearchAnswer(items=[_found(each) for each in answer.found], degraded=answer.degraded)

    @get(
        "/{memory_id:uuid}",
        guards=[requires(Permission.MEMORIES_READ)],
        summary="Get a memory",
        responses=problems(404),
    )
    async def get_memory(
        self, memory_id: FromPath[UUID], memory_queries: NamedDependency[MemoryQueries], who: Who
    ) -> MemoryView:
        """One memory of the key's project."""
        return await memory_queries.one(who.tenant_id, who.project_id, memory_id)

    @delete(
        "/{memory_id:uuid}",
        guards=[requires(Permission.MEMORIES_WRITE)],
        summary="Forget a memory",
        responses=problems(404),
    )
    async def forget(self, memory_id: FromPath[UUID], remember: NamedDependency[Remember], who: Who) -> None:
        """Erased with its words and its embedding; no copy is kept."""
        await remember.forget(_scope(who), memory_id)


def routes(*, remember: Remember, recall: Recall, queries: MemoryQueries) -> Router:
    """The routes on these services."""
    return Router(
        path="/",
        route_handlers=[MemoryRoutes],
        dependencies={
            "remember": instance(remember),
            "recall": instance(recall),
            "memory_queries": instance(queries),
        },
    )


def _scope(who: Principal) -> Scope:
    return Scope(tenant_id=who.tenant_id, project_id=who.project_id, api_key_id=who.api_key_id, user=who.user)


def _new(data: CreateMemory, who: Principal) -> NewMemory:
    given = data.source
    return NewMemory(
        content=data.content,
        kind=data.kind,
        source=Source(goal_id=given.goal_id, run_id=given.run_id, url=given.url, user=who.user),
        tags=tuple(data.tags),
        confidence=data.confidence,
        valid_until=data.valid_until,
        supersedes=data.supersedes,
    )


def _found(recollection: Recollection) -> FoundMemory:
    rank = recollection.rank
    return FoundMemory(
        **msgspec.structs.asdict(view_of(recollection.item)),
        score=rank.score,
        parts=ScoreParts(dense=rank.dense, text=rank.text),
    )
