"""Prices and usage over HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from litestar import Controller, Router, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.llm_gateway.infrastructure.prices import PriceBook
from cognitionos.llm_gateway.infrastructure.queries import GroupBy, Usage, UsageQueries
from cognitionos.platform.http_api import instance, requires

DEAREST_USD = Decimal(10**9)
Usd = Annotated[
    Decimal,
    msgspec.Meta(
        description="exact decimal dollars, as a string or a number",
        examples=["0.15"],
    ),
]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=2**40)]


class SetPrice(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a model costs from now on; cached, written and reasoning tokens cost as plain ones unless said otherwise."""

    input_usd_per_million: Usd
    output_usd_per_million: Usd
    cached_input_usd_per_million: Usd | None = None
    cache_write_usd_per_million: Usd | None = None
    reasoning_usd_per_million: Usd | None = None
    max_input_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None


class PriceView(msgspec.Struct, frozen=True):
    """A price that was set: `version` counts up with each change; old versions stay."""

    model: str
    version: int


class MoneyRoutes(Controller):
    """What calls cost and did cost."""

    path = "/v1"
    tags = ("money",)

    @put("/prices/{model:path}", guards=[requires(Permission.MODELS_ADMIN)], summary="Set a model's price")
    async def set_price(
        self,
        model: FromPath[str],
        data: JSONBody[SetPrice],
        prices: NamedDependency[PriceBook],
        who: NamedDependency[Principal],
    ) -> PriceView:
        """`model` is `provider/model` or a bare name. Effective at once, in every process, for this tenant."""
        rates = {
            "input": data.input_usd_per_million,
            "output": data.output_usd_per_million,
            "cached": data.cached_input_usd_per_million,
            "written": data.cache_write_usd_per_million,
            "reasoning": data.reasoning_usd_per_million,
        }
        for name, rate in rates.items():
            _check_usd(rate, f"{name}_usd_per_million")
        limits = {"max_input": data.max_input_tokens, "max_output": data.max_output_tokens}
        name = model.lstrip("/")
        return PriceView(model=name, version=await prices.put(who.tenant_id, name, {**rates, **limits}))

    @get("/usage", guards=[requires(Permission.USAGE_READ)], summary="Sum up usage")
    async def usage(
        self,
        usage_queries: NamedDependency[UsageQueries],
        who: NamedDependency[Principal],
        group_by: FromQuery[GroupBy] = "model",
        since: FromQuery[datetime | None] = None,
        until: FromQuery[datetime | None] = None,
    ) -> Usage:
        """Calls, tokens and exact money of the ledger, grouped; of calls settled in [since, until)."""
        return await usage_queries.usage(who.tenant_id, group_by, since=since, until=until)


def routes(*, prices: PriceBook, usage: UsageQueries) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[MoneyRoutes],
        dependencies={
            "prices": instance(prices),
            "usage_queries": instance(usage),
        },
    )


def _check_usd(amount: Decimal | None, name: str) -> None:
    if amount is not None and not (amount.is_finite() and 0 <= amount <= DEAREST_USD):
        raise Invalid(f"'{name}' must be an amount of dollars of 0 or more.", fields={name: "0 or more"})
