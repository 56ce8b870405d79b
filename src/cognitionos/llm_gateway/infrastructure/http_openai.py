"""OpenAI's own routes: any OpenAI client works unchanged against them."""

import base64
from array import array
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from cognitionos.kernel.principal import Permission, Principal
from cognitionos.llm_gateway.domain.chat import Text
from cognitionos.llm_gateway.domain.errors import InvalidChatRequest, ModelNotFound
from cognitionos.llm_gateway.domain.route import DEFAULT
from cognitionos.llm_gateway.facade import Embeddings, Gateway
from cognitionos.llm_gateway.infrastructure.answers import (
    JSON,
    StreamedOperation,
    answer_headers,
    caller_of,
    embedding_headers,
)
from cognitionos.llm_gateway.infrastructure.anthropic_errors import ANTHROPIC_ERRORS
from cognitionos.llm_gateway.infrastructure.anthropic_models import (
    VERSION_HEADER,
    AnthropicModelsView,
    AnthropicModelView,
    anthropic_model,
    anthropic_models,
)
from cognitionos.llm_gateway.infrastructure.cache_control import wished
from cognitionos.llm_gateway.infrastructure.catalogue import Catalogue
from cognitionos.llm_gateway.infrastructure.event_stream import Events, EventStream
from cognitionos.llm_gateway.infrastructure.openai_errors import OPENAI_ERRORS
from cognitionos.llm_gateway.infrastructure.openai_schema import chat_request, decode_object, encode
from cognitionos.platform.hot_routes import HotRoute, NotPlain, Whole
from cognitionos.platform.http_api import instance, requires
from cognitionos.platform.http_problems import vendor_errors

MOST_INPUTS = 2048
Token = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
MOST_TOKENS = 2**17
Tokens = Annotated[list[Token], msgspec.Meta(min_length=1, max_length=MOST_TOKENS)]
_OLD = frozenset({"assistants", "complete", "completions", "threads"})
_OF_MEDIA = frozenset({"audio", "images", "realtime", "videos"})
_OF_WORK = frozenset({"batches", "containers", "evals", "files", "fine_tuning", "moderations", "skills", "uploads"})
_NOT_HERE = _OLD | _OF_MEDIA | _OF_WORK | {"vector_stores"}
_BY_HEADER = vendor_errors(replace(OPENAI_ERRORS, instead=(VERSION_HEADER.encode(), ANTHROPIC_ERRORS), also=_NOT_HERE))
"""What is asked for by clients of both vendors."""


class ChatCompletionBody(msgspec.Struct, kw_only=True):
    """What a chat call takes. Every further field is passed on to the provider unchanged."""

    messages: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    response_format: dict[str, Any] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    user: Annotated[str, msgspec.Meta(max_length=512)] | None = None


