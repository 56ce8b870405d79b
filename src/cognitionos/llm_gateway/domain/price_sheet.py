"""A model's price as operators write it: dollars per million tokens, by name; what long prompts and service tiers cost,
and what calls and web searches do, in dollars per thousand.

A sheet is `{"input_usd_per_million", "output_usd_per_million", ..., "above": [{"prompt_tokens", rates}],
"tiers": {TIER: {rates, "above"}}}`. A rate that is left out of `above` or of a tier is that of the sheet itself.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from cognitionos.llm_gateway.domain.fees import NO_FEES, USUAL_SIZE, Fees
from cognitionos.llm_gateway.domain.price import RATES, Price, Rates, priced, rates_per_million

FIELDS: Mapping[str, str] = {
    ("cached_input" if name == "cached" else name) + "_usd_per_million": name for name in RATES
}
"""The sheet's name of each rate, and ours."""
CALL_FEE = "call_usd_per_thousand"
SEARCH_FEES: Mapping[str, str] = {
    USUAL_SIZE: "search_usd_per_thousand",
    "low": "search_low_usd_per_thousand",
    "high": "search_high_usd_per_thousand",
}
"""The sheet's name of what a search of each size costs; one that is left out costs as usual."""
_UNASKED: Mapping[str, int | None] = {"once": 1, "freely": None}
_MILLION = 1_000_000
_THOUSAND = 1000


def price_of_sheet(sheet: Mapping[str, Any]) -> Price:
    """The price that a sheet tells; amounts are Decimals or their text."""
    rates = _rates(sheet, None)
    limited = partial(
        priced,
        max_input_tokens=sheet.get("max_input_tokens"),
        max_output_tokens=sheet.get("max_output_tokens"),
        fees=_fees(sheet),
    )
    above = _above(sheet.get("above") or (), rates)
    tiers = {
        name: limited(own := _rates(told, rates), above=_above(told.get("above") or (), own) or above)
        for name, told in (sheet.get("tiers") or {}).items()
    }
    return limited(rates, above=above, tiers=tiers)


def sheet_of(price: Price) -> dict[str, Any]:
    """The sheet that tells a price, whole: nothing in it is left to be taken from elsewhere. Amounts are text."""
    sheet = _told(price)
    sheet |= {"max_input_tokens": price.max_input_tokens, "max_output_tokens": price.max_output_tokens}
    sheet |= _told_fees(price.fees)
    return sheet | {"tiers": {name: _told(tier) for name, tier in price.tiers.items()}}


def _fees(sheet: Mapping[str, Any]) -> Fees:
    searches = {
        size: Decimal(sheet[field]) / _THOUSAND for size, field in SEARCH_FEES.items() if sheet.get(field) is not None
    }
    call = Decimal(sheet.get(CALL_FEE) or 0) / _THOUSAND
    if not searches and not call:
        return NO_FEES
    return Fees(call=call, searches=searches, unasked=_UNASKED.get(sheet.get("searches_unasked") or "", 0))


def _told_fees(fees: Fees) -> dict[str, Any]:
    usual = fees.searches.get(USUAL_SIZE)
    amounts = {field: fees.searches[size] for size, field in SEARCH_FEES.items() if size in fees.searches}
    told = {
        field: _text(fee * _THOUSAND)
        for field, fee in amounts.items()
        if fee != usual or field == SEARCH_FEES[USUAL_SIZE]
    }
    if fees.call:
        told[CALL_FEE] = _text(fees.call * _THOUSAND)
    how_often = next((name for name, count in _UNASKED.items() if count == fees.unasked), None)
    return told | ({"searches_unasked": how_often} if how_often else {})


def _rates(told: Mapping[str, Any], base: Rates | None) -> Rates:
    given = {name: Decimal(told[field]) for field, name in FIELDS.items() if told.get(field) is not None}
    return rates_per_million(given, base)


def _above(told: Sequence[Mapping[str, Any]], base: Rates) -> list[tuple[int, Rates]]:
    return [(each["prompt_tokens"], _rates(each, base)) for each in told]


def _told(price: Price) -> dict[str, Any]:
    above = [{"prompt_tokens": threshold} | _amounts(rates) for threshold, rates in price.above]
    return _amounts(price.rates) | {"above": above}


def _amounts(rates: Rates) -> dict[str, str]:
    amounts = {field: getattr(rates, name) for field, name in FIELDS.items()}
    return {field: _text(rate * _MILLION) for field, rate in amounts.items() if rate is not None}


def _text(amount: Decimal) -> str:
    plain = format(amount, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
