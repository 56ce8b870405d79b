"""Prices, budgets and usage over HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from litestar import Controller, Router, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.money import nanousd
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.domain.budget import Period
from cognitionos.llm_gateway.infrastructure.prices import PriceBook
from cognitionos.llm_gateway.infrastructure.queries import BudgetView, GroupBy, Usage, UsageQueries
from cognitionos.platform.http_api import instance, requires

SUBJECTS = ("tenant", "project", "api_key", "user", "goal", "workflow", "run", "task", "agent_run")
DEAREST_USD = Decimal(10**9)
Usd = Annotated[
    Decimal,
    msgspec.Meta(
        description="exact decimal dollars, as a string or a number",
        examples=["0.15"],
    ),
]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=2**40)]
Subject = Annotated[str, msgspec.Meta(max_length=300, pattern=f"^({'|'.join(SUBJECTS)}):[^\\x00]+$")]


class SubjectRefused(Invalid):
    """A budget on something that is not the caller's."""


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


class OpenBudget(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A hard limit on what a subject (`api_key:ID`, `goal:ID`, `user:NAME`, ...) may spend in a period."""

    subject: Subject
    limit_usd: Usd
    period: Period = Period.TOTAL
    soft: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8


class BudgetList(msgspec.Struct, frozen=True):
    """The tenant's budgets."""

    budgets: list[BudgetView]


class MoneyRoutes(Controller):
    """What calls cost, what they may cost, what they did cost."""

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

    @post("/budgets", guards=[requires(Permission.BUDGETS_WRITE)], summary="Open or change a budget", status_code=201)
    async def open_budget(
        self,
        data: JSONBody[OpenBudget],
        budgets: NamedDependency[Budgets],
        usage_queries: NamedDependency[UsageQueries],
        who: NamedDependency[Principal],
    ) -> BudgetView:
        """A subject has one budget per period: posting again changes its limit and keeps what was spent."""
        _check_usd(data.limit_usd, "limit_usd")
        kind, _, identifier = data.subject.partition(":")
        if kind == "tenant" and identifier != str(who.tenant_id):
            raise SubjectRefused("This is not your tenant.", fields={"subject": f"tenant:{who.tenant_id} is yours"})
        budget_id = await budgets.open(
            who.tenant_id, data.subject, limit_nanousd=nanousd(data.limit_usd), period=data.period, soft=data.soft
        )
        found = await usage_queries.budgets(who.tenant_id, subject=data.subject)
        return next(each for each in found if each.id == budget_id)

    @get("/budgets", guards=[requires(Permission.USAGE_READ)], summary="List budgets")
    async def list_budgets(
        self,
        usage_queries: NamedDependency[UsageQueries],
        who: NamedDependency[Principal],
        subject: FromQuery[str | None] = None,
    ) -> BudgetList:
        """With what is spent, held and left of each."""
        return BudgetList(budgets=await usage_queries.budgets(who.tenant_id, subject=subject))

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


def routes(*, budgets: Budgets, prices: PriceBook, usage: UsageQueries) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[MoneyRoutes],
        dependencies={
            "budgets": instance(budgets),
            "prices": instance(prices),
            "usage_queries": instance(usage),
        },
    )


def _check_usd(amount: Decimal | None, name: str) -> None:
    if amount is not None and not (amount.is_finite() and 0 <= amount <= DEAREST_USD):
        raise Invalid(f"'{name}' must be an amount of dollars of 0 or more.", fields={name: "0 or more"})
