"""Chat answers as responses of OpenAI's Responses API, whole and event by event.

Source: OpenAI's API reference, "The response object" and "Streaming events".
"""

from collections.abc import Mapping
from typing import Any

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.domain.answer import first_choice, words_of
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.infrastructure import chat_chunk
from cognitionos.llm_gateway.infrastructure.chat_chunk import Delta
from cognitionos.llm_gateway.infrastructure.openai_errors import render
from cognitionos.llm_gateway.infrastructure.openai_schema import encode, usage_from
from cognitionos.llm_gateway.infrastructure.parts_in_order import CALL, Part, PartsInOrder, Step, Told
from cognitionos.platform.http_problems import problem_of

_TEXT, _REFUSAL = "output_text", "refusal"
_CUT_SHORT = {"length": "max_output_tokens", "content_filter": "content_filter"}
_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""What a response says of its request, with what it says where the request said nothing."""


def response_of(wire: Mapping[str, Any], *, call_id: str, created_at: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The whole answer; `asked` is the body that it answers."""
    choice = first_choice(wire)
    said = choice.get("message") or {}
    output: list[dict[str, Any]] = []
    words = words_of(said.get("content"))
    parts = [_text(words)] if words else []
    parts += [_refusal(said["refusal"])] if said.get("refusal") else []
    if parts:
        output.append(_message(call_id, parts))
    for index, call in enumerate(said.get("tool_calls") or ()):
        function = call.get("function") or {}
        output.append(_call(call_id, index, call.get("id"), function.get("name"), function.get("arguments")))
    body = _response(call_id, created_at, str(wire.get("model") or ""), asked)
    return body | _ending(choice.get("finish_reason"), usage_from(wire.get("usage"))) | {"output": output}


class ResponseEvents:
    """The framing of one stream of `/v1/responses`. The last event comes with `end`, after settlement."""

    ping = b": ping\n\n"

    def __init__(self, *, call_id: str, created_at: int, asked: Mapping[str, Any]) -> None:
        self._call_id = call_id
        self._created_at = created_at
        self._asked = asked
        self._model = ""
        self._number = -1
        self._done: list[dict[str, Any]] = []
        self._item: dict[str, Any] = {}
        self._parts = PartsInOrder()
        self._reason: str | None = None
        self._usage: dict[str, Any] | None = None

    def event(self, data: bytes) -> bytes:
        """The bytes to send for one chunk. Raises `StreamBroken` for one that cannot be told."""
        chunk = chat_chunk.read(data)
        events = self._begin(chunk.model or "")
        self._usage = chunk.usage or self._usage
        for choice in chunk.first():
            self._reason = choice.finish_reason or self._reason
            events += self._added(choice.delta) if choice.delta is not None else []
        return b"".join(events)

    def end(self) -> bytes:
        """The end of the last item, and of the response."""
        events = [*self._begin(""), *self._items_of(self._parts.end())]
        ending = _ending(self._reason, usage_from(self._usage))
        events.append(self._event(f"response.{ending['status']}", response=self._response() | ending))
        return b"".join(events)

    def error(self, error: DomainError) -> bytes:
        """The error that the stream ends with; the SDK looks at `error`, the reference names the other fields."""
        body, _ = render(problem_of(error), "")
        detail = body.error
        return self._event("error", code=detail.code, message=detail.message, param=detail.param, error=detail)

    def _begin(self, model: str) -> list[bytes]:
        if self._number >= 0:
            return []
        self._model = model
        started = self._response() | {"status": "in_progress", "usage": None}
        return [self._event(f"response.{kind}", response=started) for kind in ("created", "in_progress")]

    def _added(self, delta: Delta) -> list[bytes]:
        events: list[bytes] = []
        for kind, words in ((_TEXT, delta.content), (_REFUSAL, delta.refusal)):
            if words:
                events += self._items_of(self._parts.words(kind, words))
        for call in delta.tool_calls or ():
            if call is not None:
                events += self._items_of(self._parts.call(call))
        return events

    def _items_of(self, told: Told) -> list[bytes]:
        events: list[bytes] = []
        for step, part, text in told:
            if step is Step.BEGUN:
                events += self._open(part)
            elif step is Step.OVER:
                events += self._close(part)
            elif part.kind == CALL:
                events.append(self._of_item("response.function_call_arguments.delta", delta=text))
            else:
                more: dict[str, Any] = {"logprobs": []} if part.kind == _TEXT else {}
                events.append(self._of_part(f"response.{part.kind}.delta", delta=text, **more))
        return events

    def _open(self, part: Part) -> list[bytes]:
        index = len(self._done)
        if part.kind == CALL:
            self._item = _call(self._call_id, index, part.id, part.name, "", status="in_progress")
        else:
            self._item = _message(f"{self._call_id}_{index}", [], status="in_progress")
        added = self._event("response.output_item.added", output_index=index, item=self._item)
        if part.kind == CALL:
            return [added]
        empty = _text("") if part.kind == _TEXT else _refusal("")
        return [added, self._of_part("response.content_part.added", part=empty)]

    def _close(self, part: Part) -> list[bytes]:
        words = "".join(part.said)
        if part.kind == CALL:
            done = self._item | {"arguments": words, "status": "completed"}
            event = self._of_item("response.function_call_arguments.done", arguments=words, name=part.name)
            events = [event]
        else:
            content = _text(words) if part.kind == _TEXT else _refusal(words)
            done = self._item | {"content": [content], "status": "completed"}
            said: dict[str, Any] = {"text": words, "logprobs": []} if part.kind == _TEXT else {"refusal": words}
            events = [self._of_part(f"response.{part.kind}.done", **said)]
            events.append(self._of_part("response.content_part.done", part=content))
        events.append(self._event("response.output_item.done", output_index=len(self._done), item=done))
        self._done.append(done)
        return events

    def _of_item(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._item["id"], output_index=len(self._done), **fields)

    def _of_part(self, kind: str, **fields: Any) -> bytes:
        return self._of_item(kind, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        data = encode({"type": kind, "sequence_number": self._number} | fields)
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"

    def _response(self) -> dict[str, Any]:
        return _response(self._call_id, self._created_at, self._model, self._asked) | {"output": list(self._done)}


def _response(call_id: str, created_at: int, model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: otherwise if asked.get(name) is None else asked[name] for name, otherwise in _REPEATED.items()}
    head = {"id": f"resp_{call_id}", "object": "response", "created_at": created_at, "model": model, "error": None}
    state = {"incomplete_details": None, "previous_response_id": None, "store": False, "background": False}
    return head | state | said


def _ending(finish_reason: object, usage: Usage | None) -> dict[str, Any]:
    cut = _CUT_SHORT.get(str(finish_reason))
    return {
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "usage": _usage(usage or Usage()),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _message(call_id: str, content: list[dict[str, Any]], *, status: str = "completed") -> dict[str, Any]:
    head = {"id": f"msg_{call_id}", "type": "message", "role": "assistant"}
    return head | {"status": status, "content": content}


def _call(
    call_id: str, index: int, id_: str | None, name: str | None, arguments: str | None, *, status: str = "completed"
) -> dict[str, Any]:
    return {
        "id": f"fc_{call_id}_{index}",
        "type": "function_call",
        "status": status,
        "call_id": id_ or "",
        "name": name or "",
        "arguments": arguments or "",
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _refusal(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}
