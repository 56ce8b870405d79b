"""A strict stand-in for an OpenAI-compatible server: real HTTP on a free loopback port, scriptable, counts its calls.

It refuses what OpenAI refuses: a missing key, a wrong media type, fields of the wrong type, unknown roles, a tool
result without its call, `stream_options` without `stream`. What it shall answer next is put into `script`; without a
script it answers `Hello from MODEL.`.
"""

import asyncio
import base64
import json
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.serving import serving

ROLES = {"system", "developer", "user", "assistant", "tool"}
DIMENSIONS = 8


@dataclass(kw_only=True)
class Say:
    """One scripted answer. `cut_after` ends a stream after that many pieces; `delay_s` passes before the first byte.

    A whole answer is cut before its first byte by any `cut_after`. `raw` is said in its place, or as the only event.

    `gates`: a stream waits for the event before it sends the piece of that number (0 is the role); a failure and a
    whole answer for 0.
    """

    text: str = ""
    thoughts: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    deltas: list[dict[str, Any]] = field(default_factory=list)
    """Of a stream, in place of what the fields above would make."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    delay_s: float = 0.0
    pause_s: float = 0.0
    cut_after: int | None = None
    raw: bytes | None = None
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    """Further fields of the answer, and of each event of a stream."""


@dataclass(kw_only=True)
class Upstream:
    """The running server. `calls` are the bodies of the requests it got, in order."""

    base_url: str = ""
    api_key: str | None = "upstream-key"
    models: list[str] = field(default_factory=lambda: ["gpt-4o-mini"])
    script: deque[Say] = field(default_factory=deque)
    speak: Callable[[dict[str, Any]], Say] | None = None
    """Decides by the request where the script says nothing."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    """Those of `calls` whose answer was said to its end."""
    headers: list[dict[str, str]] = field(default_factory=list)
    open_streams: int = 0
    abandoned_streams: int = 0
    delay_embeddings_s: float = 0.0
    ignores_dimensions: bool = False
    embedding_tokens: int | None = None
    """What it says that embeddings took."""

    def then(self, *answers: Say) -> None:
        """Answer with these next."""
        self.script.extend(answers)

    def reset(self) -> None:
        """Forget the script and the calls."""
        self.script.clear()
        self.calls.clear()
        self.answered.clear()
        self.headers.clear()
        self.abandoned_streams = 0
        self.embedding_tokens = None


_UPSTREAM: web.AppKey[Upstream] = web.AppKey("upstream", Upstream)


class Refusal(Exception):
    """The request breaks the wire format."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.code = code


@asynccontextmanager
async def running_upstream(**changes: Any) -> AsyncIterator[Upstream]:
    """A server on a free loopback port."""
    upstream = Upstream(**changes)
    app = web.Application(client_max_size=64 * 2**20, middlewares=[_refusals])
    app[_UPSTREAM] = upstream
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/v1/embeddings", _embeddings)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/v1/models/{model}", _model)
    async with serving(app) as address:
        upstream.base_url = f"http://{address}/v1"
        yield upstream


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    upstream = request.app[_UPSTREAM]
    try:
        if upstream.api_key and request.headers.get("authorization") != f"Bearer {upstream.api_key}":
            raise Refusal("Incorrect API key provided.", status=401, code="invalid_api_key")
        answer: web.StreamResponse = await handler(request)
        return answer
    except Refusal as refusal:
        kind = "authentication_error" if refusal.status == 401 else "invalid_request_error"
        error = {"message": str(refusal), "type": kind, "param": refusal.param, "code": refusal.code}
        return web.json_response({"error": error}, status=refusal.status)


async def _chat(request: web.Request) -> web.StreamResponse:
    upstream = request.app[_UPSTREAM]
    body = await _body(request)
    _check_chat(body)
    upstream.calls.append(body)
    upstream.headers.append(dict(request.headers))
    say = upstream.script.popleft() if upstream.script else _unscripted(upstream, body)
    if say.delay_s:
        await asyncio.sleep(say.delay_s)
    if 0 in say.gates and not (body.get("stream") and say.status == 200):
        try:
            await say.gates[0].wait()
        except asyncio.CancelledError:
            upstream.abandoned_streams += 1
            raise
    if say.status != 200:
        error = say.error or {"message": f"scripted {say.status}", "type": "server_error", "param": None, "code": None}
        return web.json_response({"error": error}, status=say.status, headers=say.headers)
    number = len(upstream.calls)
    if body.get("stream"):
        return await _stream(request, upstream, body, say, number)
    if say.cut_after is not None:
        return _hang_up(request, web.Response())
    if say.raw is not None:
        return web.Response(body=say.raw, content_type="application/json")
    upstream.answered.append(body)
    return web.json_response(_completion(body, say, number), headers=say.headers)


def _unscripted(upstream: Upstream, body: dict[str, Any]) -> Say:
    return upstream.speak(body) if upstream.speak is not None else Say(text=f"Hello from {body['model']}.")


