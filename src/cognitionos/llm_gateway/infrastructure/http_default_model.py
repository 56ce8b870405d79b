"""Which model answers when nobody names one, over HTTP: what a client says before it starts."""

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency

from cognitionos.llm_gateway.facade import Gateway
from cognitionos.llm_gateway.infrastructure.catalogue import Catalogue
from cognitionos.llm_gateway.infrastructure.prices import PriceBook, Source
from cognitionos.llm_gateway.infrastructure.simulated_provider import NAME as SIMULATED
from cognitionos.platform.http_api import Who, instance, requires_any_key


class DefaultModelView(msgspec.Struct, frozen=True):
    """`model` is empty when there is none; `hint` says how to connect a real one, and is empty when one is.

    `price`: who says what it costs, as `source` of `GET /v1/prices/{model}`.
    """

    model: str
    provider: str
    simulated: bool
    hint: str
    price: Source


@get("/v1/default-model", guards=[requires_any_key()], summary="Get the default model", tags=["models"])
async def default_model(
    gateway: NamedDependency[Gateway],
    catalogue: NamedDependency[Catalogue],
    prices: NamedDependency[PriceBook],
    who: Who,
) -> DefaultModelView:
    """The model for calls and agents that name none, and whether its words mean anything.

    It is the first candidate of the tenant's own route `default` where there is one, else the installation's.
    """
    own = await catalogue.own_default(who.tenant_id)
    found = gateway.describe_default()
    if own is None and not found.model:
        return DefaultModelView(model="", provider="", simulated=False, hint=found.hint, price="unknown")
    asked = own or (await catalogue.resolve(who.tenant_id, None)).candidates[0]
    source, _ = await prices.told(who.tenant_id, asked)
    simulated = asked.provider == SIMULATED
    hint = found.hint if own is None else ""
    return DefaultModelView(model=asked.name, provider=asked.provider, simulated=simulated, hint=hint, price=source)


def routes(gateway: Gateway, catalogue: Catalogue, prices: PriceBook) -> Router:
    """The router."""
    dependencies = {"gateway": instance(gateway), "catalogue": instance(catalogue), "prices": instance(prices)}
    return Router("/", route_handlers=[default_model], dependencies=dependencies)
