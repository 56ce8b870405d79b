"""What every route of models shares: on whose behalf a call is made, the headers of its answer, its documentation."""

from collections.abc import Mapping
from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, Operation

from cognitionos.kernel.money import usd_text
from cognitionos.kernel.principal import Principal
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.domain.chat import CACHE_NONE, CACHE_PENDING
from cognitionos.llm_gateway.domain.errors import OfACall
from cognitionos.llm_gateway.facade import Caller, ChatResult, ChatStream, Embeddings
from cognitionos.platform.http_problems import Problem

JSON = "application/json"
UNKNOWN = "unknown"
"""The cost of a call to a model without a price: unknown is not zero."""


_NOBODY_ASKED = {"x-cognitionos-cache": CACHE_NONE, "x-cognitionos-attempts": "0", "x-cognitionos-cost-usd": "0"}


@dataclass
class StreamedOperation(Operation):
    """Documents that the answer may also be a stream."""

    def __post_init__(self) -> None:
        """Add the stream's media type beside the whole answer's."""
        answer = (self.responses or {}).get("200")
        content = getattr(answer, "content", None)
        if content is not None:
            content["text/event-stream"] = OpenAPIMediaType()


def caller_of(who: Principal, user: str | None) -> Caller:
    """The caller that the ledger row names; `user` is whom the request itself names."""
    return Caller(tenant_id=who.tenant_id, project_id=who.project_id, api_key_id=who.api_key_id, user=user or who.user)


def answer_headers(result: ChatResult) -> dict[str, str]:
    """Who answered, and what it cost."""
    headers = _provenance(result)
    headers["x-cognitionos-cost-usd"] = usd_text(result.cost_nanousd) if result.priced else UNKNOWN
    return headers


def stream_headers(stream: ChatStream) -> dict[str, str]:
    """Who answers; the cost only where it is known before the first byte."""
    headers = _provenance(stream)
    if stream.cost_nanousd is not None:
        headers["x-cognitionos-cost-usd"] = usd_text(stream.cost_nanousd)
    return headers


def begun_headers(call: Started) -> dict[str, str]:
    """What is known of a stream before its first piece: who was asked first, not yet who answers."""
    first = call.route.candidates[0]
    headers = {
        "x-cognitionos-call-id": str(call.call_id),
        "x-cognitionos-provider": first.provider,
        "x-cognitionos-model": _ascii(first.name),
        "x-cognitionos-cache": CACHE_PENDING,
        "x-cognitionos-attempts": "0",
        "x-cognitionos-route": _ascii(call.way(first, end="awaited")),
    }
    return headers if call.cache_key is None else headers | {"x-cognitionos-cache-key": call.cache_key}


def failed_headers(problem: Problem) -> dict[str, str]:
    """What an error cost and which call it ended, where one was made: its row in the ledger, who was asked and why
    nobody answered. Of an error that nobody expected nothing: it may have come after an answer."""
    error = problem.error
    if not isinstance(error, OfACall):
        return dict(_NOBODY_ASKED) if problem.status < 500 else {}
    tried = error.tried
    if tried is None:
        return dict(_NOBODY_ASKED)
    known = {
        "x-cognitionos-call-id": None if tried.call_id is None else str(tried.call_id),
        "x-cognitionos-provider": tried.provider,
        "x-cognitionos-model": _ascii(tried.model),
        "x-cognitionos-route": None if tried.route is None else _ascii(tried.route),
    }
    return {name: value for name, value in known.items() if value} | {
        "x-cognitionos-cache": CACHE_NONE,
        "x-cognitionos-attempts": str(tried.attempts),
        "x-cognitionos-cost-usd": UNKNOWN if tried.cost_nanousd is None else usd_text(tried.cost_nanousd),
    }


def _provenance(answer: ChatResult | ChatStream) -> dict[str, str]:
    headers = {
        "x-cognitionos-call-id": str(answer.call_id),
        "x-cognitionos-provider": answer.provider,
        "x-cognitionos-model": _ascii(answer.model),
        "x-cognitionos-cache": answer.cache,
        "x-cognitionos-attempts": str(answer.attempts),
        "x-cognitionos-route": _ascii(answer.route),
    }
    if answer.similarity is not None:
        headers["x-cognitionos-similarity"] = f"{answer.similarity:.4f}"
    if answer.cache_key is not None:
        headers["x-cognitionos-cache-key"] = answer.cache_key
    if answer.cache_age_s is not None:
        headers["x-cognitionos-cache-age"] = str(answer.cache_age_s)
    if answer.simulated:
        headers["x-cognitionos-simulated"] = "true"
    if answer.limit_lowered:
        headers["x-cognitionos-limit-lowered"] = "true"
    if answer.downgraded:
        headers["x-cognitionos-downgraded"] = "true"
    return headers


def embedding_headers(embeddings: Embeddings) -> Mapping[str, str]:
    """Who embedded, and what it cost."""
    return {
        "x-cognitionos-call-id": str(embeddings.call_id),
        "x-cognitionos-provider": embeddings.provider,
        "x-cognitionos-model": _ascii(embeddings.model),
        "x-cognitionos-cache": "none",
        "x-cognitionos-attempts": str(embeddings.attempts),
        "x-cognitionos-route": _ascii(embeddings.route),
        "x-cognitionos-cost-usd": usd_text(embeddings.cost_nanousd) if embeddings.priced else UNKNOWN,
    }


def _ascii(text: str) -> str:
    """A caller's own word for a model, fit for a header: no control character, nothing beyond ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if " " <= each <= "~" else "?" for each in text)
