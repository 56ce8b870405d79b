"""A deterministic stand-in for a model's words: follows scenarios, fills JSON schemas, calls tools, streams, is free.

It says that it is simulated in every model id. It is chosen by name, or because nothing else is configured; it is never
a fallback, and production refuses it.
"""

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from cognitionos.kernel.clock import Clock
from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text, ToolCall, Usage, assistant
from cognitionos.llm_gateway.domain.errors import ModelMissing, RequestRefused
from cognitionos.llm_gateway.domain.json_schema import least_value
from cognitionos.llm_gateway.domain.scenario import Conversation, Reply, Rule
from cognitionos.llm_gateway.infrastructure.messages_terms import check_thread
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical, encode, read_chunk, write_usage

NAME = "simulated"
MODEL = "scenarios"
HOW_TO_CONNECT = (
    "Set OPENAI_API_KEY, or OPENAI_BASE_URL for any OpenAI-compatible server, or start a local one "
    "(Ollama, LM Studio, llama.cpp) and restart."
)
SAYS_NOTHING = f"This is the simulated model: its words mean nothing. {HOW_TO_CONNECT}"
_BYTES_PER_TOKEN = 4
_NO_SUCH_THING: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": (),
    "functions": ([],),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "thinking": (),
    "top_logprobs": (0,),
    "web_search_options": (),
}
"""Fields that an answer would have to show, with the values that ask for nothing."""
_PIECES = re.compile(r"\s*\S+\s*")


class SimulatedProvider:
    """Answers by `rules`; where none fits: the least value of the schema asked for, or a plain note."""

    name = NAME
    simulated = True

    def __init__(self, rules: Callable[[], Sequence[Rule]], *, now: Clock) -> None:
        self._rules = rules
        self._now = now

    def check(self, request: ChatRequest) -> None:
        """Raise for what is known to be refused before it is sent."""
        _check(request)

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """The whole answer at once: equal requests get equal answers. Raises `RequestRefused` naming a field."""
        _check(request)
        reply = self._reply(request)
        digest = blake2b(canonical([model, request.content()]), digest_size=8).hexdigest()
        calls = tuple(
            ToolCall(id=f"call_{digest}{number}", name=name, arguments=encode(arguments).decode())
            for number, (name, arguments) in enumerate(reply.calls)
        )
        usage = _usage(request, reply)
        wire = {
            "id": f"chatcmpl-simulated-{digest}",
            "object": "chat.completion",
            "created": int(self._now().timestamp()),
            "model": f"{NAME}/{model}",
            "choices": [
                {
                    "index": 0,
                    "message": assistant(reply.text, tool_calls=calls) | {"refusal": None},
                    "logprobs": None,
                    "finish_reason": "tool_calls" if calls else "stop",
                }
            ],
            "usage": write_usage(usage),
            "system_fingerprint": "simulated",
        }
        return Answer(wire=wire, usage=usage)

    async def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """The same answer word by word, tool calls whole, usage last."""
        wire = (await self.chat(request, model=model)).wire
        head = {name: wire[name] for name in ("id", "created", "model", "system_fingerprint")}
        head["object"] = "chat.completion.chunk"
        message = wire["choices"][0]["message"]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if message["content"] else None}]
        deltas.extend({"content": piece} for piece in _PIECES.findall(message["content"] or ""))
        calls = message.get("tool_calls", ())
        deltas.extend({"tool_calls": [call | {"index": number}]} for number, call in enumerate(calls))
        for delta in deltas:
            yield _chunk(head, delta, None)
        yield _chunk(head, {}, wire["choices"][0]["finish_reason"])
        yield read_chunk(encode(head | {"choices": [], "usage": wire["usage"]}), keep_usage=True)

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """It has no vectors: `local/wordllama` is the embedder that needs no key."""
        raise ModelMissing("the simulated provider embeds nothing; use local/wordllama")

    async def models(self) -> Sequence[str]:
        """Its one model; any other name after `simulated/` answers the same."""
        return [MODEL]

    def _reply(self, request: ChatRequest) -> Reply:
        conversation = Conversation.of(request.messages)
        for rule in self._rules():
            reply = rule.reply(conversation, offered=request.offered_tools)
            if reply is not None:
                return reply
        called = _demanded_tool(request)
        if called is not None:
            function = called["function"]
            return Reply(calls=((function["name"], least_value(function.get("parameters") or {"type": "object"})),))
        wanted = request.response_format or {}
        if wanted.get("type") == "json_schema":
            schema = (wanted.get("json_schema") or {}).get("schema") or {}
            return Reply(text=encode(least_value(schema)).decode())
        if wanted.get("type") == "json_object":
            return Reply(text=encode({"note": SAYS_NOTHING}).decode())
        return Reply(text=SAYS_NOTHING)


def _check(request: ChatRequest) -> None:
    """Settings of a model's words change nothing here; what asks for more or other than words is refused."""
    check_thread(request.extra)
    refused = sorted(
        name
        for name, value in request.extra.items()
        if name in _NO_SUCH_THING and value is not None and value not in _NO_SUCH_THING[name]
    )
    if refused:
        told = "the simulated model has no such thing; leave it out"
        raise RequestRefused(f"{', '.join(refused)}: {told}.", fields=dict.fromkeys(refused, told))


def _demanded_tool(request: ChatRequest) -> Mapping[str, Any] | None:
    """The offered tool that the caller insists on: the one named, else for `required` the first."""
    choice = request.tool_choice
    if choice == "required":
        return next(iter(request.tools), None)
    if not isinstance(choice, Mapping):
        return None
    name = (choice.get("function") or {}).get("name")
    return next((tool for tool in request.tools if tool["function"]["name"] == name), None)


def _chunk(head: Mapping[str, Any], delta: Mapping[str, Any], finish_reason: str | None) -> Chunk:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return read_chunk(encode({**head, "choices": [choice]}), keep_usage=True)


def _usage(request: ChatRequest, reply: Reply) -> Usage:
    prompt = len(encode([request.messages, request.tools]))
    completion = len(reply.text.encode()) + sum(len(encode(arguments)) for _, arguments in reply.calls)
    return Usage(prompt=prompt // _BYTES_PER_TOKEN + 1, completion=completion // _BYTES_PER_TOKEN + 1)
