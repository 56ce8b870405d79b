"""Which model answers when nobody names one, over HTTP: what a client says before it starts."""

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency

from cognitionos.llm_gateway.facade import Gateway
from cognitionos.platform.http_api import instance, requires_any_key


class DefaultModelView(msgspec.Struct, frozen=True):
    """`model` is empty when there is none; `hint` says how to connect a real one, and is empty when one is."""

    model: str
    provider: str
    simulated: bool
    hint: str


@get("/v1/default-model", guards=[requires_any_key()], summary="Get the default model", tags=["models"])
async def default_model(gateway: NamedDependency[Gateway]) -> DefaultModelView:
    """The installation's model for calls and agents that name none, and whether its words mean anything."""
    found = gateway.describe_default()
    return DefaultModelView(model=found.model, provider=found.provider, simulated=found.simulated, hint=found.hint)


def routes(gateway: Gateway) -> Router:
    """The router."""
    return Router("/", route_handlers=[default_model], dependencies={"gateway": instance(gateway)})
