"""Which deployments are left alone for a while, over HTTP: the circuits that are not simply closed."""

from datetime import UTC, datetime

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency

from cognitionos.kernel.principal import Permission
from cognitionos.llm_gateway.domain.circuit import CircuitRules, CircuitState
from cognitionos.llm_gateway.domain.route import OWN, own_home
from cognitionos.llm_gateway.infrastructure.circuit_store import RedisCircuitStore
from cognitionos.platform.http_api import Who, instance, requires


class CircuitView(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment's. `open`: it is not asked for `reopens_in_s` more; `half_open`: a few calls try it.

    `own` says that the provider is the tenant's.
    """

    model: str
    own: bool
    state: CircuitState
    failures: int
    changed_at: datetime
    reopens_in_s: float


class CircuitList(msgspec.Struct, frozen=True):
    """Those that have failed lately; a deployment that is not among them is asked as usual."""

    circuits: list[CircuitView]


@get("/v1/circuits", guards=[requires(Permission.USAGE_READ)], summary="List circuits", tags=["providers"])
async def list_circuits(
    circuits: NamedDependency[RedisCircuitStore], rules: NamedDependency[CircuitRules], who: Who
) -> CircuitList:
    """Of the installation's deployments and the tenant's own, as all processes know them."""
    now, own = circuits.now(), own_home(who.tenant_id, "")
    return CircuitList(
        [
            CircuitView(
                model=deployment.removeprefix(own),
                own=deployment.startswith(own),
                state=circuit.state,
                failures=circuit.failures,
                changed_at=datetime.fromtimestamp(circuit.changed_at, UTC),
                reopens_in_s=round(circuit.reopens_in_s(now, rules), 1),
            )
            for deployment, circuit in sorted(circuits.known.items())
            if deployment.startswith(own) or not deployment.startswith(OWN)
        ]
    )


def routes(circuits: RedisCircuitStore, rules: CircuitRules) -> Router:
    """The router."""
    dependencies = {"circuits": instance(circuits), "rules": instance(rules)}
    return Router("/", route_handlers=[list_circuits], dependencies=dependencies)
