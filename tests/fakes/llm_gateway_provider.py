"""A provider that answers from a script, in memory; the simulated provider and real ones pass the same suite."""

from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.answer import as_chunks
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text, Usage
from cognitionos.llm_gateway.infrastructure.openai_schema import encode, read_chunk, write_usage


@dataclass
class ScriptedProvider:
    """Each answer is a text, a whole wire answer, or an error to raise; without a script it says `hello`."""

    name: str = "fake"
    simulated: bool = False
    script: deque[str | dict[str, Any] | Exception] = field(default_factory=deque)
    asked: list[tuple[str, ChatRequest]] = field(default_factory=list)
    usage: Usage = field(default_factory=lambda: Usage(prompt=10, completion=5))

    def check(self, request: ChatRequest) -> None:
        """It takes anything."""

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        self.asked.append((model, request))
        answer = self.script.popleft() if self.script else "hello"
        if isinstance(answer, Exception):
            raise answer
        wire = a_completion(answer, model=model, usage=self.usage) if isinstance(answer, str) else answer
        return Answer(wire=wire, usage=self.usage)

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        answer = await self.chat(request, model=model)
        for each in as_chunks(answer.wire):
            yield read_chunk(encode(each), keep_usage=request.include_usage)

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        if self.script and isinstance(self.script[0], Exception):
            raise self.script.popleft()  # type: ignore[misc]
        vectors = tuple((float(len(text)), 1.0) for text in texts)
        return Vectors(vectors=vectors, usage=Usage(prompt=len(texts)))

    async def models(self) -> Sequence[str]:
        return ["m"]


def a_completion(text: str, *, model: str = "m", usage: Usage | None = None, **message: Any) -> dict[str, Any]:
    """A whole answer in OpenAI's shape."""
    said = {"role": "assistant", "content": text} | message
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": reason}],
        "usage": write_usage(usage or Usage(prompt=10, completion=5)),
    }
