"""OpenAI's Responses API, stateless: nothing is stored, so a call carries all that it builds on."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, Router, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.llm_gateway.facade import Gateway
from cognitionos.llm_gateway.infrastructure.answers import (
    JSON,
    StreamedOperation,
    answer_headers,
    caller_of,
)
from cognitionos.llm_gateway.infrastructure.cache_control import wished
from cognitionos.llm_gateway.infrastructure.event_stream import Events, EventStream
from cognitionos.llm_gateway.infrastructure.openai_errors import OPENAI_ERRORS
from cognitionos.llm_gateway.infrastructure.openai_schema import decode_object, encode
from cognitionos.llm_gateway.infrastructure.responses_answer import ResponseEvents, response_of
from cognitionos.llm_gateway.infrastructure.responses_schema import responses_request
from cognitionos.platform.http_api import instance, requires
from cognitionos.platform.http_problems import vendor_errors


class ResponsesBody(msgspec.Struct, kw_only=True):
    """What a call takes. Every further field is passed on to the provider unchanged."""

    input: str | Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    model: str | None = None
    instructions: str | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    text: dict[str, Any] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    user: Annotated[str, msgspec.Meta(max_length=512)] | None = None


class ResponseView(msgspec.Struct, kw_only=True):
    """A whole answer; a stream carries `response.*` events instead."""

    id: str
    object: str
    created_at: int
    status: str
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None
    store: bool


class ResponsesRoutes(Controller):
    """`base_url` of an OpenAI client is this server's `/v1`."""

    path = "/v1"
    tags = ("models",)

    @post(
        "/responses",
        status_code=200,
        guards=[requires(Permission.MODELS_CALL)],
        summary="Chat with a model, in the format of OpenAI's responses",
        responses={200: ResponseSpec(ResponseView, generate_examples=False, description="The model's answer")},
        operation_class=StreamedOperation,
    )
    async def respond(
        self,
        data: JSONBody[ResponsesBody],
        request: Request[Principal, Any, Any],
        gateway: NamedDependency[Gateway],
        now: NamedDependency[Any],
    ) -> Response[bytes]:
        """OpenAI's responses, streamed where `stream` is true; headers say who answered and what it cost."""
        body = decode_object(await request.body())
        body["max_output_tokens"] = data.max_output_tokens  # whole, where the text said 7.0
        asked = wished(responses_request(body), request.scope["headers"])
        caller, created_at = caller_of(request.user, data.user), int(now().timestamp())
        if data.stream:

            def framing(call_id: UUID) -> ResponseEvents:
                return ResponseEvents(call_id=call_id.hex, created_at=created_at, asked=body)

            return EventStream(Events(partial(gateway.stream, caller, asked), framing=framing))
        result = await gateway.completion.complete(caller, asked)
        response = response_of(result.wire, call_id=result.call_id.hex, created_at=created_at, asked=body)
        return Response(encode(response), media_type=JSON, headers=answer_headers(result))


def routes(gateway: Gateway, *, now: Clock) -> Router:
    """The router; its errors have OpenAI's shape."""
    return Router(
        "/",
        route_handlers=[ResponsesRoutes],
        dependencies={"gateway": instance(gateway), "now": instance(now)},
        opt=vendor_errors(OPENAI_ERRORS),
    )
