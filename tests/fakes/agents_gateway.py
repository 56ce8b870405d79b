"""A gateway whose model says what a test wrote down, in order."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.facade import Caller, ChatRequest, ChatResult, Hear, ToolCall, Usage

Said = ChatResult | Exception
Script = Callable[[ChatRequest], Said]


@dataclass
class ScriptedGateway:
    """Says `lines` one after the other (a callable decides by the request); `requests` is what it was asked."""

    lines: list[Said | Script] = field(default_factory=list)
    requests: list[ChatRequest] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    budgets: dict[str, int] = field(default_factory=dict)
    windows: int | None = None

    async def complete(self, caller: Caller, request: ChatRequest) -> ChatResult:
        self.requests.append(request)
        self.callers.append(caller)
        assert self.lines, f"the script is at its end; asked: {request.messages[-1]}"
        line = self.lines.pop(0)
        said = line(request) if callable(line) else line
        if isinstance(said, Exception):
            raise said
        return said

    async def window(self, tenant_id: UUID, model: str | None) -> int | None:
        return self.windows

    async def listen(self, caller: Caller, request: ChatRequest, hear: Hear) -> ChatResult:
        result = await self.complete(caller, request)
        hear(result.text)
        return result

    async def open_budget(self, tenant_id: UUID, subject: str, limit_nanousd: int) -> None:
        self.budgets[subject] = limit_nanousd


def says(text: str, **changes: Any) -> ChatResult:
    """A plain answer of 100 prompt and 10 completion tokens that cost 7 nano-dollars."""
    given: dict[str, Any] = {
        "call_id": new_id(),
        "text": text,
        "provider": "scripted",
        "model": "scripted/model",
        "usage": Usage(prompt=100, completion=10),
        "cost_nanousd": 7,
        "wire": {},
    }
    return ChatResult(**{**given, **changes})


def calls(*wanted: tuple[str, Any], text: str = "") -> ChatResult:
    """An answer that asks for tools: (name, arguments), the arguments as an object or as raw text."""
    made = tuple(
        ToolCall(id=f"call_{number}", name=name, arguments=given if isinstance(given, str) else json.dumps(given))
        for number, (name, given) in enumerate(wanted)
    )
    return says(text, tool_calls=made, finish_reason="tool_calls")


def verdict(*reasons: str) -> ChatResult:
    """A critic's answer: accepted without reasons, sent back with them."""
    return says(json.dumps({"accepted": not reasons, "reasons": list(reasons)}))
