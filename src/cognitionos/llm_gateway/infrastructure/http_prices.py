"""What models cost, over HTTP: a tenant's own prices, and the price that a call is billed at."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Router, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Permission
from cognitionos.llm_gateway.domain.price_sheet import CALL_FEE, FIELDS, SEARCH_FEES, sheet_of
from cognitionos.llm_gateway.infrastructure.catalogue import Catalogue
from cognitionos.llm_gateway.infrastructure.prices import PriceBook, PriceRow, Source
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

DEAREST_USD = Decimal(10**9)
Usd = Annotated[Decimal, msgspec.Meta(description="exact decimal dollars, as a string or a number", examples=["0.15"])]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=2**40)]
Tier = Annotated[str, msgspec.Meta(pattern="^[a-z0-9_+-]{1,40}$")]


class RatesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Dollars per million tokens. Left out: a part of the prompt costs as plain input, of the answer as plain output.

    `cache_write` is kept for five minutes, `cache_write_1h` for an hour (left out: as much).
    """

    input_usd_per_million: Usd | None = None
    output_usd_per_million: Usd | None = None
    cached_input_usd_per_million: Usd | None = None
    cached_audio_usd_per_million: Usd | None = None
    cache_write_usd_per_million: Usd | None = None
    cache_write_1h_usd_per_million: Usd | None = None
    reasoning_usd_per_million: Usd | None = None
    audio_input_usd_per_million: Usd | None = None
    audio_output_usd_per_million: Usd | None = None
    image_input_usd_per_million: Usd | None = None
    image_output_usd_per_million: Usd | None = None


class LongPrompt(RatesBody, kw_only=True):
    """What a call costs whose prompt has more than `prompt_tokens` tokens, all of it; rates left out stay."""

    prompt_tokens: Tokens


LongPrompts = Annotated[list[LongPrompt], msgspec.Meta(max_length=16)]


class TierPrice(RatesBody, kw_only=True):
    """What a service tier (`flex`, `priority`, `batch`, ...) costs; what is left out costs as usual."""

    above: LongPrompts = []


class PriceSheet(RatesBody, kw_only=True):
    """What a model costs, for long prompts and service tiers too, and what comes beside the tokens: for each call, and
    for each web search that the provider makes (`low` and `high` where they cost another amount).

    `searches_unasked`: the model searches though nobody asks, `once` a call or `freely`.
    """

    call_usd_per_thousand: Usd | None = None
    search_usd_per_thousand: Usd | None = None
    search_low_usd_per_thousand: Usd | None = None
    search_high_usd_per_thousand: Usd | None = None
    searches_unasked: Literal["once", "freely"] | None = None
    max_input_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    above: LongPrompts = []
    tiers: Annotated[dict[Tier, TierPrice], msgspec.Meta(max_length=32)] = {}


class SetPrice(PriceSheet, kw_only=True):
    """A price from now on."""

    input_usd_per_million: Usd
    output_usd_per_million: Usd


class PriceView(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a tenant's own price: `version` counts up with each change, old ones stay."""

    model: str
    version: int
    set_at: datetime
    price: PriceSheet


class PriceTold(msgspec.Struct, frozen=True, kw_only=True):
    """What a call to a model is billed at, and who says so: `own`, `provider` (the file of providers), `public`
    (litellm's table), `free` (a server without a key), `unknown`. `price` null: nobody knows.
    """

    model: str
    source: Source
    price: PriceSheet | None


class PriceRoutes(Controller):
    """What calls cost."""

    path = "/v1/prices"
    tags = ("money",)

    @put("/{model:path}", guards=[requires(Permission.MODELS_ADMIN)], summary="Set a model's price")
    async def set_price(
        self, model: FromPath[str], data: JSONBody[SetPrice], prices: NamedDependency[PriceBook], who: Who
    ) -> PriceView:
        """`model` is `provider/model` or a bare name. Effective at once, in every process, for this tenant."""
        sheet = msgspec.to_builtins(data)
        _check(sheet, "")
        return _view(await prices.put(who.tenant_id, model.lstrip("/"), sheet))

    @get(guards=[requires(Permission.USAGE_READ)], summary="List prices")
    async def list_prices(
        self,
        prices: NamedDependency[PriceBook],
        who: Who,
        model: Annotated[
            str | None,
            QueryParameter(pattern="^[^\\x00]{1,300}$", description="every version of this model's, newest first"),
        ] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[PriceView]:
        """The tenant's own prices, the latest of each model; with `model`, all versions of one."""
        if model is None:
            after = decode_cursor(cursor, tuple[str])
            rows = await prices.own(who.tenant_id, after=after[0] if after else "", limit=limit + 1)
            return page([_view(row) for row in rows], limit, lambda row: (row.model,))
        before = decode_cursor(cursor, tuple[int])
        more = {"before": before[0]} if before else {}
        rows = await prices.history(who.tenant_id, model, limit=limit + 1, **more)
        return page([_view(row) for row in rows], limit, lambda row: (row.version,))

    @get(
        "/{model:path}",
        guards=[requires(Permission.USAGE_READ)],
        summary="Get a model's price",
        responses=problems(404, 422),
    )
    async def price(
        self,
        model: FromPath[str],
        prices: NamedDependency[PriceBook],
        catalogue: NamedDependency[Catalogue],
        who: Who,
    ) -> PriceTold:
        """What this tenant's calls to it are billed at now; of a route, its first candidate."""
        route = await catalogue.resolve(who.tenant_id, model.lstrip("/"))
        candidate = route.candidates[0]
        source, price = await prices.told(who.tenant_id, candidate)
        sheet = None if price is None else msgspec.convert(sheet_of(price), PriceSheet)
        return PriceTold(model=candidate.name, source=source, price=sheet)


def routes(prices: PriceBook, catalogue: Catalogue) -> Router:
    """The router."""
    dependencies = {"prices": instance(prices), "catalogue": instance(catalogue)}
    return Router("/", route_handlers=[PriceRoutes], dependencies=dependencies)


def _view(row: PriceRow) -> PriceView:
    told = {name: value for name, value in row.sheet.items() if value is not None}
    return PriceView(model=row.model, version=row.version, set_at=row.set_at, price=msgspec.convert(told, PriceSheet))


def _check(told: dict[str, Any], where: str) -> None:
    """Raise `Invalid` naming the first amount that is none."""
    for field in (*FIELDS, CALL_FEE, *SEARCH_FEES.values()):
        amount = told.get(field)
        if amount is not None and not (Decimal(amount).is_finite() and 0 <= Decimal(amount) <= DEAREST_USD):
            place = where + field
            raise Invalid(f"'{place}' must be an amount of dollars of 0 or more.", fields={place: "0 or more"})
    for index, each in enumerate(told.get("above", ())):
        _check(each, f"{where}above.{index}.")
    for name, tier in told.get("tiers", {}).items():
        _check(tier, f"{where}tiers.{name}.")
