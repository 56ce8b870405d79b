"""What a call costs: exact decimal prices per token, rounded once, half-up, to nano-dollars."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cognitionos.kernel.money import nanousd
from cognitionos.llm_gateway.domain.chat import Usage

_MILLION = Decimal(1_000_000)
_ABOVE = re.compile(r"^input_cost_per_token_above_(\d+)k_tokens$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD per token. None means the rate of plain input (cached, cache_write) or of plain output (reasoning)."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None

    def cost_usd(self, usage: Usage) -> Decimal:
        """Exact dollars for `usage`."""
        if usage.cached or usage.cache_write:
            plain = max(usage.prompt - usage.cached - usage.cache_write, 0)
            cached = self.input if self.cached is None else self.cached
            written = self.input if self.cache_write is None else self.cache_write
            prompt = plain * self.input + usage.cached * cached + usage.cache_write * written
        else:
            prompt = usage.prompt * self.input
        if usage.reasoning and self.reasoning is not None:
            spoken = max(usage.completion - usage.reasoning, 0)
            return prompt + spoken * self.output + usage.reasoning * self.reasoning
        return prompt + usage.completion * self.output

    @property
    def dearest_input(self) -> Decimal:
        """The most that one prompt token can cost."""
        return max(rate for rate in (self.input, self.cached, self.cache_write) if rate is not None)

    @property
    def dearest_output(self) -> Decimal:
        """The most that one completion token can cost."""
        return max(rate for rate in (self.output, self.reasoning) if rate is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A model's price. `above` holds dearer rates for long prompts, as (more than this many prompt tokens, rates)."""

    rates: Rates
    above: tuple[tuple[int, Rates], ...] = ()
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None

    @property
    def is_free(self) -> bool:
        """Whether no call to this model can cost anything."""
        return not any(rates.dearest_input or rates.dearest_output for rates in (self.rates, *self.dearer))

    @property
    def dearer(self) -> tuple[Rates, ...]:
        """The rates of the long-prompt tiers."""
        return tuple(rates for _, rates in self.above)

    def cost(self, usage: Usage) -> int:
        """Nano-dollars for `usage`, rounded half-up."""
        return nanousd(self._rates_for(usage.prompt).cost_usd(usage))

    def upper_bound(self, prompt: int, completion: int) -> int:
        """The most nano-dollars that `prompt` and `completion` tokens can cost, whatever part was cached or written."""
        return nanousd(prompt * self._dearest_input(prompt) + completion * self._dearest_output(prompt))

    def completion_tokens_for(self, amount_nanousd: int, *, prompt: int) -> int:
        """How many completion tokens `amount_nanousd` surely buys after `prompt` tokens are paid."""
        left = Decimal(amount_nanousd) / 1_000_000_000 - prompt * self._dearest_input(prompt)
        rate = self._dearest_output(prompt)
        return max(int(left / rate), 0) if rate and left > 0 else 0

    def _rates_for(self, prompt: int) -> Rates:
        chosen = self.rates
        for threshold, rates in self.above:
            if prompt > threshold:
                chosen = rates
        return chosen

    def _reachable(self, prompt: int) -> list[Rates]:
        return [self.rates, *(rates for threshold, rates in self.above if prompt > threshold)]

    def _dearest_input(self, prompt: int) -> Decimal:
        return max(rates.dearest_input for rates in self._reachable(prompt))

    def _dearest_output(self, prompt: int) -> Decimal:
        return max(rates.dearest_output for rates in self._reachable(prompt))


FREE = Price(rates=Rates(input=Decimal(0), output=Decimal(0)))


def price_per_million(
    *,
    input_usd: Decimal,
    output_usd: Decimal,
    cached_usd: Decimal | None = None,
    cache_write_usd: Decimal | None = None,
    reasoning_usd: Decimal | None = None,
    max_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
) -> Price:
    """A price as operators write it: dollars per million tokens."""
    rates = Rates(
        input=input_usd / _MILLION,
        output=output_usd / _MILLION,
        cached=None if cached_usd is None else cached_usd / _MILLION,
        cache_write=None if cache_write_usd is None else cache_write_usd / _MILLION,
        reasoning=None if reasoning_usd is None else reasoning_usd / _MILLION,
    )
    return Price(rates=rates, max_input_tokens=max_input_tokens, max_output_tokens=max_output_tokens)


def price_from_table(entry: Mapping[str, Any]) -> Price | None:
    """The price in one entry of litellm's table (floats are read by their shortest text); None where it has none."""
    base = _rates(entry, suffix="")
    if base is None:
        return None
    thresholds = sorted(int(match[1]) for key in entry if (match := _ABOVE.match(key)))
    above = ((k * 1000, _rates(entry, suffix=f"_above_{k}k_tokens", base=base)) for k in thresholds)
    return Price(
        rates=base,
        above=tuple((threshold, rates) for threshold, rates in above if rates is not None),
        max_input_tokens=_whole(entry.get("max_input_tokens")),
        max_output_tokens=_whole(entry.get("max_output_tokens") or entry.get("max_tokens")),
    )


def _rates(entry: Mapping[str, Any], *, suffix: str, base: Rates | None = None) -> Rates | None:
    def rate(name: str, otherwise: Decimal | None) -> Decimal | None:
        value = entry.get(name + suffix)
        return Decimal(repr(value)) if isinstance(value, int | float) else otherwise

    prompt = rate("input_cost_per_token", base.input if base else None)
    if prompt is None:
        return None
    silent = Decimal(0) if entry.get("mode") == "embedding" else None
    completion = rate("output_cost_per_token", base.output if base else silent)
    if completion is None:
        return None
    return Rates(
        input=prompt,
        output=completion,
        cached=rate("cache_read_input_token_cost", base.cached if base else None),
        cache_write=rate("cache_creation_input_token_cost", base.cache_write if base else None),
        reasoning=rate("output_cost_per_reasoning_token", base.reasoning if base else None),
    )


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None
