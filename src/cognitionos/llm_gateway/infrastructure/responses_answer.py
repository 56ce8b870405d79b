"""Chat answers as responses of OpenAI's Responses API, whole and event by event.

Source: OpenAI's API reference, "The response object" and "Streaming events".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.infrastructure.chat_chunk import Delta, Function, decode_chunk
from cognitionos.llm_gateway.infrastructure.openai_errors import render
from cognitionos.llm_gateway.infrastructure.openai_schema import encode, usage_from
from cognitionos.platform.http_problems import problem_of

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
    choice = (wire.get("choices") or [{}])[0]
    said = choice.get("message") or {}
    output: list[dict[str, Any]] = []
    parts = [_text(said["content"])] if said.get("content") else []
    parts += [_refusal(said["refusal"])] if said.get("refusal") else []
    if parts:
        output.append(_message(call_id, parts))
    for index, call in enumerate(said.get("tool_calls") or ()):
        function = call.get("function") or {}
        output.append(_call(call_id, index, call.get("id"), function.get("name"), function.get("arguments")))
    body = _response(call_id, created_at, str(wire.get("model", "")), asked)
    return body | _ending(choice.get("finish_reason"), usage_from(wire.get("usage"))) | {"output": output}


@dataclass(slots=True)
class _Item:
    """An output item under way: `text` are its words, or a function's arguments. No `kind`: there is none."""

    index: int
    kind: str
    number: int
    body: dict[str, Any]
    text: list[str] = field(default_factory=list)


def _nothing() -> _Item:
    return _Item(-1, "", 0, {})


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
        self._item = _nothing()
        self._reason: str | None = None
        self._usage: dict[str, Any] | None = None

    def event(self, data: bytes) -> bytes:
        """The bytes to send for one chunk."""
        chunk = decode_chunk(data)
        events = self._begin(chunk.model)
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._reason = choice.finish_reason or self._reason
                events += self._added(choice.delta) if choice.delta is not None else []
        return b"".join(events)

    def end(self) -> bytes:
        """The end of the last item, and of the response."""
        events = [*self._begin(""), *self._close()]
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
        for kind, words in (("output_text", delta.content), ("refusal", delta.refusal)):
            if words:
                events += self._open(kind, 0, _message(self._call_id, [], status="in_progress"))
                item = self._item
                item.text.append(words)
                more: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
                events.append(self._of_part(f"response.{kind}.delta", delta=words, **more))
        for call in delta.tool_calls or ():
            function = call.function or Function()
            body = _call(self._call_id, call.index, call.id, function.name, "", status="in_progress")
            events += self._open("function_call", call.index, body)
            if function.arguments:
                item = self._item
                item.text.append(function.arguments)
                place = {"item_id": item.body["id"], "output_index": item.index}
                events.append(self._event("response.function_call_arguments.delta", delta=function.arguments, **place))
        return events

    def _open(self, kind: str, number: int, body: dict[str, Any]) -> list[bytes]:
        """Have an item of this kind under way: nothing where it is, else the end of the last and the start of it."""
        if (self._item.kind, self._item.number) == (kind, number):
            return []
        events = self._close()
        index = len(self._done)
        self._item = _Item(index, kind, number, body | {"id": f"{body['id']}_{index}"})
        events.append(self._event("response.output_item.added", output_index=index, item=self._item.body))
        if kind != "function_call":
            empty = _text("") if kind == "output_text" else _refusal("")
            events.append(self._of_part("response.content_part.added", part=empty))
        return events

    def _close(self) -> list[bytes]:
        item = self._item
        if not item.kind:
            return []
        words = "".join(item.text)
        if item.kind == "function_call":
            done = item.body | {"arguments": words, "status": "completed"}
            place = {"item_id": item.body["id"], "output_index": item.index, "name": item.body["name"]}
            events = [self._event("response.function_call_arguments.done", arguments=words, **place)]
        else:
            part = _text(words) if item.kind == "output_text" else _refusal(words)
            done = item.body | {"content": [part], "status": "completed"}
            said: dict[str, Any] = {"text": words, "logprobs": []} if item.kind == "output_text" else {"refusal": words}
            events = [self._of_part(f"response.{item.kind}.done", **said)]
            events.append(self._of_part("response.content_part.done", part=part))
        self._item = _nothing()
        self._done.append(done)
        return [*events, self._event("response.output_item.done", output_index=item.index, item=done)]

    def _of_part(self, kind: str, **fields: Any) -> bytes:
        item = self._item
        return self._event(kind, item_id=item.body["id"], output_index=item.index, content_index=0, **fields)

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
