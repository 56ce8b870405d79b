"""What each `type` of a problem document means: `/problems/<slug>`, from the docstrings of the errors themselves."""

import html
import inspect

from litestar import Response, get
from litestar.params import FromPath

from cognitionos.kernel.errors import DomainError, NotFound
from cognitionos.platform.http_api import public
from cognitionos.platform.http_problems import status_of

_FROM_THE_EDGE = {
    "invalid-request": (400, "The request is malformed; 'errors' names the fields by their path and says the remedy."),
    "not-found": (404, "There is nothing at this path, or not for your tenant."),
    "method-not-allowed": (405, "The path does not take this method; the Allow header lists those it takes."),
    "unsupported-media-type": (415, "The body has a Content-Encoding, such as gzip; send it without."),
    "request-entity-too-large": (413, "The body is larger than the route accepts."),
    "internal-error": (500, "Something went wrong on our side; the log has it under the request id."),
}


class NoSuchProblem(NotFound):
    """No error has that type."""


def catalogue() -> dict[str, tuple[int, str]]:
    """Every type of problem with its HTTP status and its meaning, by slug."""
    found = dict(_FROM_THE_EDGE)
    waiting = list(DomainError.__subclasses__())
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        found.setdefault(error.type_slug(), (status_of(error), inspect.getdoc(error) or ""))
    return dict(sorted(found.items()))


@get("/problems/{slug:str}", opt=public(), include_in_schema=False, media_type="text/html")
async def problem_page(slug: FromPath[str]) -> Response[str]:
    """What one type of problem means."""
    entry = catalogue().get(slug)
    if entry is None:
        raise NoSuchProblem(f"There is no problem of the type '{slug}'.")
    status, meaning = entry
    title = f"{html.escape(slug)} ({status})"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    return Response(f"{head}<h1>{title}</h1><p>{html.escape(meaning)}</p>", media_type="text/html")
