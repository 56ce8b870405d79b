"""What every route is made of: its permission, its services, its documented errors, and the OpenAPI document."""

from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi import ResponseSpec

from cognitionos.kernel.errors import Forbidden, Unauthenticated
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.platform.http_problems import MEDIA_TYPE, ProblemDocument

PUBLIC = "public"
Who = NamedDependency[Principal]
"""The parameter `who` of a handler: whoever the credential says is asking."""
_MEANINGS = {
    400: "The request is malformed; `errors` names the fields",
    401: "No key, or one that is not valid (any more)",
    403: "The key lacks the permission",
    404: "Not there, or not yours",
    409: "The state does not allow it",
    413: "The body is too large",
    422: "The request is well-formed and cannot be done; `errors` names the fields",
    429: "A rate, quota or budget is used up",
    500: "Our fault; the log has it under the request id",
    503: "Something this needs does not answer; try again",
}


class MissingPermission(Forbidden):
    """The key is valid but was not given the permission that this route needs."""


class NoCredential(Unauthenticated):
    """The request carries no key."""


@dataclass(frozen=True, slots=True)
class Requires:
    """A guard. A test walks the routes and finds one of these, or `public()`, on each. None: any valid key will do."""

    permission: Permission | None

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        """Let a caller with the permission pass; raise `MissingPermission` for any other."""
        who = _principal(connection)
        if self.permission is not None and not who.may(self.permission):
            raise MissingPermission(f"This needs a key with the scope '{self.permission}'.")


def requires(permission: Permission) -> Requires:
    """The guard of a route: `@get(guards=[requires(Permission.GOALS_READ)])`."""
    return Requires(permission)


def requires_any_key() -> Requires:
    """The guard of a route that says nothing but who is asking."""
    return Requires(None)


def public() -> dict[str, Any]:
    """The `opt` of a route that needs no key: `@get(opt=public())`. Such a route shows nothing of any tenant."""
    return {PUBLIC: True}


def instance(service: object) -> Provide:
    """Inject one object that lives as long as the process."""

    async def provide() -> object:
        return service

    return Provide(provide)


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the errors that are particular to a route; those that any route may give are added by themselves."""
    return {
        status: ResponseSpec(
            ProblemDocument, generate_examples=False, description=_MEANINGS[status], media_type=MEDIA_TYPE
        )
        for status in statuses
    }


def meaning(status: int) -> str:
    """What an error status says on every route."""
    return _MEANINGS[status]


async def principal_of(request: Request[Any, Any, Any]) -> Principal:
    """The app-level dependency `who`: whoever the credential says is asking."""
    return _principal(request)


def _principal(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    who = connection.scope.get("user")
    if not isinstance(who, Principal):
        raise NoCredential("Send a key: 'Authorization: Bearer cog_...'. 'cognitionos keys create' makes one.")
    return who
