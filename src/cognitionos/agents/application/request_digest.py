"""What a model was asked, short enough to be kept with its answer: a replay that would ask otherwise is noticed."""

import json
from hashlib import sha256
from typing import Any

from cognitionos.llm_gateway.facade import ChatRequest


def request_digest(request: ChatRequest) -> dict[str, Any]:
    """Model and sampling as they are, each message as 12 hexadecimal digits of SHA-256 of its JSON with sorted keys.

    Tools and schemas are left out: which of them a model is offered depends on the machine and the tenant.
    """
    return {
        "model": request.model,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "tool_choice": request.tool_choice,
        "messages": [_digest(message) for message in request.messages],
    }


def _digest(message: Any) -> str:
    return sha256(json.dumps(message, sort_keys=True, default=str).encode()).hexdigest()[:12]
