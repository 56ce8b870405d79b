"""The one door to litellm: every vendor that does not speak OpenAI's wire format. Imported late.

Its import takes seconds, so it happens at the first call, in a thread; its retries, fallbacks,
telemetry and downloads are off.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text
from cognitionos.llm_gateway.domain.errors import (
    AnswerLost,
    InvalidChatRequest,
    ModelMissing,
    ProviderFailure,
    RequestRefused,
)
from cognitionos.llm_gateway.infrastructure.json_server import retry_after
from cognitionos.llm_gateway.infrastructure.messages_terms import check_words
from cognitionos.llm_gateway.infrastructure.openai_answer import check_answer
from cognitionos.llm_gateway.infrastructure.openai_schema import error_text, read_chunk, read_usage
from cognitionos.llm_gateway.infrastructure.redaction import Redaction
from cognitionos.platform.http import LONGEST_SILENCE_S

# What a caller may add to a call. litellm's own arguments (`base_url`, `custom_llm_provider`, `mock_response`)
# share one name space with the model's, and would send our key elsewhere or invent an answer.
_CHAT_FIELDS = frozenset(
    {"frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "n", "seed", "stop", "top_p"}
    | {"max_completion_tokens", "modalities", "parallel_tool_calls", "reasoning_effort", "service_tier", "user"}
    | {"verbosity", "web_search_options", "prediction", "audio", "metadata", "store"}
)
_EMBEDDING_FIELDS = frozenset({"dimensions", "encoding_format", "user"})


class LiteLLMProvider:
    """One vendor with one key. `vendor` is litellm's own name for it (`anthropic`, `gemini`, ...).

    A stream that has begun may be silent for `longest_silence_s`, as with our own transports.
    """

    simulated = False

    def __init__(
        self,
        *,
        name: str,
        vendor: str,
        api_key: str | None,
        base_url: str | None = None,
        longest_silence_s: float = LONGEST_SILENCE_S,
    ) -> None:
        self.name = name
        self._longest_silence_s = longest_silence_s
        self._vendor = vendor
        self._access = {"api_key": api_key, "api_base": base_url}
        self._redacted = Redaction(api_key)

    def check(self, request: ChatRequest) -> None:
        """Raise for what is known to be refused before it is sent."""
        self._arguments(request, "")

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """The whole answer at once."""
        arguments = self._arguments(request, model)
        litellm = await _litellm()
        try:
            answer = await litellm.acompletion(**arguments)
        except Exception as error:  # noqa: BLE001 - litellm raises anything
            raise _translated(error, self._redacted) from None  # its words may carry our key
        wire = answer.model_dump(mode="json")
        check_answer(wire)
        return Answer(wire=wire, usage=read_usage(wire))

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """The answer piece by piece. A stream that is cut or falls silent raises `AnswerLost`."""
        arguments = self._arguments(request, model) | {"stream": True, "stream_options": {"include_usage": True}}
        litellm = await _litellm()
        finished, limit_s, pieces = False, max(request.deadline_s, self._longest_silence_s), None
        try:
            pieces = await litellm.acompletion(**arguments)
            while (piece := await _next(pieces, within_s=limit_s)) is not None:
                chunk = read_chunk(piece.model_dump_json().encode(), keep_usage=request.include_usage)
                finished = finished or chunk.finish_reason is not None
                if chunk.tokens:
                    limit_s = self._longest_silence_s
                yield chunk
        except (GeneratorExit, ProviderFailure):
            raise
        except Exception as error:  # noqa: BLE001 - litellm raises anything
            raise _translated(error, self._redacted) from None  # its words may carry our key
        finally:
            await _close(pieces)
        if not finished:
            raise AnswerLost("the stream was cut")

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """One vector per text, in order."""
        _check(extra, _EMBEDDING_FIELDS, self._vendor)
        if not all(isinstance(text, str) for text in texts):
            raise InvalidChatRequest(f"input: send texts to {self._vendor}, no tokens.", fields={"input": "texts only"})
        litellm = await _litellm()
        try:
            answer = await litellm.aembedding(
                model=f"{self._vendor}/{model}", input=list(texts), num_retries=0, **self._access, **extra
            )
        except Exception as error:  # noqa: BLE001 - litellm raises anything
            raise _translated(error, self._redacted) from None  # its words may carry our key
        wire = answer.model_dump(mode="json")
        return Vectors(vectors=tuple(tuple(each["embedding"]) for each in wire["data"]), usage=read_usage(wire))

    async def models(self) -> Sequence[str]:
        """Vendors behind litellm do not say; any model of the vendor may be named."""
        return []

    def _arguments(self, request: ChatRequest, model: str) -> dict[str, Any]:
        if request.native is not None:
            check_words(request.native)
        _check(request.extra, _CHAT_FIELDS, self._vendor)
        body = request.wire(f"{self._vendor}/{model}")
        body["messages"] = [dict(message) for message in request.messages]
        if request.tools:
            body["tools"] = [dict(tool) for tool in request.tools]
        return {**body, **self._access, "num_retries": 0, "timeout": request.deadline_s}


def _check(extra: Mapping[str, Any], taken: frozenset[str], vendor: str) -> None:
    """Raise `InvalidChatRequest` naming each field that cannot go through litellm."""
    refused = sorted(extra.keys() - taken)
    if refused:
        told = f"cannot be passed on to {vendor}; leave it out"
        raise InvalidChatRequest(f"{', '.join(refused)}: {told}.", fields=dict.fromkeys(refused, told))


async def _next(pieces: Any, *, within_s: float) -> Any:
    """What comes next; None at the end. Raises `AnswerLost` where nothing comes."""
    try:
        async with asyncio.timeout(within_s) as limit:
            return await anext(pieces, None)
    except TimeoutError:
        if not limit.expired():
            raise
        raise AnswerLost(f"it has said nothing for {within_s:g} s", why="silent") from None


async def _close(pieces: Any) -> None:
    """Leave a stream, so that its provider learns that nobody listens."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        with suppress(Exception):  # it is over, whatever litellm says of it
            await close()


async def _litellm() -> Any:
    return await asyncio.to_thread(_import)


def _import() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    return litellm


def _translated(error: Exception, redacted: Redaction) -> Exception:
    """litellm's errors carry an HTTP status: the same meanings as on the wire."""
    status, said = getattr(error, "status_code", None), redacted(error_text(str(error)))
    if status in {401, 403}:
        return ProviderFailure(f"it does not accept our key (status {status})", again=False, why="key-refused")
    if status == 404:
        return ModelMissing(said)
    if status in {400, 413, 422}:
        return RequestRefused(f"The provider refused the request: {said}")
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return ProviderFailure(
        f"{type(error).__name__}: {said}",
        retry_after_s=retry_after(getattr(error, "litellm_response_headers", None) or headers),
        why=f"status-{status}" if status else "failed",
        broken=status != 429,
    )
