"""A tenant's own providers, routes and role defaults over HTTP. Keys go in and never come out."""

from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from litestar import Controller, Router, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.kernel.errors import Invalid, NotFound
from cognitionos.kernel.principal import Permission
from cognitionos.llm_gateway.domain.route import Choice, own_home
from cognitionos.llm_gateway.infrastructure.anthropic_provider import ANTHROPIC_URL
from cognitionos.llm_gateway.infrastructure.catalogue import Catalogue
from cognitionos.llm_gateway.infrastructure.openai_provider import OPENAI_URL, LimitField, usual_limit_field
from cognitionos.llm_gateway.infrastructure.own_models import DefaultsRow, Kind, OwnModelsStore, ProviderRow, RouteRow
from cognitionos.llm_gateway.infrastructure.provider_keys import KEEP, ProviderKeys
from cognitionos.platform.http_api import Who, instance, problems, requires

RESERVED = frozenset({"simulated", "local"})
USUAL_URL = {"openai": OPENAI_URL, "anthropic": ANTHROPIC_URL}
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Own = NamedDependency[OwnModelsStore]
Keys = NamedDependency[ProviderKeys]
Row = TypeVar("Row")
_NAMED: msgspec.json.Decoder[str] = msgspec.json.Decoder(
    Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")]
)


class OwnModelNotFound(NotFound):
    """This tenant has no such provider, route or role defaults."""


class NameRefused(Invalid):
    """A provider, route or role is named by up to 63 letters, digits, '.', '_' and '-'; two names are ours."""


class NothingSaid(Invalid):
    """A provider without address and key, or defaults without any."""


class NotOfThisFormat(Invalid):
    """A setting of a provider that its format has no place for."""


