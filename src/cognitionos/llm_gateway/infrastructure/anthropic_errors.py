"""Errors in Anthropic's shape ("Errors" in its API reference), with our own `type` as `code`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from cognitionos.llm_gateway.domain.errors import BudgetExhausted, OfACall, RequestRefused, StreamBroken
from cognitionos.llm_gateway.infrastructure.answers import failed_headers
from cognitionos.platform.http_problems import Problem, VendorErrors

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class AnthropicErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is the `type` of our own problem documents, `param` the field that is wrong.

    A refusal for money names the budget, and when it resets. `details` are the provider's own: the SDKs choose their
    exception, and what to do about it, by their `error_code`.
    """

    type: str
    message: str
    code: str
    param: str | None
    budget: str | msgspec.UnsetType = msgspec.UNSET
    resets_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    details: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class AnthropicErrorBody(msgspec.Struct, frozen=True):
    """The body of every error on a route that speaks Anthropic's format."""

    error: AnthropicErrorDetail
    request_id: str
    type: str = "error"


def render(problem: Problem, request_id: str) -> tuple[AnthropicErrorBody, Mapping[str, str]]:
    """The problem as Anthropic would say it; a refusal for money says that trying again is useless."""
    error = problem.error
    for_money = isinstance(error, BudgetExhausted)
    status = (error.status if isinstance(error, RequestRefused) else None) or problem.status
    usual = "invalid_request_error" if problem.status < 500 else "api_error"
    details = error.details if isinstance(error, OfACall | StreamBroken) else None
    detail = AnthropicErrorDetail(
        type="billing_error" if for_money else _TYPES.get(status, usual),
        message=problem.detail,
        code=problem.slug,
        param=problem.errors[0].field if problem.errors else None,
        budget=error.subject if isinstance(error, BudgetExhausted) else msgspec.UNSET,
        resets_at=error.resets_at if isinstance(error, BudgetExhausted) else msgspec.UNSET,
        details=msgspec.UNSET if details is None else dict(details),
    )
    headers = {"request-id": request_id} | failed_headers(problem) | ({"x-should-retry": "false"} if for_money else {})
    return AnthropicErrorBody(error=detail, request_id=request_id), headers


ANTHROPIC_ERRORS = VendorErrors(schema=AnthropicErrorBody, render=render, statuses={422: 400})
