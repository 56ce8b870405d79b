"""Callers, requests and ledger rows with sensible values, each overridable by name."""

import json
import time
from typing import Any
from uuid import UUID

from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.chat import Caller, ChatRequest, Usage, user
from cognitionos.llm_gateway.domain.ledger import Call


def a_caller(**changes: Any) -> Caller:
    values: dict[str, Any] = {"tenant_id": new_id(), "project_id": new_id()}
    return Caller(**values | changes)


def a_request(text: str = "Say hello.", **changes: Any) -> ChatRequest:
    return ChatRequest(**{"messages": (user(text),)} | changes)


def a_call(caller: Caller, *, call_id: UUID | None = None, **changes: Any) -> Call:
    values: dict[str, Any] = {
        "call_id": call_id or new_id(),
        "caller": caller,
        "kind": "chat",
        "outcome": "ok",
        "model_asked": "gpt-4o-mini",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "route_reason": "named",
        "cache": "none",
        "usage": Usage(prompt=10, completion=5),
        "cost_nanousd": 0,
        "latency_ms": 12,
        "attempts": 1,
    }
    return Call(**values | changes)


def a_kept(text: str = "hello", **changes: Any) -> Kept:
    """A kept answer as JSON text, fresh, of an hour's life, of the time before any invalidation."""
    now = time.time()
    wire = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    values: dict[str, Any] = {
        "wire": json.dumps(wire).encode(),
        "model": "openai/gpt-4o-mini",
        "cost_nanousd": 1000,
        "stored_at": now,
        "expires_at": now + 3600,
        "epoch": 0,
        "scopes": ("key:K", "model:openai/gpt-4o-mini"),
    }
    return Kept(**values | changes)
