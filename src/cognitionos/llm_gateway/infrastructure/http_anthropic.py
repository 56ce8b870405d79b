"""Anthropic's own route: any Anthropic client works unchanged against it, whichever provider answers."""

import asyncio
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, Router, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from cognitionos.kernel.principal import Permission, Principal
from cognitionos.llm_gateway.domain.errors import ProviderFailure
from cognitionos.llm_gateway.facade import ChatRequest, Gateway, ProviderUnavailable
from cognitionos.llm_gateway.infrastructure.answers import (
    JSON,
    StreamedOperation,
    answer_headers,
    caller_of,
)
from cognitionos.llm_gateway.infrastructure.anthropic_errors import ANTHROPIC_ERRORS
from cognitionos.llm_gateway.infrastructure.anthropic_provider import AnthropicProvider
from cognitionos.llm_gateway.infrastructure.cache_control import wished
from cognitionos.llm_gateway.infrastructure.catalogue import Catalogue
from cognitionos.llm_gateway.infrastructure.event_stream import Events, EventStream
from cognitionos.llm_gateway.infrastructure.messages_answer import MessageEvents, message_of
from cognitionos.llm_gateway.infrastructure.messages_schema import messages_request
from cognitionos.llm_gateway.infrastructure.openai_schema import decode_object, encode
from cognitionos.platform.http_api import instance, requires
from cognitionos.platform.http_problems import vendor_errors

COUNTING_S = 30.0


class MessageTurn(msgspec.Struct, kw_only=True):
    """One message: text, or a list of content blocks."""

    role: str
    content: str | list[dict[str, Any]]


class MessagesBody(msgspec.Struct, kw_only=True):
    """What a call takes. Every further field is passed on to the provider unchanged."""

    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    messages: Annotated[list[MessageTurn], msgspec.Meta(min_length=1)]
    model: str | None = None
    system: str | list[dict[str, Any]] | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    metadata: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None


class MessageView(msgspec.Struct, kw_only=True):
    """A whole answer; a stream carries Anthropic's events instead."""

    id: str
    type: str
    role: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_sequence: str | None
    usage: dict[str, Any]


class CountTokensBody(msgspec.Struct, kw_only=True):
    """What a call would send; every further field is passed on."""

    messages: Annotated[list[MessageTurn], msgspec.Meta(min_length=1)]
    model: str | None = None
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None


class TokenCount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many tokens it would be. `estimated`: the provider does not count; a token is taken for four bytes."""

    input_tokens: int
    estimated: bool = False


class AnthropicRoutes(Controller):
    """`base_url` of an Anthropic client is this server."""

    path = "/v1"
    tags = ("models",)

    @post(
        "/messages",
        status_code=200,
        guards=[requires(Permission.MODELS_CALL)],
        summary="Chat with a model, in Anthropic's format",
        responses={200: ResponseSpec(MessageView, generate_examples=False, description="The model's answer")},
        operation_class=StreamedOperation,
    )
    async def message(
        self,
        data: JSONBody[MessagesBody],
        request: Request[Principal, Any, Any],
        gateway: NamedDependency[Gateway],
    ) -> Response[bytes]:
        """Anthropic's Messages API, streamed where `stream` is true; headers say who answered and what it cost."""
        version, betas = (request.headers.get(name) for name in ("anthropic-version", "anthropic-beta"))
        body = decode_object(await request.body())
        body["max_tokens"] = data.max_tokens  # whole, where the text said 7.0
        asked = wished(messages_request(body, version=version, betas=betas), request.scope["headers"])
        caller = caller_of(request.user, asked.extra.get("user"))
        request_id = request.scope["state"].get("request_id", "")
        named = {"request-id": request_id}
        if data.stream:

            def framing(call_id: UUID) -> MessageEvents:
                return MessageEvents(f"msg_{call_id.hex}", request_id=request_id)

            return EventStream(Events(partial(gateway.stream, caller, asked), headers=named, framing=framing))
        result = await gateway.completion.complete(caller, asked)
        message = message_of(result.wire, message_id=f"msg_{result.call_id.hex}")
        return Response(encode(message), media_type=JSON, headers=answer_headers(result) | named)

    @post(
        "/messages/count_tokens",
        status_code=200,
        guards=[requires(Permission.MODELS_CALL)],
        summary="Count the tokens of a call, in Anthropic's format",
    )
    async def count_tokens(
        self,
        data: JSONBody[CountTokensBody],
        request: Request[Principal, Any, Any],
        catalogue: NamedDependency[Catalogue],
    ) -> TokenCount:
        """Asks Anthropic where it would answer the call, which costs nothing; of any other provider an estimate."""
        version, betas = (request.headers.get(name) for name in ("anthropic-version", "anthropic-beta"))
        asked = messages_request(decode_object(await request.body()), version=version, betas=betas)
        candidate = (await catalogue.resolve(request.user.tenant_id, data.model)).candidates[0]
        provider = catalogue.providers.get(candidate.home)
        if not isinstance(provider, AnthropicProvider):
            return TokenCount(input_tokens=_estimate(asked), estimated=True)
        try:
            async with asyncio.timeout(COUNTING_S):
                return TokenCount(input_tokens=await provider.count_tokens(asked, model=candidate.model))
        except (ProviderFailure, TimeoutError) as error:
            raise ProviderUnavailable(f"{candidate.name} did not count: {str(error) or 'no answer in time'}") from error


def _estimate(asked: ChatRequest) -> int:
    return max((len(encode([asked.messages, asked.tools])) + asked.unseen_bytes) // 4, 1)


def routes(gateway: Gateway, catalogue: Catalogue) -> Router:
    """The router; its errors have Anthropic's shape."""
    return Router(
        "/",
        route_handlers=[AnthropicRoutes],
        dependencies={"gateway": instance(gateway), "catalogue": instance(catalogue)},
        opt=vendor_errors(ANTHROPIC_ERRORS),
    )
