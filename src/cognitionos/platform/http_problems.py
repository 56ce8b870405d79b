"""Errors on the wire: the one table from error kinds to HTTP status, rendered as problem documents (RFC 9457).

A vendor's route (`opt=vendor_errors(...)`) renders the same `Problem` in that vendor's shape instead.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.exceptions import (
    HTTPException,
    ImproperlyConfiguredException,
    MethodNotAllowedException,
    NotFoundException,
    SerializationException,
)
from litestar.serialization import decode_json
from litestar.types import ASGIApp
from psycopg import DataError as PsycopgDataError
from sqlalchemy.exc import DataError as SqlDataError

from cognitionos.kernel.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
VENDOR = "vendor"
_PATH = re.compile(r" - at `(?:\$|key in \$)\.?([^`]*)`$")
_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]+)`")
_MISSING_FIELD = re.compile(r"missing required field `([^`]+)`")
_NO_BODY = "'data'"
_INDEX = re.compile(r"\[(\d+|\.\.\.)\]")

# The first kind that matches wins: Unauthenticated is a Forbidden.
STATUS: tuple[tuple[type[DomainError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Invalid, 422),
    (LimitExceeded, 429),
    (Unavailable, 503),
)


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with the input: `field` is its path (`inputs.0.name`), `message` says what and the remedy."""

    field: str
    message: str


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=False):
    """The body of every error on our own routes (`application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error before it gets a shape. `error` is what was raised; vendors' renderers may look at its kind."""

    status: int
    slug: str
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorErrors:
    """How one vendor words an error: `schema` documents the body, `render` makes it (and may add headers).

    `statuses` maps ours to the vendor's where they differ; a refusal with a `status` of its own keeps that one. On a
    path that two vendors share, `instead` names the header by which the other's clients are known, and their errors.
    `also` begin the paths below `/v1` that a vendor has and we have not.
    """

    schema: type[msgspec.Struct]
    render: Callable[[Problem, str], tuple[Any, Mapping[str, str]]]
    statuses: Mapping[int, int] = field(default_factory=dict)
    instead: "tuple[bytes, VendorErrors] | None" = None
    also: frozenset[str] = frozenset()


def vendor_errors(vendor: VendorErrors) -> dict[str, Any]:
    """The `opt` of a Router or handler whose errors take the vendor's shape."""
    return {VENDOR: vendor}


def status_of(error: type[DomainError]) -> int:
    """The HTTP status of an error's kind; 400 for one that belongs to no kind."""
    return next((status for kind, status in STATUS if issubclass(error, kind)), 400)


def problem_of(error: Exception) -> Problem:
    """What the caller is told about `error`. Of an unexpected one: nothing but that it happened."""
    if isinstance(error, DomainError):
        return _from_domain(error)
    if isinstance(error, (PsycopgDataError, SqlDataError)):
        return _problem(400, "invalid-request", "A value cannot be stored: check for NUL characters and overlong text.")
    if isinstance(error, HTTPException) and not isinstance(error, ImproperlyConfiguredException):
        return _from_http(error)
    if _is_of_the_body(error):
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it is nested too deeply"
        return _unreadable(why, error)
    return _problem(500, "internal-error", "Something went wrong on our side; the log has it under this request id.")


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything (`exception_handlers={Exception: handle}`)."""
    return answer_to(request.scope, error, vendor=_vendor_of(request, error))


def refusal(scope: Any, error: Exception) -> ASGIApp:
    """What answers a request that ended with `error` outside of the framework's handlers."""
    request: Request[Any, Any, Any] = Request(scope)
    return handle(request, error).to_asgi_response(None, request)


def answer_to(scope: Any, error: Exception, *, vendor: VendorErrors | None) -> Response[bytes]:
    """What a request is answered that ended with `error`; one that nobody expected is logged."""
    problem, path = problem_of(error), scope["path"]
    if problem.status == 500:
        log.error("unhandled_error", path=path, exc_info=error)
    return render(problem, path=path, request_id=scope.get("state", {}).get("request_id", ""), vendor=vendor)


HANDLERS: dict[int | type[Exception], Any] = {Exception: handle}


