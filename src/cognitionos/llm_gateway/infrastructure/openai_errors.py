"""Errors in OpenAI's shape ("Error codes" in its API reference); the SDKs choose their exception by status."""

from collections.abc import Mapping

import msgspec

from cognitionos.llm_gateway.domain.errors import BudgetExhausted
from cognitionos.platform.http_problems import Problem, VendorErrors

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


class OpenAIErrorDetail(msgspec.Struct, frozen=True):
    """`code` is the `type` of our own problem documents."""

    message: str
    type: str
    param: str | None
    code: str


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    """The body of every error on a route that speaks OpenAI's format."""

    error: OpenAIErrorDetail


def render(problem: Problem, _: str) -> tuple[OpenAIErrorBody, Mapping[str, str]]:
    """The problem as OpenAI would say it; a refusal for money says that trying again is useless."""
    for_money = isinstance(problem.error, BudgetExhausted)
    detail = OpenAIErrorDetail(
        message=problem.detail,
        type="insufficient_quota" if for_money else _TYPES.get(problem.status, "api_error"),
        param=problem.errors[0].field if problem.errors else None,
        code=problem.slug,
    )
    return OpenAIErrorBody(error=detail), {"x-should-retry": "false"} if for_money else {}


OPENAI_ERRORS = VendorErrors(schema=OpenAIErrorBody, render=render, statuses={422: 400})
