"""The caches over HTTP: what they did, declaring answers void, asking ahead."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.money import nanousd, usd_text
from cognitionos.kernel.principal import Permission
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.cache_warming import Warmed, Warming
from cognitionos.llm_gateway.domain.cached import EVERYTHING
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import InvalidChatRequest
from cognitionos.llm_gateway.infrastructure.answers import caller_of
from cognitionos.llm_gateway.infrastructure.cache_control import wished
from cognitionos.llm_gateway.infrastructure.cache_queries import CacheQueries, CacheStats
from cognitionos.llm_gateway.infrastructure.openai_schema import chat_request, encode
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.http_problems import problem_of

MOST_REQUESTS = 500
MOST_AT_ONCE = 16
NDJSON = "application/x-ndjson"
_DEAREST_USD = Decimal(10**6)
Everything = Annotated[bool | None, QueryParameter(name="all", description="every answer of the tenant")]
Scope = Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=r"^[^\x00]*\Z")]


class NothingToVoid(Invalid):
    """An invalidation that names nothing."""


class VoidedView(msgspec.Struct, frozen=True):
    """What is void from now on, in every layer and process; `deleted` answers were taken out of PostgreSQL."""

    voided: list[str]
    deleted: int


class WarmCache(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Chat completion bodies to ask ahead, `at_once` of them at a time, for at most `max_cost_usd` together."""

    requests: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=MOST_REQUESTS)]
    max_cost_usd: (
        Annotated[
            Decimal, msgspec.Meta(description="exact decimal dollars, as a string or a number", examples=["0.50"])
        ]
        | None
    ) = None
    at_once: Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_ONCE)] = 4


class CacheRoutes(Controller):
    """Answers that were paid once."""

    path = "/v1/cache"
    tags = ("cache",)

    @get("/stats", guards=[requires(Permission.USAGE_READ)], summary="Read what the caches did")
    async def stats(
        self,
        cache_queries: NamedDependency[CacheQueries],
        who: Who,
        since: FromQuery[datetime | None] = None,
        until: FromQuery[datetime | None] = None,
    ) -> CacheStats:
        """Hits, ages and dollars saved of each layer, of calls settled in [since, until); what it keeps now."""
        return await cache_queries.stats(who.tenant_id, since=since, until=until)

    @delete(
        "/",
        status_code=200,
        guards=[requires(Permission.MODELS_ADMIN)],
        summary="Declare kept answers void",
        responses=problems(422),
    )
    async def void(
        self,
        voids: NamedDependency[Voids],
        who: Who,
        key: FromQuery[list[Scope] | None] = None,
        tag: FromQuery[list[Scope] | None] = None,
        model: FromQuery[list[Scope] | None] = None,
        everything: Everything = None,
    ) -> VoidedView:
        """By `key` (the header `x-cognitionos-cache-key` of an answer), `tag` or `model`, each as often as needed.

        `all=true` voids all of the tenant's. Answers that providers were asked for before do not come back.
        """
        named = {"key": key, "tag": tag, "model": model}
        scopes = [f"{kind}:{name}" for kind, names in named.items() for name in names or ()]
        if everything:
            scopes = [EVERYTHING]
        if not scopes:
            raise NothingToVoid("Name a key, a tag or a model, or all=true.", fields={"key": "or tag, model, all=true"})
        return VoidedView(voided=scopes, deleted=await voids.void(who.tenant_id, scopes))

    @post(
        "/warm",
        status_code=200,
        guards=[requires(Permission.MODELS_CALL)],
        summary="Ask ahead",
        responses={
            200: ResponseSpec(str, media_type=NDJSON, generate_examples=False, description="A line per request"),
            **problems(422),
        },
    )
    async def warm(
        self, data: JSONBody[WarmCache], request: Request[Any, Any, Any], warming: NamedDependency[Warming], who: Who
    ) -> Stream:
        """Runs the requests like any call, paid and under the same budgets, and says of each how it ended.

        A line per request as it ends, then one with the sums. Whoever closes the connection stops what is left.
        """
        most = data.max_cost_usd
        if most is not None and not (most.is_finite() and 0 <= most <= _DEAREST_USD):
            raise Invalid("'max_cost_usd' must be an amount of dollars.", fields={"max_cost_usd": "0 or more"})
        asked = [_asked(index, body, request) for index, body in enumerate(data.requests)]
        outcomes = warming.run(
            caller_of(who, None),
            asked,
            most_nanousd=None if most is None else nanousd(most),
            at_once=data.at_once,
        )
        return Stream(_lines(outcomes), media_type=NDJSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDoor:
    """What the routes need besides the invalidations."""

    queries: CacheQueries
    warming: Warming


def routes(voids: Voids, door: CacheDoor) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[CacheRoutes],
        dependencies={
            "cache_queries": instance(door.queries),
            "voids": instance(voids),
            "warming": instance(door.warming),
        },
    )


def _asked(index: int, body: dict[str, Any], request: Request[Any, Any, Any]) -> ChatRequest:
    """One of the requests; what is wrong with it is named by its place in the list."""
    try:
        return wished(chat_request(dict(body)), request.scope["headers"])
    except InvalidChatRequest as error:
        fields = {f"requests.{index}.{name}": message for name, message in error.fields.items()}
        raise InvalidChatRequest(f"Request {index}: {error}", fields=fields) from error


async def _lines(outcomes: AsyncGenerator[Warmed, None]) -> AsyncGenerator[bytes, None]:
    count, failed, cost = 0, 0, 0
    async with aclosing(outcomes) as ended:
        async for each in ended:
            count += 1
            failed += each.error is not None
            cost += each.result.cost_nanousd if each.result is not None else 0
            yield encode(_line(each)) + b"\n"
    yield encode({"done": True, "requests": count, "failed": failed, "cost_usd": usd_text(cost)}) + b"\n"


def _line(warmed: Warmed) -> dict[str, Any]:
    result = warmed.result
    if result is None:
        problem = problem_of(warmed.error or RuntimeError("a call ended with nothing"))
        return {"index": warmed.index, "error": {"type": problem.slug, "detail": problem.detail}}
    return {
        "index": warmed.index,
        "cache": result.cache,
        "cache_key": result.cache_key,
        "model": result.model,
        "cost_usd": usd_text(result.cost_nanousd) if result.priced else "unknown",
    }