def render(problem: Problem, *, path: str, request_id: str, vendor: VendorErrors | None = None) -> Response[bytes]:
    """`problem` as a response: a problem document, or the vendor's shape."""
    headers = dict(problem.headers)
    if vendor is not None:
        own = getattr(problem.error, "status", None) if isinstance(problem.error, Invalid) else None
        body, extra = vendor.render(problem, request_id)
        return Response(
            msgspec.json.encode(body),
            status_code=own or vendor.statuses.get(problem.status, problem.status),
            media_type="application/json",
            headers={**headers, **extra},
        )
    document = ProblemDocument(
        type=f"/problems/{problem.slug}",
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        instance=path,
        request_id=request_id,
        errors=list(problem.errors),
    )
    return Response(msgspec.json.encode(document), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _vendor_of(request: Request[Any, Any, Any], error: Exception) -> VendorErrors | None:
    scope: Any = request.scope
    handler = scope.get("route_handler")
    if handler is None and isinstance(error, MethodNotAllowedException | NotFoundException):
        handler = _neighbour(request.app, scope["path"])
    vendor = handler.opt.get(VENDOR) if handler is not None else scope.get("state", {}).get(VENDOR)
    if not isinstance(vendor, VendorErrors):
        return None
    header, other = vendor.instead or (b"", None)
    return other if other and any(name == header for name, _ in scope["headers"]) else vendor


def _neighbour(app: Litestar, path: str) -> Any:
    """A handler of the same path, else of one that begins alike (`/v1/chat/...`), else one of the vendor who has such
    paths; None where there is none.
    """
    alike = [route for route in app.routes if route.path.split("/")[:3] == path.split("/")[:3]]
    alike.sort(key=lambda route: route.path != path)
    ours = next((each for route in alike for each in getattr(route, "route_handlers", ())), None)
    return ours or next((each for route in app.routes for each in _having(route, path)), None)


def _having(route: Any, path: str) -> list[Any]:
    _, version, first, *_ = (*path.split("/"), "", "")
    handlers = getattr(route, "route_handlers", ())
    return [each for each in handlers if version == "v1" and VENDOR in each.opt and first in each.opt[VENDOR].also]


def _from_domain(error: DomainError) -> Problem:
    status = status_of(type(error))
    return Problem(
        status=status,
        slug=error.type_slug(),
        title=error.title or _title(error.type_slug()),
        detail=error.detail,
        errors=tuple(FieldError(field=name, message=message) for name, message in error.fields.items()),
        headers=_headers(status, error.retry_after_s),
        error=error,
    )


def _headers(status: int, retry_after_s: float | None) -> dict[str, str]:
    if status == 401:
        return {"www-authenticate": 'Bearer realm="cognitionos"'}
    if retry_after_s is None and status == 503:
        retry_after_s = 1.0
    return {} if retry_after_s is None else {"retry-after": str(max(1, round(retry_after_s + 0.499)))}


def _from_http(error: HTTPException) -> Problem:
    status = error.status_code
    if status == 400:
        return _invalid_request(error)
    phrase = HTTPStatus(status).phrase
    detail = {
        404: "There is nothing at this path. GET /openapi.json lists every route.",
        405: "This path does not take that method; the Allow header lists those it takes.",
        413: "The body is larger than this route accepts.",
    }.get(status, phrase if status >= 500 else error.detail)
    slug = phrase.lower().replace(" ", "-") if status != 500 else "internal-error"
    return Problem(
        status=status, slug=slug, title=phrase, detail=detail, headers=dict(error.headers or {}), error=error
    )


def _invalid_request(error: HTTPException) -> Problem:
    messages = error.extra if isinstance(error.extra, list) else []
    errors = tuple(_field_error(message) for message in messages if isinstance(message, dict))
    if errors:
        detail = "; ".join(f"{each.field}: {each.message}" for each in errors)
    elif isinstance(error.__cause__, SerializationException):
        return _unreadable(str(error.__cause__.__cause__ or error.__cause__), error)
    else:
        errors = (FieldError(field="$", message=error.detail),)
        detail = error.detail
    return Problem(
        status=400, slug="invalid-request", title="Invalid request", detail=detail, errors=errors, error=error
    )


def _unreadable(why: str, error: Exception) -> Problem:
    return Problem(
        status=400,
        slug="invalid-request",
        title="Invalid request",
        detail=f"The body is not valid JSON: {why}",
        errors=(FieldError(field="$", message="the body is not valid JSON"),),
        error=error,
    )


def _is_of_the_body(error: Exception) -> bool:
    """Whether the framework's decoder met a body that it cannot read; it raises these as they are."""
    frame = error.__traceback__ if isinstance(error, RecursionError | UnicodeDecodeError) else None
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_code is decode_json.__code__


def _field_error(message: dict[str, Any]) -> FieldError:
    text = str(message.get("message", "is not valid"))
    where = str(message.get("key", "$"))
    if where in {"data", "$"} or where.startswith("data."):
        where = where.removeprefix("data").removeprefix(".")
    if message.get("source") == "query":
        where = where.removesuffix("_")  # `from_`: a name that Python keeps to itself
    named = _UNKNOWN_FIELD.search(text) or _MISSING_FIELD.search(text)
    path = ".".join(part for part in (where, named.group(1) if named else "") if part)
    path = _INDEX.sub(r".\1", path).lstrip(".")
    return FieldError(field=path or "$", message=_remedy(text))


def _remedy(text: str) -> str:
    if text == _NO_BODY:
        return "a JSON body is required"
    plain = text.replace("Object contains unknown field", "unknown field; remove")
    return plain.replace("Object missing required field", "is required; add").replace("`", "'")


def _problem(status: int, slug: str, detail: str) -> Problem:
    return Problem(status=status, slug=slug, title=_title(slug), detail=detail, headers=_headers(status, None))


def _title(slug: str) -> str:
    return slug.replace("-", " ").capitalize()
