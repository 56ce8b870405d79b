"""Any server that speaks OpenAI's wire format (OpenAI, vLLM, Ollama, llama.cpp, LM Studio), by our own transport."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text
from cognitionos.llm_gateway.domain.errors import AnswerLost
from cognitionos.llm_gateway.infrastructure.json_server import JsonServer
from cognitionos.llm_gateway.infrastructure.messages_terms import check_words
from cognitionos.llm_gateway.infrastructure.openai_answer import check_answer
from cognitionos.llm_gateway.infrastructure.openai_schema import read_usage
from cognitionos.llm_gateway.infrastructure.openai_stream import read_arrived, read_together
from cognitionos.platform.http import HttpClient

OPENAI_URL = "https://api.openai.com/v1"
LimitField = Literal["max_tokens", "max_completion_tokens"]
"""Names of the completion limit: OpenAI's reasoning models refuse the first, most other servers know no second."""
_OF_OPENAI = (".openai.com", ".openai.azure.com")


def usual_limit_field(base_url: str) -> LimitField:
    """Under which name the server at `base_url` takes the completion limit, as far as its host tells."""
    host = f".{urlsplit(base_url).hostname or ''}"
    return "max_completion_tokens" if host.endswith(_OF_OPENAI) else "max_tokens"


class OpenAIProvider:
    """One base URL. `limit_field` is the name under which it takes the completion limit; None: its host tells."""

    simulated = False

    def __init__(
        self, http: HttpClient, *, name: str, base_url: str, api_key: str | None, limit_field: LimitField | None = None
    ) -> None:
        self.name = name
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._server = JsonServer(http, base_url=base_url, headers=headers, key=api_key)
        self._limit_field = limit_field or usual_limit_field(base_url)

    def check(self, request: ChatRequest) -> None:
        """Raise for what is known to be refused before it is sent."""
        self._body(request, "")

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """The whole answer at once."""
        body = self._body(request, model)
        wire = await self._server.post("/chat/completions", body)
        check_answer(wire)
        return Answer(wire=wire, usage=read_usage(wire))

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """The answer piece by piece. A stream that is cut raises `ProviderFailure`."""
        body = self._body(request, model)
        body["stream"] = True
        body["stream_options"] = (body.get("stream_options") or {}) | {"include_usage": True}
        finished, read = False, read_together if request.together else read_arrived
        async with self._server.sent("/chat/completions", body, first_words_s=request.deadline_s) as arriving:
            async for arrived in arriving:
                said = read(arrived, keep_usage=request.include_usage)
                for chunk in said.chunks:
                    finished = finished or chunk.finish_reason is not None
                    arriving.spoken = arriving.spoken or chunk.tokens > 0
                    yield chunk
                if said.failure is not None:
                    raise said.failure
                if said.is_last:
                    return
        if not finished:
            raise AnswerLost("the stream was cut")

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """One vector per text, in order."""
        body = {"model": model, "input": list(texts), "encoding_format": "float"} | dict(extra)
        wire = await self._server.post("/embeddings", body)
        try:
            data = sorted(wire["data"], key=lambda each: each["index"])
            vectors = tuple(tuple(map(float, each["embedding"])) for each in data)
        except (KeyError, TypeError, ValueError) as error:
            raise AnswerLost("the answer carries no vectors") from error
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) > 1:
            raise AnswerLost(f"{len(vectors)} vectors, not all of one size, came for {len(texts)} texts")
        return Vectors(vectors=vectors, usage=read_usage(wire))

    async def models(self) -> Sequence[str]:
        """What its model list says."""
        data = (await self._server.get("/models")).get("data")
        listed = data if isinstance(data, list) else []
        return [each["id"] for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)]

    def _body(self, request: ChatRequest, model: str) -> dict[str, Any]:
        if request.native is not None:
            check_words(request.native)
        return request.wire(model, limit_field=self._limit_field)
