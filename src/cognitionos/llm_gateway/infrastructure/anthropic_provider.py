"""Anthropic's Messages API by our own transport."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from cognitionos.kernel.clock import Clock
from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.budget import LIMIT_WHERE_NONE_IS_KNOWN
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text
from cognitionos.llm_gateway.domain.errors import AnswerLost, ModelMissing, ProviderFailure
from cognitionos.llm_gateway.infrastructure.anthropic_answer import StreamReader, completion, usage_of
from cognitionos.llm_gateway.infrastructure.anthropic_schema import API_VERSION, BETAS, VERSION, message_body
from cognitionos.llm_gateway.infrastructure.json_server import JsonServer
from cognitionos.platform.http import HttpClient

ANTHROPIC_URL = "https://api.anthropic.com"
MOST_UNASKED = 16_384
"""The Messages API wants a limit with each call. This much a caller gets who names none, beside what is to be
thought, if the model has as much."""

_COUNTED = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control", "mcp_servers"}
)


class AnthropicProvider:
    """One key. `longest_answer` knows how many tokens a model may answer with, None where nobody does."""

    simulated = False

    def __init__(
        self,
        http: HttpClient,
        *,
        name: str,
        api_key: str,
        now: Clock,
        longest_answer: Callable[[str], int | None],
        base_url: str = ANTHROPIC_URL,
    ) -> None:
        self.name = name
        headers = {"x-api-key": api_key, "anthropic-version": VERSION}  # a caller's own version replaces ours
        self._server = JsonServer(http, base_url=base_url, headers=headers, key=api_key)
        self._longest_answer = longest_answer
        self._now = now

    def check(self, request: ChatRequest) -> None:
        """Raise for what is known to be refused before it is sent."""
        self._body(request, "")

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """The whole answer at once."""
        message = await self._server.post("/v1/messages", self._body(request, model), headers=_headers(request))
        wire = completion(message, created=self._created, native=request.native is not None)
        return Answer(wire=wire, usage=usage_of(message.get("usage")))

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """The answer piece by piece. A stream that is cut raises `ProviderFailure`."""
        body = self._body(request, model) | {"stream": True}
        reader = StreamReader(created=self._created, native=request.native is not None)
        headers, first_words_s = _headers(request), request.deadline_s
        async with self._server.sent("/v1/messages", body, headers=headers, first_words_s=first_words_s) as arriving:
            async for data in arriving.each():
                chunk = reader.read(data)
                if chunk is not None:
                    arriving.spoken = arriving.spoken or chunk.tokens > 0
                    yield chunk
                if reader.finished:
                    return
        raise AnswerLost("the stream was cut")

    async def count_tokens(self, request: ChatRequest, *, model: str) -> int:
        """How many tokens the prompt of a request has here; raises what `chat` raises."""
        body = {name: value for name, value in self._body(request, model).items() if name in _COUNTED}
        counted = (await self._server.post("/v1/messages/count_tokens", body, headers=_headers(request))).get(
            "input_tokens"
        )
        if not isinstance(counted, int):
            raise ProviderFailure("the answer carries no count")
        return counted

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """Anthropic embeds nothing."""
        del texts, extra
        raise ModelMissing(f"Anthropic has no embeddings; {model} cannot make them")

    async def models(self) -> Sequence[str]:
        """What its model list says."""
        data = (await self._server.get("/v1/models?limit=1000")).get("data")
        listed = data if isinstance(data, list) else []
        return [each["id"] for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)]

    @property
    def _created(self) -> int:
        return int(self._now().timestamp())

    def _body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        limit = request.max_tokens
        if limit is None:
            thinking = request.thinking
            longest = self._longest_answer(model) or LIMIT_WHERE_NONE_IS_KNOWN + thinking
            limit = min(longest, MOST_UNASKED + thinking)
        return message_body(request, model=model, max_tokens=limit)


def _headers(request: ChatRequest) -> dict[str, str] | None:
    """What the caller's own headers said, where the request came in Anthropic's format."""
    if request.native is None:
        return None
    names = {"anthropic-beta": BETAS, "anthropic-version": API_VERSION}
    return {header: request.native[name] for header, name in names.items() if request.native.get(name)}