class ChatCompletion(msgspec.Struct, kw_only=True):
    """A whole answer, in the provider's words; a stream carries `chat.completion.chunk` events instead."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


_decode_chat = msgspec.json.Decoder(ChatCompletionBody).decode
_JSON = (b"content-type", JSON.encode())


class EmbeddingsBody(msgspec.Struct, kw_only=True):
    """A text, texts, the tokens of one, or of each of several. `encoding_format` base64 is little-endian float32."""

    input: str | Annotated[list[str | Token | Tokens], msgspec.Meta(min_length=1, max_length=MOST_TOKENS)]
    model: str | None = None
    encoding_format: str | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=65536)] | None = None
    user: Annotated[str, msgspec.Meta(max_length=512)] | None = None


class EmbeddingView(msgspec.Struct, frozen=True):
    """One vector: numbers, or their base64."""

    index: int
    embedding: list[float] | str
    object: str = "embedding"


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsView(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors in the order of the texts. `model` is the name that was asked for, or who answered where none was."""

    data: list[EmbeddingView]
    model: str
    usage: EmbeddingUsage
    object: str = "list"


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One model that may be named in a call."""

    id: str
    owned_by: str
    object: str = "model"
    created: int = 0


class ModelsView(msgspec.Struct, frozen=True, kw_only=True):
    """Every model there is."""

    data: list[ModelView]
    object: str = "list"


class OpenAIRoutes(Controller):
    """`base_url` of an OpenAI client is this server's `/v1`."""

    path = "/v1"
    tags = ("models",)

    @post(
        "/chat/completions",
        status_code=200,
        guards=[requires(Permission.MODELS_CALL)],
        summary="Chat with a model",
        responses={200: ResponseSpec(ChatCompletion, generate_examples=False, description="The model's answer")},
        operation_class=StreamedOperation,
    )
    async def chat(
        self,
        data: JSONBody[ChatCompletionBody],
        request: Request[Principal, Any, Any],
        gateway: NamedDependency[Gateway],
    ) -> Response[bytes]:
        """OpenAI's chat completions, streamed where `stream` is true; headers say who answered and what it cost."""
        who = request.user  # not injected: a second dependency makes Litestar start two tasks for each call
        asked = wished(chat_request(decode_object(await request.body())), request.scope["headers"])
        caller = caller_of(who, data.user)
        if data.stream:
            return EventStream(Events(partial(gateway.stream, caller, asked)))
        result = await gateway.completion.complete(caller, asked)
        return Response(encode(result.wire), media_type=JSON, headers=answer_headers(result))

    @post(
        "/embeddings",
        status_code=200,
        guards=[requires(Permission.MODELS_CALL)],
        summary="Embed texts",
        responses={200: ResponseSpec(EmbeddingsView, generate_examples=False, description="One vector per text")},
    )
    async def embed(
        self,
        data: JSONBody[EmbeddingsBody],
        request: Request[Any, Any, Any],
        gateway: NamedDependency[Gateway],
        who: NamedDependency[Principal],
    ) -> Response[bytes]:
        """OpenAI's embeddings; without a model the local embedder answers."""
        if data.encoding_format not in (None, "float", "base64"):
            raise InvalidChatRequest(
                "'encoding_format' is float or base64.", fields={"encoding_format": "float or base64"}
            )
        texts = _texts(data.input)
        known = {"input", "model", "encoding_format"}
        extra = {name: value for name, value in decode_object(await request.body()).items() if name not in known}
        caller = caller_of(who, data.user)
        embeddings = await gateway.embedding.embed(caller, texts, model=data.model, extra=extra)
        view = _embeddings_view(embeddings, asked=data.model, as_base64=data.encoding_format == "base64")
        return Response(encode(view), media_type=JSON, headers=embedding_headers(embeddings))

    @get("/models", guards=[requires(Permission.MODELS_CALL)], opt=_BY_HEADER, summary="List models")
    async def models(
        self,
        request: Request[Any, Any, Any],
        catalogue: NamedDependency[Catalogue],
        who: NamedDependency[Principal],
    ) -> ModelsView | AnthropicModelsView:
        """Every model that the providers say they have, the caller's own and its routes among them.

        With the header `anthropic-version` in Anthropic's format, by pages of `limit` (20).
        """
        names = await catalogue.models(who.tenant_id)
        if VERSION_HEADER in request.headers:
            return anthropic_models(names, request.query_params)
        return ModelsView(data=[_model_view(name) for name in names])

    @get("/models/{model:path}", guards=[requires(Permission.MODELS_CALL)], opt=_BY_HEADER, summary="Get a model")
    async def model(
        self,
        model: FromPath[str],
        request: Request[Any, Any, Any],
        catalogue: NamedDependency[Catalogue],
        who: NamedDependency[Principal],
    ) -> ModelView | AnthropicModelView:
        """One model by its `provider/model` name, or by the bare name of the default provider.

        With the header `anthropic-version` in Anthropic's format.
        """
        wanted = model.lstrip("/")
        names = await catalogue.models(who.tenant_id)
        found = wanted if wanted in names else (await catalogue.resolve(who.tenant_id, wanted)).candidates[0].name
        if found not in names:
            raise ModelNotFound(f"No configured provider lists the model '{wanted}'.", fields={"model": "unknown"})
        return anthropic_model(found) if VERSION_HEADER in request.headers else _model_view(found)


def routes(gateway: Gateway, catalogue: Catalogue) -> Router:
    """The router; its errors have OpenAI's shape."""
    return Router(
        "/",
        route_handlers=[OpenAIRoutes],
        dependencies={"gateway": instance(gateway), "catalogue": instance(catalogue)},
        opt=vendor_errors(OPENAI_ERRORS),
    )


def hot_chat(gateway: Gateway) -> HotRoute:
    """`POST /v1/chat/completions` once more, for the plain case: same checks, same answers, a third of the CPU."""

    async def answer(who: Principal, body: bytes) -> ASGIApp:
        try:
            data, fields = _decode_chat(body), decode_object(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotPlain from error
        caller, asked = caller_of(who, data.user), chat_request(fields, together=True)
        if data.stream:
            return Events(partial(gateway.stream, caller, asked))
        result = await gateway.completion.complete(caller, asked)
        headers = [(name.encode(), value.encode()) for name, value in answer_headers(result).items()]
        return Whole(encode(result.wire), [_JSON, *headers])

    return HotRoute(permission=Permission.MODELS_CALL, errors=OPENAI_ERRORS, answer=answer)


def _texts(given: str | list[str | int | list[int]]) -> list[Text]:
    """What to embed; numbers alone are the tokens of one text."""
    if isinstance(given, str):
        return [given]
    words = [each for each in given if isinstance(each, str)]
    tokens = [each for each in given if isinstance(each, int)]
    lists = [tuple(each) for each in given if isinstance(each, list)]
    if len(given) not in (len(words), len(tokens), len(lists)):
        raise InvalidChatRequest(
            "'input' is texts, tokens or lists of tokens, not some of each.", fields={"input": "texts or tokens"}
        )
    if not tokens and len(given) > MOST_INPUTS:
        raise InvalidChatRequest(f"'input' is at most {MOST_INPUTS} texts.", fields={"input": f"at most {MOST_INPUTS}"})
    return [tuple(tokens)] if tokens else [*words, *lists]


def _embeddings_view(embeddings: Embeddings, *, asked: str | None, as_base64: bool) -> EmbeddingsView:
    data = [
        EmbeddingView(index=index, embedding=_base64(vector) if as_base64 else list(vector))
        for index, vector in enumerate(embeddings.vectors)
    ]
    tokens = embeddings.usage.prompt
    usage = EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
    model = embeddings.model if asked in (None, "", DEFAULT) else asked
    return EmbeddingsView(data=data, model=model, usage=usage)


def _base64(vector: tuple[float, ...]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()


def _model_view(name: str) -> ModelView:
    return ModelView(id=name, owned_by=name.partition("/")[0])
