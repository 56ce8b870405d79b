"""A strict stand-in for Anthropic's Messages API: real HTTP on a free loopback port, scriptable, counts its calls.

It refuses what Anthropic refuses: a missing key or version, fields it does not know, turns out of place, tool results
without their calls, empty texts, open schemas. Without a script it answers `Hello from MODEL.`.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.serving import serving

FIELDS = {
    *("model", "messages", "max_tokens", "system", "tools", "tool_choice", "stop_sequences", "stream", "temperature"),
    *("top_p", "top_k", "metadata", "thinking", "output_config", "service_tier", "cache_control", "thread"),
}
VERSIONS = {"2023-06-01": FIELDS, "2026-10-21": FIELDS - {"temperature", "top_p", "top_k"}}
BLOCKS = {
    "user": {"text", "image", "document", "tool_result", "search_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}


@dataclass(kw_only=True)
class Tell:
    """One scripted answer: its content blocks, or `text`. `cut_after` ends a stream after that many events.

    `gates`: a stream waits for the event before it sends the event of that number. `spread`: its data is spread over
    lines that end in CR LF, with comments in between.
    """

    text: str = ""
    content: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] | None = None
    cut_after: int | None = None
    error_after: int | None = None
    pause_s: float = 0.0
    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    spread: bool = False

    @property
    def blocks(self) -> list[dict[str, Any]]:
        return self.content or [{"type": "text", "text": self.text}]

    @property
    def reason(self) -> str:
        used = any(block["type"] == "tool_use" for block in self.blocks)
        return self.stop_reason or ("tool_use" if used else "end_turn")


@dataclass(kw_only=True)
class AnthropicUpstream:
    """The running server. `calls` are the bodies of the requests it got, in order; `threads` what it keeps of
    conversations, by the id of their last answer.
    """

    base_url: str = ""
    api_key: str = "sk-ant-upstream"
    models: list[str] = field(default_factory=lambda: ["claude-haiku-4-5"])
    script: deque[Tell] = field(default_factory=deque)
    calls: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    threads: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    abandoned_streams: int = 0

    def then(self, *answers: Tell) -> None:
        """Answer with these next."""
        self.script.extend(answers)

    def reset(self) -> None:
        """Forget the script and the calls."""
        self.script.clear()
        self.calls.clear()
        self.headers.clear()
        self.threads.clear()
        self.abandoned_streams = 0


_UPSTREAM: web.AppKey[AnthropicUpstream] = web.AppKey("anthropic", AnthropicUpstream)
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Refusal(Exception):
    """The request is not what the API takes."""

    def __init__(self, message: str, *, status: int = 400, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


@asynccontextmanager
async def running_anthropic(**changes: Any) -> AsyncIterator[AnthropicUpstream]:
    """A server on a free loopback port; `base_url` is without `/v1`, as the SDK takes it."""
    upstream = AnthropicUpstream(**changes)
    app = web.Application(client_max_size=64 * 2**20, middlewares=[_refusals])
    app[_UPSTREAM] = upstream
    app.router.add_post("/v1/messages", _messages)
    app.router.add_post("/v1/messages/count_tokens", _count_tokens)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/v1/models/{model}", _model)
    async with serving(app) as address:
        upstream.base_url = f"http://{address}"
        yield upstream


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    upstream = request.app[_UPSTREAM]
    try:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if key != upstream.api_key:
            raise Refusal("invalid x-api-key", status=401)
        if request.headers.get("anthropic-version") not in VERSIONS:
            raise Refusal("anthropic-version: header is required")
        answer: web.StreamResponse = await handler(request)
        return answer
    except Refusal as refusal:
        return _error(refusal.status, str(refusal), details=refusal.details)


def _error(
    status: int,
    message: str,
    kind: str = "",
    headers: dict[str, str] | None = None,
    details: dict[str, Any] | None = None,
) -> web.Response:
    error: dict[str, Any] = {"type": kind or _KINDS.get(status, "api_error"), "message": message}
    if details is not None:
        error["details"] = details
    body = {"type": "error", "error": error, "request_id": "req_1"}
    return web.json_response(body, status=status, headers=headers)


async def _count_tokens(request: web.Request) -> web.StreamResponse:
    """What the real one refuses, a limit among it, is refused."""
    body = await request.json()
    unknown = body.keys() - {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
    if unknown or not body.get("messages"):
        raise Refusal(f"{', '.join(sorted(unknown)) or 'messages'}: Extra inputs are not permitted")
    request.app[_UPSTREAM].calls.append(body)
    return web.json_response({"input_tokens": len(json.dumps(body["messages"])) // 3})


async def _models(request: web.Request) -> web.StreamResponse:
    data = [_model_view(name) for name in request.app[_UPSTREAM].models]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return web.json_response({"data": data, "has_more": False, **ends})


async def _model(request: web.Request) -> web.StreamResponse:
    name = request.match_info["model"]
    if name not in request.app[_UPSTREAM].models:
        raise Refusal(f"model: {name}", status=404)
    return web.json_response(_model_view(name))


def _model_view(name: str) -> dict[str, Any]:
    known = {"type": "model", "id": name, "display_name": name, "created_at": "2025-10-01T00:00:00Z"}
    return known | {"lifecycle": "active", "max_input_tokens": 200_000, "max_tokens": 64_000}


async def _messages(request: web.Request) -> web.StreamResponse:
    upstream = request.app[_UPSTREAM]
    try:
        body = await request.json()
    except ValueError as error:
        raise Refusal("The request body is not valid JSON") from error
    conversation = _conversation(upstream, body)
    _check(
        {**body, "messages": conversation} if "messages" in body else body,
        VERSIONS[request.headers["anthropic-version"]],
    )
    upstream.calls.append(body)
    upstream.headers.append({name.lower(): value for name, value in request.headers.items()})
    tell = upstream.script.popleft() if upstream.script else Tell(text=f"Hello from {body['model']}.")
    if tell.status != 200:
        return _error(tell.status, f"scripted {tell.status}", tell.kind, tell.headers, tell.details)
    message = {
        "id": f"msg_{len(upstream.calls)}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": tell.blocks,
        "stop_reason": tell.reason,
        "stop_sequence": tell.stop_sequence,
        "usage": _usage(body, tell),
    }
    if body.get("thread"):
        upstream.threads[f"msg_{len(upstream.calls)}"] = [
            *conversation,
            {"role": "assistant", "content": tell.blocks},
        ]
    if not body.get("stream"):
        return web.json_response(message, headers=tell.headers)
    return await _stream(request, upstream, message, tell)


def _conversation(upstream: AnthropicUpstream, body: Any) -> Any:
    """What a call is about, with what is kept of it here. Source: the SDK's types, `thread`."""
    thread = body.get("thread") if isinstance(body, dict) else None
    if not thread or thread["type"] == "create":
        return body.get("messages") if isinstance(body, dict) else None
    kept = upstream.threads.get(thread["previous_message_id"])
    if kept is None:
        raise Refusal("thread: there is no such thread", status=404, details={"error_code": "thread_not_found"})
    return [*kept, *body["messages"]]