class SetProvider(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A server that speaks OpenAI's or Anthropic's wire format. Without `api_key` the key stays; null takes it away.

    `limit_field` is the name under which one of OpenAI's format takes the completion limit; null: its host tells.
    """

    kind: Kind = "openai"
    base_url: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    api_key: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=4000, pattern=r"^[!-~]+\Z")] | msgspec.UnsetType | None
    ) = msgspec.UNSET
    models: Annotated[list[Name], msgspec.Meta(max_length=500)] = []
    free: bool = False
    recover_tool_calls: bool = False
    limit_field: LimitField | None = None


class ProviderView(msgspec.Struct, frozen=True, kw_only=True):
    """A provider; of its key only that there is one, and whether it can be read: if not, its calls are a 503."""

    name: str
    kind: str
    base_url: str
    has_key: bool
    key_readable: bool
    models: list[str]
    free: bool
    recover_tool_calls: bool
    limit_field: LimitField
    changed_at: datetime


class ProviderList(msgspec.Struct, frozen=True):
    """The tenant's own providers."""

    providers: list[ProviderView]


class RouteCandidate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`provider/model`. Where candidates have weights the first is drawn by them; weight 0 is fallback only."""

    model: Name
    weight: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None


class SetRoute(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Candidates in the order in which they are tried."""

    candidates: Annotated[list[RouteCandidate], msgspec.Meta(min_length=1, max_length=50)]


class RouteView(msgspec.Struct, frozen=True, kw_only=True):
    """A route: its name is a model's name for whoever calls. `default` answers those who name none."""

    name: str
    candidates: list[RouteCandidate]
    changed_at: datetime


class RouteList(msgspec.Struct, frozen=True):
    """The tenant's routes."""

    routes: list[RouteView]


class SetRoleDefaults(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What goes for an agent's role; of the role `default`: for calls that leave it open."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None


class RoleDefaultsView(msgspec.Struct, frozen=True, kw_only=True):
    """A role's defaults."""

    role: str
    temperature: float | None
    max_tokens: int | None
    changed_at: datetime


class RoleDefaultsList(msgspec.Struct, frozen=True):
    """The tenant's role defaults."""

    role_defaults: list[RoleDefaultsView]


class ProviderRoutes(Controller):
    """The tenant's own providers: they go before the installation's of the same name."""

    path = "/v1/providers"
    tags = ("providers",)
    guards = (requires(Permission.MODELS_ADMIN),)

    @get("", summary="List own providers")
    async def list_providers(self, own_models: Own, provider_keys: Keys, who: Who) -> ProviderList:
        """Without their keys."""
        return ProviderList([_provider(each, provider_keys) for each in await own_models.providers(who.tenant_id)])

    @get("/{name:str}", summary="Read a provider", responses=problems(404))
    async def read_provider(self, name: FromPath[str], own_models: Own, provider_keys: Keys, who: Who) -> ProviderView:
        """Without its key."""
        return _provider(_found(await own_models.providers(who.tenant_id, _possible(name)), name), provider_keys)

    @put("/{name:str}", summary="Set a provider", responses=problems(422))
    async def set_provider(
        self,
        name: FromPath[str],
        data: JSONBody[SetProvider],
        own_models: Own,
        provider_keys: Keys,
        who: Who,
    ) -> ProviderView:
        """Make or replace it; effective at once, in every process. Its address must be public, or allowed by the
        operator (`COGNITIONOS_PROVIDER_ALLOW`)."""
        if _checked(name) in RESERVED:
            raise NameRefused(f"'{name}' is ours; choose another name.", fields={"name": "reserved"})
        if data.base_url is None and not data.api_key:
            raise NothingSaid("Say 'base_url', 'api_key' or both.", fields={"base_url": "required without 'api_key'"})
        if data.kind == "anthropic" and data.limit_field == "max_completion_tokens":
            raise NotOfThisFormat("Anthropic's format has no such field.", fields={"limit_field": "max_tokens"})
        before = next(iter(await own_models.providers(who.tenant_id, name)), None)
        given = KEEP if data.api_key is msgspec.UNSET else data.api_key
        values = msgspec.structs.asdict(data) | {
            "name": name,
            "base_url": _base_url(data),
            "sealed_key": await provider_keys.sealed(
                own_home(who.tenant_id, name), given=given, base_url=_base_url(data), before=before
            ),
        }
        return _provider(await own_models.put_provider(who.tenant_id, values), provider_keys)

    @delete("/{name:str}", summary="Delete a provider", responses=problems(404))
    async def delete_provider(self, name: FromPath[str], own_models: Own, who: Who) -> None:
        """Routes go on with their other candidates."""
        _require(await own_models.delete(who.tenant_id, "provider", _possible(name)), name)


class RouteRoutes(Controller):
    """Names of the tenant's own for ordered candidates."""

    path = "/v1/routes"
    tags = ("providers",)
    guards = (requires(Permission.MODELS_ADMIN),)

    @get("", summary="List routes")
    async def list_routes(self, own_models: Own, who: Who) -> RouteList:
        """By name."""
        return RouteList([_route(each) for each in await own_models.routes(who.tenant_id)])

    @get("/{name:str}", summary="Read a route", responses=problems(404))
    async def read_route(self, name: FromPath[str], own_models: Own, who: Who) -> RouteView:
        """With its candidates in order."""
        return _route(_found(await own_models.routes(who.tenant_id, _possible(name)), name))

    @put("/{name:str}", summary="Set a route", responses=problems(422))
    async def set_route(
        self,
        name: FromPath[str],
        data: JSONBody[SetRoute],
        own_models: Own,
        catalogue: NamedDependency[Catalogue],
        who: Who,
    ) -> RouteView:
        """Make or replace it; effective at once, in every process."""
        choices = tuple(Choice(model=each.model, weight=each.weight) for each in data.candidates)
        await catalogue.check(who.tenant_id, choices)
        candidates = [msgspec.structs.asdict(each) for each in data.candidates]
        return _route(await own_models.put_route(who.tenant_id, _checked(name), candidates))

    @delete("/{name:str}", summary="Delete a route", responses=problems(404))
    async def delete_route(self, name: FromPath[str], own_models: Own, who: Who) -> None:
        """Its name means what it meant before."""
        _require(await own_models.delete(who.tenant_id, "route", _possible(name)), name)


class RoleDefaultsRoutes(Controller):
    """Temperature and token limit by role."""

    path = "/v1/role-defaults"
    tags = ("providers",)
    guards = (requires(Permission.MODELS_ADMIN),)

    @get("", summary="List role defaults")
    async def list_role_defaults(self, own_models: Own, who: Who) -> RoleDefaultsList:
        """By role."""
        return RoleDefaultsList([_defaults(each) for each in await own_models.defaults(who.tenant_id)])

    @get("/{role:str}", summary="Read a role's defaults", responses=problems(404))
    async def read_role_defaults(self, role: FromPath[str], own_models: Own, who: Who) -> RoleDefaultsView:
        """Null: as the call or the model says."""
        return _defaults(_found(await own_models.defaults(who.tenant_id, _possible(role)), role))

    @put("/{role:str}", summary="Set a role's defaults", responses=problems(422))
    async def set_role_defaults(
        self,
        role: FromPath[str],
        data: JSONBody[SetRoleDefaults],
        own_models: Own,
        who: Who,
    ) -> RoleDefaultsView:
        """Make or replace them; effective at once, in every process."""
        if data.temperature is None and data.max_tokens is None:
            raise NothingSaid("Say 'temperature', 'max_tokens' or both.", fields={"temperature": "or 'max_tokens'"})
        row = await own_models.put_defaults(
            who.tenant_id, _checked(role), temperature=data.temperature, max_tokens=data.max_tokens
        )
        return _defaults(row)

    @delete("/{role:str}", summary="Delete a role's defaults", responses=problems(404))
    async def delete_role_defaults(self, role: FromPath[str], own_models: Own, who: Who) -> None:
        """Calls of the role are as they were."""
        _require(await own_models.delete(who.tenant_id, "defaults", _possible(role)), role)


def routes(*, own_models: OwnModelsStore, catalogue: Catalogue, keys: ProviderKeys) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[ProviderRoutes, RouteRoutes, RoleDefaultsRoutes],
        dependencies={
            "own_models": instance(own_models),
            "catalogue": instance(catalogue),
            "provider_keys": instance(keys),
        },
    )


def _base_url(data: SetProvider) -> str:
    return (data.base_url or USUAL_URL[data.kind]).rstrip("/")


def _checked(name: str) -> str:
    try:
        return _NAMED.decode(msgspec.json.encode(name))
    except msgspec.ValidationError:
        raise NameRefused(
            "A name has up to 63 letters, digits, '.', '_' and '-'.", fields={"name": "letters, digits, '.', '_', '-'"}
        ) from None


def _possible(name: str) -> str:
    """`name`, where something may have it; what nothing can be called is not there."""
    try:
        return _checked(name)
    except NameRefused:
        raise OwnModelNotFound("There is nothing of yours by this name.") from None


def _found(rows: list[Row], name: str) -> Row:
    _require(bool(rows), name)
    return rows[0]


def _require(there: object, name: str) -> None:
    if not there:
        raise OwnModelNotFound(f"There is no '{name}' of yours.")


def _provider(row: ProviderRow, keys: ProviderKeys) -> ProviderView:
    return ProviderView(
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        has_key=row.sealed_key is not None,
        key_readable=keys.can_read(row),
        models=row.models,
        free=row.free,
        recover_tool_calls=row.recover_tool_calls,
        limit_field=_limit_field(row),
        changed_at=row.changed_at,
    )


def _limit_field(row: ProviderRow) -> LimitField:
    """What is sent: Anthropic's format has one name for it."""
    return "max_tokens" if row.kind == "anthropic" else row.limit_field or usual_limit_field(row.base_url)


def _route(row: RouteRow) -> RouteView:
    candidates = [RouteCandidate(model=each["model"], weight=each.get("weight")) for each in row.candidates]
    return RouteView(name=row.name, candidates=candidates, changed_at=row.changed_at)


def _defaults(row: DefaultsRow) -> RoleDefaultsView:
    return RoleDefaultsView(
        role=row.role, temperature=row.temperature, max_tokens=row.max_tokens, changed_at=row.changed_at
    )
