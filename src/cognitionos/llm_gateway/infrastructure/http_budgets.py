"""Budgets and their alerts over HTTP."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Router, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.money import nanousd, usd_text
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.domain.budget import BudgetSettings, Period, Terms, Threshold
from cognitionos.llm_gateway.infrastructure.alerts import BudgetAlerts
from cognitionos.llm_gateway.infrastructure.budget_book import BudgetBook
from cognitionos.llm_gateway.infrastructure.budget_queries import AlertView, BudgetQueries, BudgetView
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, MOST, Cursor, Limit, Page

SUBJECTS = ("tenant", "project", "api_key", "user", "goal", "workflow", "run", "task", "agent_run")
NAMED = ("user", "workflow")
"""The kinds whose subjects have names; all others have ids."""
DEAREST_USD = Decimal(10**9)
Usd = Annotated[Decimal, msgspec.Meta(description="exact decimal dollars, as a string or a number", examples=["0.15"])]
Subject = Annotated[str, msgspec.Meta(max_length=300, pattern=f"^({'|'.join(SUBJECTS)}):[^\\x00]+$")]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Zone = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$", examples=["Europe/Berlin"])
]
Note = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")]


class SubjectRefused(Invalid):
    """A budget on something that is not the caller's."""


class _Terms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    soft: Share | msgspec.UnsetType | None = msgspec.UNSET
    halt: Share | msgspec.UnsetType | None = msgspec.UNSET
    downgrade_to: Model | msgspec.UnsetType | None = msgspec.UNSET
    time_zone: Zone | msgspec.UnsetType | None = msgspec.UNSET

    def given(self) -> dict[str, object]:
        """What the caller said, null among it."""
        named = {name: getattr(self, name) for name in ("soft", "halt", "downgrade_to", "time_zone")}
        return {name: value for name, value in named.items() if value is not msgspec.UNSET}


class OpenBudget(_Terms, kw_only=True):
    """A hard limit on what a subject (`api_key:ID`, `user:NAME`, ...) may spend in a period.

    From the share `soft` of it on (0.8; null: never) the model `downgrade_to` answers where it is cheaper; from
    `halt` on (0.95; null: never) runs that are not critical halt. `/v1/budgets/settings` has the usual `time_zone` and
    `downgrade_to`.
    """

    subject: Subject
    limit_usd: Usd
    period: Period = Period.TOTAL


class ChangeBudget(_Terms, kw_only=True):
    """What is left out stays; null takes a share, a model or a time zone away."""

    limit_usd: Usd | None = None


class BudgetList(msgspec.Struct, frozen=True):
    """The tenant's budgets; `next_cursor` is null on the last page."""

    budgets: list[BudgetView]
    next_cursor: str | None = None


class SettingsBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Of every budget that says nothing else. `downgrade_to` null: no cheaper model."""

    time_zone: Zone = "UTC"
    downgrade_to: Model | None = None


class Acknowledge(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who has seen an alert is taken from the key; `note` says what was done."""

    note: Note | None = None


