"""Around a provider flagged for it: tool calls that its models write as text become tool calls."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cognitionos.llm_gateway.application.ports import Answer, Chunk, Provider, Vectors
from cognitionos.llm_gateway.domain.answer import as_chunks
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text
from cognitionos.llm_gateway.domain.text_tool_calls import with_recovered_calls
from cognitionos.llm_gateway.infrastructure import metrics
from cognitionos.llm_gateway.infrastructure.openai_schema import encode, read_chunk


class ToolCallRecovery:
    """The same provider. With tools on offer a stream is fetched whole, because a call is known by its end only."""

    def __init__(self, provider: Provider, *, new_id: Callable[[], str]) -> None:
        self._provider = provider
        self._new_id = new_id
        self.name = provider.name
        self.simulated = provider.simulated

    def check(self, request: ChatRequest) -> None:
        """Raise for what is known to be refused before it is sent."""
        self._provider.check(request)

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """The whole answer at once."""
        answer = await self._provider.chat(request, model=model)
        fixed = with_recovered_calls(answer.wire, offered=request.offered_tools, new_id=self._new_id)
        if fixed is None:
            return answer
        metrics.TOOL_CALLS_RECOVERED.labels(self.name, model).inc()
        return replace(answer, wire=fixed)

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """The answer piece by piece."""
        if not request.offered_tools:
            async for chunk in self._provider.stream(request, model=model):
                yield chunk
            return
        answer = await self.chat(request, model=model)
        for each in as_chunks(answer.wire):
            yield read_chunk(encode(each), keep_usage=request.include_usage)

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """One vector per text, in order."""
        return await self._provider.embed(texts, model=model, extra=extra)

    async def models(self) -> Sequence[str]:
        """The models it has."""
        return await self._provider.models()
