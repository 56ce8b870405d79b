"""Which model answers when nobody names one, over HTTP: what a client says before it starts."""

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency

from cognitionos.llm_gateway.facade import Gateway
from cognitionos.llm_gateway.infrastructure.catalogue import Catalogue
from cognitionos.llm_gateway.infrastructure.simulated_provider import NAME as SIMULATED
from cognitionos.platform.http_api import Who, instance, requires_any_key


class DefaultModelView(msgspec.Struct, frozen=True):
    """`model` is empty when there is none; `hint` says how to connect a real one, and is empty when one is."""

    model: str
    provider: str
    simulated: bool
    hint: str


@get("/v1/default-model", guards=[requires_any_key()], summary="Get the default model", tags=["models"])
async def default_model(
    gateway: NamedDependency[Gateway], catalogue: NamedDependency[Catalogue], who: Who
) -> DefaultModelView:
    """The model for calls and agents that name none, and whether its words mean anything.

    It is the first candidate of the tenant's own route `default` where there is one, else the installation's.
    """
    own = await catalogue.own_default(who.tenant_id)
    if own is not None:
        return DefaultModelView(model=own.name, provider=own.provider, simulated=own.provider == SIMULATED, hint="")
    found = gateway.describe_default()
    return DefaultModelView(model=found.model, provider=found.provider, simulated=found.simulated, hint=found.hint)


def routes(gateway: Gateway, catalogue: Catalogue) -> Router:
    """The router."""
    dependencies = {"gateway": instance(gateway), "catalogue": instance(catalogue)}
    return Router("/", route_handlers=[default_model], dependencies=dependencies)