class Recount(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Compare the counters with the ledger; `correct` also sets them to its sums."""

    correct: bool = False


class MiscountView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget whose counters differ from the sums of the ledger and the holds."""

    budget_id: UUID
    subject: str
    period: str
    spent_usd: str
    ledger_spent_usd: str
    held_usd: str
    holds_usd: str
    calls: int
    ledger_calls: int


class RecountView(msgspec.Struct, frozen=True, kw_only=True):
    """`miscounts` is empty where every counter is right to the nano-dollar."""

    miscounts: list[MiscountView]
    corrected: bool


class BudgetRoutes(Controller):
    """What calls may cost."""

    path = "/v1/budgets"
    tags = ("budgets",)

    @post(guards=[requires(Permission.BUDGETS_WRITE)], summary="Open or change a budget", responses=problems(422))
    async def open_budget(
        self,
        data: JSONBody[OpenBudget],
        budgets: NamedDependency[Budgets],
        budget_book: NamedDependency[BudgetBook],
        budget_queries: NamedDependency[BudgetQueries],
        who: Who,
    ) -> BudgetView:
        """A subject has one budget per period: posting again changes what it names and keeps what was spent."""
        await _check_subject(data.subject, budget_book, who)
        given = data.given()
        limit = _limit(data.limit_usd)
        await _check(given, budgets, budget_book, who)
        budget_id = await budgets.open(
            who.tenant_id,
            data.subject,
            limit_nanousd=limit,
            period=data.period,
            terms=Terms(**given),  # type: ignore[arg-type]
            given=given,
        )
        return await budget_queries.budget(who.tenant_id, budget_id)

    @get(guards=[requires(Permission.USAGE_READ)], summary="List budgets")
    async def list_budgets(
        self,
        budget_queries: NamedDependency[BudgetQueries],
        who: Who,
        subject: FromQuery[str | None] = None,
        limit: Limit = MOST,
        cursor: Cursor = None,
    ) -> BudgetList:
        """With what is spent, held and left of each in its current period."""
        found = await budget_queries.budgets(who.tenant_id, subject=subject, limit=limit, cursor=cursor)
        return BudgetList(budgets=found.items, next_cursor=found.next_cursor)

    @get("/{budget_id:uuid}", guards=[requires(Permission.USAGE_READ)], summary="Get a budget", responses=problems(404))
    async def budget(
        self, budget_id: FromPath[UUID], budget_queries: NamedDependency[BudgetQueries], who: Who
    ) -> BudgetView:
        """One budget in its current period."""
        return await budget_queries.budget(who.tenant_id, budget_id)

    @patch(
        "/{budget_id:uuid}",
        guards=[requires(Permission.BUDGETS_WRITE)],
        summary="Change a budget",
        responses=problems(404, 422),
    )
    async def change_budget(
        self,
        budget_id: FromPath[UUID],
        data: JSONBody[ChangeBudget],
        budgets: NamedDependency[Budgets],
        budget_book: NamedDependency[BudgetBook],
        budget_queries: NamedDependency[BudgetQueries],
        who: Who,
    ) -> BudgetView:
        """At once, for every process. What was spent stays."""
        given = data.given()
        if data.limit_usd is not None:
            given["limit"] = _limit(data.limit_usd)
        await _check(given, budgets, budget_book, who)
        await budget_book.change(who.tenant_id, budget_id, given)
        return await budget_queries.budget(who.tenant_id, budget_id)

    @delete(
        "/{budget_id:uuid}",
        guards=[requires(Permission.BUDGETS_WRITE)],
        summary="Remove a budget",
        responses=problems(404),
    )
    async def remove_budget(
        self, budget_id: FromPath[UUID], budget_book: NamedDependency[BudgetBook], who: Who
    ) -> None:
        """The subject is without this limit; the ledger and the alerts stay."""
        await budget_book.remove(who.tenant_id, budget_id)

    @get("/settings", guards=[requires(Permission.USAGE_READ)], summary="Get the budgets' settings")
    async def settings(self, budget_book: NamedDependency[BudgetBook], who: Who) -> SettingsBody:
        """Time zone and cheaper model of every budget that names none."""
        settings = await budget_book.settings(who.tenant_id)
        return SettingsBody(time_zone=settings.time_zone, downgrade_to=settings.downgrade_to)

    @put(
        "/settings",
        guards=[requires(Permission.BUDGETS_WRITE)],
        summary="Set the budgets' settings",
        responses=problems(422),
    )
    async def put_settings(
        self,
        data: JSONBody[SettingsBody],
        budgets: NamedDependency[Budgets],
        budget_book: NamedDependency[BudgetBook],
        who: Who,
    ) -> SettingsBody:
        """A new time zone moves the end of the periods that are under way."""
        await _check({"downgrade_to": data.downgrade_to}, budgets, budget_book, who)
        settings = BudgetSettings(time_zone=data.time_zone, downgrade_to=data.downgrade_to)
        await budget_book.put_settings(who.tenant_id, settings)
        return data

    @get("/alerts", guards=[requires(Permission.USAGE_READ)], summary="List budget alerts")
    async def alerts(
        self,
        budget_queries: NamedDependency[BudgetQueries],
        who: Who,
        subject: FromQuery[str | None] = None,
        threshold: FromQuery[Threshold | None] = None,
        acknowledged: FromQuery[bool | None] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Page[AlertView]:
        """Shares of limits that were reached, latest first, each once in a period."""
        return await budget_queries.alerts(
            who.tenant_id,
            subject=subject,
            threshold=threshold,
            acknowledged=acknowledged,
            limit=limit,
            cursor=cursor,
        )

    @post(
        "/alerts/{alert_id:uuid}/ack",
        status_code=200,
        guards=[requires(Permission.BUDGETS_WRITE)],
        summary="Acknowledge a budget alert",
        responses=problems(404),
    )
    async def acknowledge(
        self,
        alert_id: FromPath[UUID],
        alerts: NamedDependency[BudgetAlerts],
        budget_queries: NamedDependency[BudgetQueries],
        who: Who,
        data: JSONBody[Acknowledge | None] = None,
    ) -> AlertView:
        """Stored with who and when; the first acknowledgement stands. The body may be left out."""
        note = None if data is None else data.note
        await alerts.acknowledge(who.tenant_id, alert_id, who=_name_of(who), note=note)
        return await budget_queries.alert(who.tenant_id, alert_id)

    @post(
        "/recount",
        status_code=200,
        guards=[requires(Permission.BUDGETS_WRITE)],
        summary="Compare budgets with the ledger",
    )
    async def recount(self, data: JSONBody[Recount], budget_book: NamedDependency[BudgetBook], who: Who) -> RecountView:
        """Counters against the sums of ledger and holds, all in one step; calls under these budgets wait meanwhile."""
        found = await budget_book.recount(who.tenant_id, correct=data.correct)
        views = [
            MiscountView(
                budget_id=each.budget_id,
                subject=each.subject,
                period=each.period,
                spent_usd=usd_text(each.spent_nanousd[0]),
                ledger_spent_usd=usd_text(each.spent_nanousd[1]),
                held_usd=usd_text(each.held_nanousd[0]),
                holds_usd=usd_text(each.held_nanousd[1]),
                calls=each.calls[0],
                ledger_calls=each.calls[1],
            )
            for each in found
        ]
        return RecountView(miscounts=views, corrected=data.correct and bool(views))


def routes(*, budgets: Budgets, book: BudgetBook, queries: BudgetQueries, alerts: BudgetAlerts) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[BudgetRoutes],
        dependencies={
            "budgets": instance(budgets),
            "budget_book": instance(book),
            "budget_queries": instance(queries),
            "alerts": instance(alerts),
        },
    )


async def _check(given: dict[str, object], budgets: Budgets, book: BudgetBook, who: Principal) -> None:
    """Raise for a time zone that nobody knows, and for a cheaper model that cannot be priced."""
    if isinstance(zone := given.get("time_zone"), str):
        await book.check_zone(zone)
    if isinstance(model := given.get("downgrade_to"), str):
        await budgets.check_cheaper(who.tenant_id, model)


async def _check_subject(subject: str, book: BudgetBook, who: Principal) -> None:
    """Refuse what no call could ever count against."""
    kind, _, identifier = subject.partition(":")
    if kind == "tenant" and identifier != str(who.tenant_id):
        raise SubjectRefused("This is not your tenant.", fields={"subject": f"tenant:{who.tenant_id} is yours"})
    if kind not in NAMED and not _is_id(identifier):
        remedy = f"must be {kind}:ID with an id as the API shows it; only {' and '.join(NAMED)} have names here"
        raise SubjectRefused(f"No {kind} has the id '{identifier[:100]}'.", fields={"subject": remedy})
    if kind not in NAMED and not await book.owns(who.tenant_id, kind, UUID(identifier)):
        raise SubjectRefused(f"This is not your {kind}.", fields={"subject": f"a {kind} of your tenant"})


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _limit(amount: Decimal) -> int:
    if not (amount.is_finite() and 0 <= amount <= DEAREST_USD):
        raise Invalid("'limit_usd' must be an amount of dollars of 0 or more.", fields={"limit_usd": "0 or more"})
    return nanousd(amount)


def _name_of(who: Principal) -> str:
    return f"user:{who.user}" if who.user else f"api_key:{who.api_key_id}" if who.api_key_id else "operator"
