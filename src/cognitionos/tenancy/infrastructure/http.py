"""Keys, projects and 'who am I' over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.kernel.principal import Permission
from cognitionos.platform.http_api import Who, instance, problems, requires, requires_any_key
from cognitionos.platform.idempotency import shows_secret
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page
from cognitionos.tenancy.application.api_keys import ApiKeys, Issued
from cognitionos.tenancy.application.tenants import Tenants
from cognitionos.tenancy.domain.api_key import LONGEST_OVERLAP_S
from cognitionos.tenancy.domain.tenant import LONGEST_NAME
from cognitionos.tenancy.infrastructure.queries import After, ApiKeyView, Me, ProjectView, TenancyQueries

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
Overlap = Annotated[int, msgspec.Meta(ge=0, le=LONGEST_OVERLAP_S, description="seconds the old key goes on working")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class CreateApiKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A key for the caller's project (or for `project_id`) with some of the caller's own scopes."""

    name: Name
    scopes: Annotated[list[Permission], msgspec.Meta(min_length=1, max_length=len(Permission))]
    expires_at: Moment | None = None
    project_id: UUID | None = None


class RotateApiKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How long the old key and its successor both work."""

    overlap_s: Overlap = 3600


class CreateProject(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One more project."""

    name: Name


class IssuedApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key. `key` is its text: shown now, never again."""

    id: UUID
    key: str
    prefix: str
    name: str
    project_id: UUID
    scopes: list[Permission]
    created_at: datetime
    expires_at: datetime | None


class KeyRoutes(Controller):
    """The tenant's keys."""

    path = "/v1/api-keys"
    tags = ("keys",)

    @post(
        guards=[requires(Permission.KEYS_ADMIN)],
        opt=shows_secret(),
        summary="Make an API key",
        responses=problems(404),
    )
    async def create(
        self, data: JSONBody[CreateApiKey], api_keys: NamedDependency[ApiKeys], who: Who
    ) -> Response[IssuedApiKey]:
        """The key is shown in this answer only. It can only have scopes that the caller's key has."""
        scopes = frozenset(data.scopes)
        issued = await api_keys.create(
            who, data.name, scopes=scopes, expires_at=data.expires_at, project_id=data.project_id
        )
        return _shown_once(issued)

    @get(guards=[requires(Permission.KEYS_ADMIN)], summary="List API keys")
    async def list_keys(
        self,
        tenancy_queries: NamedDependency[TenancyQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ApiKeyView]:
        """Newest first, revoked and expired ones too."""
        rows = await tenancy_queries.keys(who.tenant_id, limit=limit, after=decode_cursor(cursor, After))
        return page(rows, limit, lambda row: (row.created_at, row.id))

    @delete(
        "/{key_id:uuid}",
        guards=[requires(Permission.KEYS_ADMIN)],
        summary="Revoke an API key",
        responses=problems(404),
    )
    async def revoke(self, key_id: FromPath[UUID], api_keys: NamedDependency[ApiKeys], who: Who) -> None:
        """The key stops working: at once in the process that answers, within 5 seconds in all others."""
        await api_keys.revoke(who, key_id)

    @post(
        "/{key_id:uuid}/rotate",
        guards=[requires(Permission.KEYS_ADMIN)],
        opt=shows_secret(),
        summary="Replace an API key",
        responses=problems(404),
    )
    async def rotate(
        self, key_id: FromPath[UUID], data: JSONBody[RotateApiKey], api_keys: NamedDependency[ApiKeys], who: Who
    ) -> Response[IssuedApiKey]:
        """A successor with the same scopes and end; the old key goes on working for `overlap_s` seconds.

        Both spend from the budgets of the old key.
        """
        return _shown_once(await api_keys.rotate(who, key_id, overlap_s=data.overlap_s))


@get("/v1/me", guards=[requires_any_key()], summary="Who am I", tags=["keys"])
async def me(tenancy_queries: NamedDependency[TenancyQueries], who: Who) -> Me:
    """The tenant, project and scopes that the key stands for."""
    return await tenancy_queries.me(who)


@post("/v1/projects", guards=[requires(Permission.TENANT_ADMIN)], summary="Create a project", tags=["projects"])
async def create_project(data: JSONBody[CreateProject], tenants: NamedDependency[Tenants], who: Who) -> ProjectView:
    """One more project of the tenant; make keys for it with `POST /v1/api-keys`."""
    project = await tenants.create_project(who, data.name)
    return ProjectView(id=project.id, name=project.name, created_at=project.created_at)


@get("/v1/projects", guards=[requires(Permission.TENANT_ADMIN)], summary="List projects", tags=["projects"])
async def list_projects(
    tenancy_queries: NamedDependency[TenancyQueries], who: Who, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Page[ProjectView]:
    """Newest first."""
    rows = await tenancy_queries.projects(who.tenant_id, limit=limit, after=decode_cursor(cursor, After))
    return page(rows, limit, lambda row: (row.created_at, row.id))


def routes(*, tenants: Tenants, api_keys: ApiKeys, queries: TenancyQueries) -> Router:
    """Everything of tenancy."""
    return Router(
        "/",
        route_handlers=[KeyRoutes, me, create_project, list_projects],
        dependencies={
            "tenants": instance(tenants),
            "api_keys": instance(api_keys),
            "tenancy_queries": instance(queries),
        },
    )


def _shown_once(issued: Issued) -> Response[IssuedApiKey]:
    key = issued.key
    body = IssuedApiKey(
        id=key.id,
        key=issued.text.whole,
        prefix=key.prefix,
        name=key.name,
        project_id=key.project_id,
        scopes=sorted(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
    )
    return Response(body, status_code=201, headers={"cache-control": "no-store"})
