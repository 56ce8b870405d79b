"""Any server that speaks OpenAI's wire format (OpenAI, vLLM, Ollama, llama.cpp, LM Studio), by our own transport."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import ModelMissing, ProviderFailure, RequestRefused
from cognitionos.llm_gateway.infrastructure.openai_schema import (
    decode_object,
    encode,
    error_text,
    read_chunk,
    read_usage,
)
from cognitionos.platform.http import HttpClient
from cognitionos.platform.telemetry import inject

OPENAI_URL = "https://api.openai.com/v1"
_DONE = b"[DONE]"
_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class OpenAIProvider:
    """One base URL. `limit_field` is the name under which it takes the completion limit."""

    simulated = False

    def __init__(
        self, http: HttpClient, *, name: str, base_url: str, api_key: str | None, limit_field: str | None = None
    ) -> None:
        self.name = name
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        official = self._base_url == OPENAI_URL
        self._limit_field = limit_field or ("max_completion_tokens" if official else "max_tokens")

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """The whole answer at once."""
        wire = await self._post("/chat/completions", request.wire(model, limit_field=self._limit_field))
        if not isinstance(wire.get("choices"), list) or not wire["choices"]:
            raise ProviderFailure("the answer has no choices")
        return Answer(wire=wire, usage=read_usage(wire))

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """The answer piece by piece. A stream that is cut raises `ProviderFailure`."""
        body = request.wire(model, limit_field=self._limit_field)
        body["stream"] = True
        body["stream_options"] = (body.get("stream_options") or {}) | {"include_usage": True}
        finished = False
        async with self._sent("/chat/completions", body) as response:
            async for data in _events(response.content):
                if data == _DONE:
                    return
                chunk = read_chunk(data, keep_usage=request.include_usage)
                finished = finished or chunk.finish_reason is not None
                yield chunk
        if not finished:
            raise ProviderFailure("the stream was cut")

    async def embed(self, texts: Sequence[str], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """One vector per text, in order."""
        body = {"model": model, "input": list(texts), "encoding_format": "float"} | dict(extra)
        wire = await self._post("/embeddings", body)
        try:
            data = sorted(wire["data"], key=lambda each: each["index"])
            vectors = tuple(tuple(map(float, each["embedding"])) for each in data)
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderFailure("the answer carries no vectors") from error
        if len(vectors) != len(texts):
            raise ProviderFailure(f"{len(vectors)} vectors came for {len(texts)} texts")
        return Vectors(vectors=vectors, usage=read_usage(wire))

    async def models(self) -> Sequence[str]:
        """What its model list says."""
        async with self._sent("/models", None) as response:
            wire = await _json(response)
        data = wire.get("data")
        listed = data if isinstance(data, list) else []
        return [each["id"] for each in listed if isinstance(each, dict) and isinstance(each.get("id"), str)]

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._sent(path, body) as response:
            return await _json(response)

    @asynccontextmanager
    async def _sent(self, path: str, body: Mapping[str, Any] | None) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The response to a request, once its status is 200; transport errors are failures of the attempt."""
        headers = dict(self._headers)
        inject(headers)
        try:
            async with self._http.session.request(
                "GET" if body is None else "POST",
                self._base_url + path,
                data=None if body is None else encode(body),
                headers=headers,
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise await _refusal(response)
                yield response
        except aiohttp.ClientError as error:
            raise ProviderFailure(f"no answer ({type(error).__name__})") from error


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        return decode_object(await response.read())
    except msgspec.DecodeError as error:
        raise ProviderFailure("the answer is not a JSON object") from error


async def _events(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """The `data` of each server-sent event (WHATWG HTML, section 9.2); comments and other fields are skipped."""
    rest = b""
    async for part in content.iter_any():
        lines = (rest + part).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
    if rest.startswith(b"data:"):
        yield rest[5:].strip()


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
    """What a status other than 200 means: try elsewhere, try again, or tell the caller that the request is wrong."""
    status, text = response.status, await response.text(errors="replace")
    try:
        body: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        body = text
    said = error_text(body) or f"status {status}"
    if status in {401, 403}:
        return ProviderFailure(f"it does not accept our key (status {status})", again=False)
    if status == 404:
        return ModelMissing(said)
    if status in {408, 409, 429} or status >= 500:
        broke = isinstance(body, dict) and _field(body, "code") in _OUT_OF_MONEY
        return ProviderFailure(f"status {status}: {said}", again=not broke, retry_after_s=_retry_after(response))
    if 300 <= status < 400:
        return ProviderFailure(f"it redirects (status {status}); use the final address", again=False)
    param = _field(body, "param") if isinstance(body, dict) else None
    return RequestRefused(f"The provider refused the request: {said}", fields={param: said} if param else None)


def _field(body: dict[str, Any], name: str) -> str | None:
    inner = body.get("error", body)
    value = inner.get(name) if isinstance(inner, dict) else None
    return value if isinstance(value, str) else None


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After` (RFC 9110, section 10.2.3: seconds or a date)."""
    milliseconds, said = response.headers.get("retry-after-ms"), response.headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(float(milliseconds) / 1000, 0.0)
        return None if said is None else max(float(said), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(said or "") - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
