"""A model's price as litellm's public table writes it, one flat entry a model.

Field names carry what they are for: `_above_200k_tokens` a long prompt, `_flex`, `_priority`, `_batches` a service
tier, both together in this order. `tiered_pricing` is another way to write long prompts. `provider_specific_entry` has
multiples for Anthropic's fast mode and for inference in one country. What a web search costs stands in
`search_context_cost_per_query`, whichever way the model comes to search.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from itertools import combinations
from typing import Any

from cognitionos.llm_gateway.domain.fees import NO_FEES, Fees
from cognitionos.llm_gateway.domain.price import Price, Rates, priced

_ABOVE = re.compile(r"^input_cost_per_token_above_(\d+)k_tokens")
_TIER = re.compile(r"^input_cost_per_token_(?!above|cache_hit)([a-z]+)$")
_FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "cached_audio": "cache_read_input_audio_token_cost",
    "audio_input": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
    "image_input": "input_cost_per_image_token",
    "image_output": "output_cost_per_image_token",
}
_SEARCH_MODEL = re.compile(r"-search-(preview|api)")
"""OpenAI's models that search once a call, whatever is asked."""
_SEARCH_SIZE = "search_context_size_"
_MULTIPLES = ("fast", "us")
_OUR_NAMES = {"batches": "batch"}


def price_from_table(entry: Mapping[str, Any], *, name: str = "") -> Price | None:
    """The price in the entry of `name` (floats are read by their shortest text); None where it has none."""
    base = _first_rates(entry)
    if base is None:
        return None
    limited = partial(
        priced,
        max_input_tokens=_whole(entry.get("max_input_tokens")),
        max_output_tokens=_whole(entry.get("max_output_tokens") or entry.get("max_tokens")),
        fees=_fees(entry, name, base),
    )
    thresholds = sorted({int(match[1]) for key in entry if (match := _ABOVE.match(key))})
    above = [(k * 1000, _rates(entry, f"_above_{k}k_tokens", base)) for k in thresholds] or _by_range(entry, base)
    tiers = {}
    for tier in sorted(match[1] for key in entry if (match := _TIER.match(key))):
        own = _rates(entry, f"_{tier}", base)
        longer = [(k * 1000, _rates(entry, f"_above_{k}k_tokens_{tier}", dict(above)[k * 1000])) for k in thresholds]
        tiers[_OUR_NAMES.get(tier, tier)] = limited(own, above=longer)
    usual = limited(base, above=above)
    return limited(base, above=above, tiers=tiers | _multiples(entry, {"": usual} | tiers))


def _fees(entry: Mapping[str, Any], name: str, rates: Rates) -> Fees:
    """What comes beside the tokens. A piece of music or an image whose tokens are free is paid by the call."""
    told = entry.get("search_context_cost_per_query")
    sizes = told if isinstance(told, dict) else {}
    searches = {size.removeprefix(_SEARCH_SIZE): _decimal(cost) for size, cost in sizes.items()}
    piece = 0 if rates.dearest_input or rates.dearest_output else entry.get("output_cost_per_image", 0)
    call = _decimal(entry.get("input_cost_per_request", 0) or piece)
    if not searches and not call:
        return NO_FEES
    unasked: int | None = 0
    if entry.get("litellm_provider") == "perplexity":
        unasked = None if "citation_cost_per_token" in entry else 1
    elif _SEARCH_MODEL.search(name):
        unasked = 1
    return Fees(call=call, searches=searches, unasked=unasked if searches else 0)


def _first_rates(entry: Mapping[str, Any]) -> Rates | None:
    ranges = entry.get("tiered_pricing")
    first = ranges[0] if isinstance(ranges, list) and ranges else {}
    told = _told({**first, **entry}, "")
    if entry.get("mode") == "embedding":
        told.setdefault("output", Decimal(0))
    return Rates(**told) if "input" in told and "output" in told else None


def _rates(entry: Mapping[str, Any], suffix: str, base: Rates) -> Rates:
    """The rates with this suffix; what is not told costs as in `base`, an hour's write in proportion to a short one."""
    told = {name: getattr(base, name) for name in _FIELDS} | _told(entry, suffix)
    has_own = _FIELDS["cache_write_1h"] + suffix in entry
    if not has_own and base.cache_write_1h is not None and base.cache_write and told["cache_write"] is not None:
        told["cache_write_1h"] = told["cache_write"] * base.cache_write_1h / base.cache_write
    return Rates(**told)


def _told(entry: Mapping[str, Any], suffix: str) -> dict[str, Decimal]:
    found = {name: entry.get(field + suffix) for name, field in _FIELDS.items()}
    return {name: _decimal(value) for name, value in found.items() if isinstance(value, int | float)}


def _by_range(entry: Mapping[str, Any], base: Rates) -> list[tuple[int, Rates]]:
    ranges = entry.get("tiered_pricing")
    later = ranges[1:] if isinstance(ranges, list) else []
    return [(int(each["range"][0]), _rates(each, "", base)) for each in later]


def _multiples(entry: Mapping[str, Any], tiers: Mapping[str, Price]) -> dict[str, Price]:
    """Each tier in fast mode, in one country, and in both."""
    said = entry.get("provider_specific_entry")
    factors = {name: _decimal(said[name]) for name in _MULTIPLES if name in said} if isinstance(said, dict) else {}
    made = {}
    for number in range(1, len(factors) + 1):
        for names in combinations(factors, number):
            factor = Decimal(1)
            for name in names:
                factor *= factors[name]
            for tier, price in tiers.items():
                made["+".join((tier, *names) if tier else names)] = priced(
                    price.rates.times(factor),
                    above=((threshold, rates.times(factor)) for threshold, rates in price.above),
                    max_input_tokens=price.max_input_tokens,
                    max_output_tokens=price.max_output_tokens,
                    fees=price.fees,
                )
    return made


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None
