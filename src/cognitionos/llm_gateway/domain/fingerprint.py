"""The name of a request's answer in a cache: equal only when everything that decides the answer is equal."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.domain.chat import ChatRequest

Canonical = Callable[[Any], bytes]
"""Encodes a JSON value to bytes with sorted keys, so that equal values have equal bytes."""


def fingerprint(request: ChatRequest, *, tenant_id: UUID, model: str, canonical: Canonical) -> str:
    """32 hex digits over tenant, model, messages, tools, sampling, response format, limit and every further field."""
    decides: list[Any] = [model, request.max_tokens, request.content()]
    if request.native is not None:
        decides.append(request.native)
    text = canonical(decides)
    return blake2b(text, key=tenant_id.bytes, digest_size=16).hexdigest()


def lot_of(request: ChatRequest, *, tenant_id: UUID, canonical: Canonical) -> float:
    """A number in [0, 1) that identical requests have in common, and others have by chance."""
    drawn = fingerprint(request, tenant_id=tenant_id, model=request.model or "", canonical=canonical)
    return int(drawn[:12], 16) / (1 << 48)