async def _stream(
    request: web.Request, upstream: AnthropicUpstream, message: dict[str, Any], tell: Tell
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    try:
        for count, event in enumerate(_events(message, tell)):
            if count == tell.cut_after:
                assert request.transport is not None
                request.transport.close()
                return response
            if count == tell.error_after:
                error: dict[str, Any] = {"type": "overloaded_error", "message": "Overloaded"}
                details = {} if tell.details is None else {"details": tell.details}
                await _send(response, {"type": "error", "error": error | details})
                return response
            if count in tell.gates:
                await tell.gates[count].wait()
            await _send(response, event, spread=tell.spread)
            await asyncio.sleep(tell.pause_s)
    except (asyncio.CancelledError, ConnectionResetError):
        upstream.abandoned_streams += 1
        raise
    return response


async def _send(response: web.StreamResponse, event: dict[str, Any], *, spread: bool = False) -> None:
    data = json.dumps(event, separators=(",", ":"))
    said = f"event: {event['type']}\ndata: {data}\n\n"
    if spread:
        lines = json.dumps(event, indent=1).replace("\n", "\ndata:")
        said = f": beside\nevent:{event['type']}\ndata:{lines}\n\n".replace("\n", "\r\n")
    await response.write(said.encode())


def _events(message: dict[str, Any], tell: Tell) -> Iterable[dict[str, Any]]:
    usage = message["usage"]
    begun = {**usage, "output_tokens": 1}
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": begun}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(tell.blocks):
        empty, deltas = _pieces(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        if index == 0:
            yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": tell.reason, "stop_sequence": tell.stop_sequence}
    yield {
        "type": "message_delta",
        "delta": delta,
        "usage": {name: usage[name] for name in ("input_tokens", "output_tokens")},
    }
    yield {"type": "message_stop"}


def _pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "text":
            parts = [part for part in block["text"].replace(" ", " \0").split("\0") if part]
            return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in parts]
        case "tool_use":
            text = json.dumps(block["input"], separators=(",", ":"))
            parts = ["", text[: len(text) // 2], text[len(text) // 2 :]]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*deltas, signed]
    return block, []


def _usage(body: dict[str, Any], tell: Tell) -> dict[str, Any]:
    words = sum(len(str(block.get("text", block.get("input")))) for block in tell.blocks)
    prompt = len(json.dumps([body["messages"], body.get("system")])) // 4
    counted = {"input_tokens": prompt, "output_tokens": words // 4 + 1}
    return {**counted, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, **tell.usage}


def _check(body: Any, known: set[str]) -> None:
    if not isinstance(body, dict):
        raise Refusal("Input should be an object")
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise Refusal(f"{name}: Field required")
    for name in body:
        if name not in known:
            raise Refusal(f"{name}: Extra inputs are not permitted")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise Refusal("max_tokens: Input should be greater than or equal to 1")
    if not 0 <= body.get("temperature", 0) <= 1:
        raise Refusal("temperature: range: 0..1")
    if body["model"] == "no-such-model":
        raise Refusal("model: no-such-model", status=404)
    _check_thinking(body)
    for index, tool in enumerate(body.get("tools", [])):
        if tool.get("type", "custom") == "custom" and tool.get("input_schema", {}).get("type") != "object":
            raise Refusal(f"tools.{index}.custom.input_schema: Field required")
    _check_schema(body.get("output_config", {}).get("format", {}).get("schema", {}))
    _check_turns(body["messages"])


def _check_thinking(body: dict[str, Any]) -> None:
    told = body.get("thinking", {})
    if told.get("budget_tokens", 0) >= body["max_tokens"]:
        raise Refusal("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if told.get("type") == "enabled" and body.get("tool_choice", {}).get("type") in {"any", "tool"}:
        raise Refusal("Thinking may not be enabled when tool_choice forces tool use.")


def _check_turns(messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise Refusal("messages: at least one message is required")
    calls: set[str] = set()
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in BLOCKS:
            raise Refusal(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        blocks: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
        answered = {block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"}
        if answered != calls:
            raise Refusal(f"messages.{index}: `tool_use` ids without `tool_result` blocks, or the other way round")
        for place, block in enumerate(blocks):
            if block.get("type") not in BLOCKS[role]:
                raise Refusal(f"messages.{index}.content.{place}: Input tag '{block.get('type')}' is not expected")
            if block["type"] == "text" and not block.get("text"):
                raise Refusal(f"messages.{index}.content.{place}.text: text content blocks must be non-empty")
        calls = {block["id"] for block in blocks if block["type"] == "tool_use"}


def _check_schema(schema: Any) -> None:
    if isinstance(schema, list):
        for each in schema:
            _check_schema(each)
    elif isinstance(schema, dict):
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            raise Refusal("output_config.format.schema: 'additionalProperties' must be explicitly set to false")
        if schema.keys() & {"minimum", "maximum", "minLength", "maxLength", "maxItems"}:
            raise Refusal("output_config.format.schema: a keyword is not supported")
        for each in schema.values():
            _check_schema(each)
