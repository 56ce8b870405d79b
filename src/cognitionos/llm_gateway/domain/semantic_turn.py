"""What of a request is compared by meaning (its last user turn), and what has to be equal (everything else)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.fingerprint import Canonical
from cognitionos.llm_gateway.domain.semantic_text import LONGEST, read

_SPACE = re.compile(r"\s+")
_SHORT_WORDS = 40
_SHORT_AGREES = 0.80
_LONG_AGREES = 0.88
_YES_OR_NO = re.compile(r"^\W*(yes|no|yeah|nope|correct|incorrect|true|false)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Turn:
    """The question, and the fingerprint of all the rest: 32 hex digits."""

    question: str
    scope: str


def turn_of(request: ChatRequest, *, tenant_id: UUID, model: str, canonical: Canonical) -> Turn | None:
    """The last user turn of a request; None: it is not plain text, or too long to be a question."""
    question = _question(request.messages)
    if question is None or not 0 < len(question) <= LONGEST:
        return None
    rest = [model, request.max_tokens, request.content() | {"messages": request.messages[:-1]}]
    if request.native is not None:
        messages = request.native.get("messages")
        if not isinstance(messages, list | tuple) or _question(messages) is None:
            return None
        rest.append({**request.native, "messages": messages[:-1]})
    return Turn(question, blake2b(canonical(rest), key=tenant_id.bytes, digest_size=16).hexdigest())


def answers_agree(one: str, other: str, similarity: float) -> bool:
    """Whether two answers say the same, as far as their words and the likeness of their vectors tell.

    Strict on purpose: two ways to say the same count as different sooner than the other way round.
    """
    if _SPACE.sub(" ", one).strip().casefold() == _SPACE.sub(" ", other).strip().casefold():
        return True
    says, says_too = _YES_OR_NO.match(one), _YES_OR_NO.match(other)
    if says and says_too and says[1].casefold() != says_too[1].casefold():
        return False
    if max(len(one.split()), len(other.split())) > _SHORT_WORDS:
        return similarity >= _LONG_AGREES
    mine, others = read(one), read(other)
    return (
        similarity >= _SHORT_AGREES
        and mine.numbers == others.numbers
        and mine.dates == others.dates
        and bool(mine.negations) == bool(others.negations)
    )


def _question(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The words of the last message, where it is a user's and nothing but text."""
    last = messages[-1] if messages else {}
    if last.get("role") != "user" or last.keys() - {"role", "content"}:
        return None
    content = last.get("content")
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list | tuple) or not content:
        return None
    texts = [part.get("text") for part in content if part.keys() == {"type", "text"} and part["type"] == "text"]
    if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
        return None
    return "\n".join(str(text) for text in texts).strip()