async def _embeddings(request: web.Request) -> web.StreamResponse:
    upstream = request.app[_UPSTREAM]
    body = await _body(request)
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) or (texts and isinstance(texts[0], int)) else texts
    if not isinstance(texts, list) or not texts or not isinstance(body.get("model"), str):
        raise Refusal("'input' must be a string or a non-empty list.", param="input")
    if not all(isinstance(text, str) or all(type(each) is int for each in text) for text in texts):
        raise Refusal("'input' must be texts, or lists of tokens.", param="input")
    upstream.calls.append(body)
    await asyncio.sleep(upstream.delay_embeddings_s)
    if "" in texts:
        raise Refusal("'input' cannot be an empty string.", param="input")
    size = DIMENSIONS if upstream.ignores_dimensions else body.get("dimensions", DIMENSIONS)
    data = []
    for index, text in enumerate(texts):
        vector = [float((len(str(text)) + place) % 7) / 8 for place in range(size)]
        packed = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        shown = packed if body.get("encoding_format") == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = sum(len(str(text)) // 4 + 1 for text in texts)
    tokens = tokens if upstream.embedding_tokens is None else upstream.embedding_tokens
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    upstream.answered.append(body)
    return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})


async def _models(request: web.Request) -> web.StreamResponse:
    upstream = request.app[_UPSTREAM]
    return web.json_response({"object": "list", "data": [_model_view(name) for name in upstream.models]})


async def _model(request: web.Request) -> web.StreamResponse:
    upstream = request.app[_UPSTREAM]
    name = request.match_info["model"]
    if name not in upstream.models:
        raise Refusal(f"The model '{name}' does not exist", status=404, code="model_not_found")
    return web.json_response(_model_view(name))


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise Refusal("The body must be application/json.", status=415)
    try:
        body = await request.json()
    except ValueError as error:
        raise Refusal("We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise Refusal("The body must be an object.")
    return body


def _check_chat(body: dict[str, Any]) -> None:
    if not isinstance(body.get("model"), str):
        raise Refusal("you must provide a model parameter", param="model")
    if body["model"] == "no-such-model":
        raise Refusal("The model `no-such-model` does not exist", status=404, code="model_not_found")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal("'messages' must be a non-empty list.", param="messages")
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.get("role") not in ROLES:
            raise Refusal(f"Invalid value: {message.get('role')!r}.", param=f"{where}.role")
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                raise Refusal("'tool' must answer a preceding 'tool_calls'.", param=f"{where}.tool_call_id")
            open_calls.discard(message["tool_call_id"])
        open_calls |= {call["id"] for call in message.get("tool_calls") or []}
    types = {"temperature": (int, float), "max_tokens": int, "max_completion_tokens": int, "n": int, "tools": list}
    for name, kinds in types.items():
        if name in body and not isinstance(body[name], kinds):
            raise Refusal(f"Invalid type for '{name}'.", param=name)
    if "stream_options" in body and not body.get("stream"):
        raise Refusal("'stream_options' is only allowed when 'stream' is enabled.", param="stream_options")
    if "refuse_me" in body:
        raise Refusal("Unrecognized request argument supplied: refuse_me", param="refuse_me")


def _completion(body: dict[str, Any], say: Say, number: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": say.text or None, "refusal": None}
    if say.thoughts:
        message["reasoning_content"] = say.thoughts
    if say.tool_calls:
        message["tool_calls"] = say.tool_calls
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": _finish_reason(say)}
        for index in range(body.get("n", 1))
    ]
    whole = _head(body, number, "chat.completion") | {"choices": choices, "usage": _usage(body, say)}
    return whole | say.fields


async def _stream(
    request: web.Request, upstream: Upstream, body: dict[str, Any], say: Say, number: int
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"} | say.headers)
    await response.prepare(request)
    upstream.open_streams += 1
    wants_usage = (body.get("stream_options") or {}).get("include_usage") is True
    head = _head(body, number, "chat.completion.chunk") | ({"usage": None} if wants_usage else {}) | say.fields
    try:
        for count, delta in enumerate(_deltas(say)):
            if count == say.cut_after:
                return _hang_up(request, response)
            if say.raw is not None:
                await response.write(b"data: " + say.raw + b"\n\n")
                return response
            if count in say.gates:
                await say.gates[count].wait()
            await _send(response, head | {"choices": [_choice(delta, None)]})
            await asyncio.sleep(say.pause_s)
        await _send(response, head | {"choices": [_choice({}, _finish_reason(say))]})
        if wants_usage:
            await _send(response, head | {"choices": [], "usage": _usage(body, say)})
        upstream.answered.append(body)
        await response.write(b"data: [DONE]\n\n")
    except (asyncio.CancelledError, ConnectionResetError):
        upstream.abandoned_streams += 1
        raise
    finally:
        upstream.open_streams -= 1
    return response


def _hang_up(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return response


def _deltas(say: Say) -> list[dict[str, Any]]:
    if say.deltas:
        return say.deltas
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if say.text else None, "refusal": None}]
    for name, said in (("reasoning_content", say.thoughts), ("content", say.text)):
        deltas += [{name: piece} for piece in said.replace(" ", " \0").split("\0") if piece]
    for index, call in enumerate(say.tool_calls):
        function = call["function"]
        deltas.append({"tool_calls": [{"index": index, **call, "function": {**function, "arguments": ""}}]})
        middle = len(function["arguments"]) // 2
        for part in (function["arguments"][:middle], function["arguments"][middle:]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    return deltas


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _head(body: dict[str, Any], number: int, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": 1_700_000_000,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_stand_in",
    }


def _finish_reason(say: Say) -> str:
    return say.finish_reason or ("tool_calls" if say.tool_calls else "stop")


def _usage(body: dict[str, Any], say: Say) -> dict[str, Any]:
    if say.usage is not None:
        return say.usage
    prompt = sum(len(json.dumps(message)) // 4 for message in body["messages"])
    completion = len(say.text) // 4 + 1
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _model_view(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "stand-in"}
