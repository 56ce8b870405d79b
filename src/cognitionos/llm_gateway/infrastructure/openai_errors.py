"""Errors in OpenAI's shape ("Error codes" in its API reference); the SDKs choose their exception by status."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from cognitionos.llm_gateway.domain.errors import BudgetExhausted
from cognitionos.llm_gateway.infrastructure.answers import failed_headers
from cognitionos.platform.http_problems import Problem, VendorErrors

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


class OpenAIErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is the `type` of our own problem documents. A refusal for money names the budget, and when it resets."""

    message: str
    type: str
    param: str | None
    code: str
    budget: str | msgspec.UnsetType = msgspec.UNSET
    resets_at: datetime | msgspec.UnsetType | None = msgspec.UNSET


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    """The body of every error on a route that speaks OpenAI's format."""

    error: OpenAIErrorDetail


def render(problem: Problem, _: str) -> tuple[OpenAIErrorBody, Mapping[str, str]]:
    """The problem as OpenAI would say it; a refusal for money says that trying again is useless."""
    error = problem.error
    for_money = isinstance(error, BudgetExhausted)
    usual = "invalid_request_error" if problem.status < 500 else "api_error"
    detail = OpenAIErrorDetail(
        message=problem.detail,
        type="insufficient_quota" if for_money else _TYPES.get(problem.status, usual),
        param=problem.errors[0].field if problem.errors else None,
        code=problem.slug,
        budget=error.subject if isinstance(error, BudgetExhausted) else msgspec.UNSET,
        resets_at=error.resets_at if isinstance(error, BudgetExhausted) else msgspec.UNSET,
    )
    headers = failed_headers(problem) | ({"x-should-retry": "false"} if for_money else {})
    return OpenAIErrorBody(error=detail), headers


OPENAI_ERRORS = VendorErrors(schema=OpenAIErrorBody, render=render, statuses={422: 400})
