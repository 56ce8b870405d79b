"""Which deployments are left alone for a while, over HTTP: the circuits that are not simply closed, and what was."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from cognitionos.kernel.principal import Permission
from cognitionos.llm_gateway.domain.circuit import CircuitRules, CircuitState
from cognitionos.llm_gateway.domain.route import OWN, own_home
from cognitionos.llm_gateway.infrastructure.circuit_history import CircuitHistory
from cognitionos.llm_gateway.infrastructure.circuit_store import RedisCircuitStore
from cognitionos.platform.http_api import Who, instance, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page


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


class CircuitChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """A circuit opened, let a few calls try (`half_open`) or closed, after so many failures in a row.

    `own` says that the provider is the tenant's.
    """

    id: int
    at: datetime
    deployment: str
    own: bool
    state_before: CircuitState
    state_after: CircuitState
    failures: int


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


@get(
    "/v1/circuits/history",
    guards=[requires(Permission.USAGE_READ)],
    summary="List circuits' changes",
    tags=["providers"],
)
async def list_circuit_changes(
    history: NamedDependency[CircuitHistory],
    who: Who,
    deployment: Annotated[
        str | None,
        QueryParameter(pattern="^[^\\x00]{1,300}$", description="only this one's, as `provider/model`"),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[CircuitChangeView]:
    """Latest first, of the installation's deployments and the tenant's own; whichever process saw it."""
    before, own = decode_cursor(cursor, tuple[int]), own_home(who.tenant_id, "")
    rows = await history.latest(
        who.tenant_id, deployment=deployment, before=before[0] if before else None, limit=limit + 1
    )
    shown = [
        CircuitChangeView(
            id=row.id,
            at=row.at,
            deployment=row.deployment.removeprefix(own),
            own=row.deployment.startswith(own),
            state_before=CircuitState(row.state_before),
            state_after=CircuitState(row.state_after),
            failures=row.failures,
        )
        for row in rows
    ]
    return page(shown, limit, lambda change: (change.id,))


def routes(circuits: RedisCircuitStore, rules: CircuitRules, history: CircuitHistory) -> Router:
    """The router."""
    dependencies = {"circuits": instance(circuits), "rules": instance(rules), "history": instance(history)}
    return Router("/", route_handlers=[list_circuits, list_circuit_changes], dependencies=dependencies)
