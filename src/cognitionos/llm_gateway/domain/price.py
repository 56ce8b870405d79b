"""What a call costs: exact decimal prices per token, rounded once, half-up, to nano-dollars."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from decimal import Decimal
from typing import Any

from cognitionos.kernel.money import nanousd
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.domain.fees import NO_FEES, Fees

MOST_NANOUSD = 10**16
"""Ten million dollars: what no call costs, whatever somebody types as a price, and what sums of the ledger can bear."""
_MILLION = Decimal(1_000_000)
_PLAIN_TIERS = frozenset({"", "auto", "default", "standard", "standard_only"})
_LEFT_TO_THE_PROVIDER, _DEAREST_LEFT = "auto", "priority"
_NO_TIERS: "Mapping[str, Price]" = {}


def tier_of(said: Mapping[str, Any]) -> str | None:
    """The service tier that a request asks for or an answer names: `flex`, `priority`, `batch`; None: the usual one.

    Anthropic's `speed` and `inference_geo` cost a multiple: they stand behind it (`fast`, `batch+us`).
    """
    tier = said.get("service_tier")
    named = [tier] if isinstance(tier, str) and tier not in _PLAIN_TIERS else []
    named += ["fast"] if said.get("speed") == "fast" else []
    named += ["us"] if said.get("inference_geo") == "us" else []
    return "+".join(named) or None


def dearest_tier_of(asked: Mapping[str, Any]) -> str | None:
    """The dearest tier that a request may be answered at: `auto` says that the provider chooses, be it `priority`."""
    if asked.get("service_tier") == _LEFT_TO_THE_PROVIDER:
        asked = {**asked, "service_tier": _DEAREST_LEFT}
    return tier_of(asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD per token. None: a part of the prompt costs what plain input costs, of the completion what plain output does.

    `cache_write` is a write kept for five minutes; one for an hour (`cache_write_1h`) costs as much unless it is told.
    `cached_audio` costs what `cached` does unless it is told.
    """

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    reasoning: Decimal | None = None
    cached_audio: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    image_input: Decimal | None = None
    image_output: Decimal | None = None
    dearest_input: Decimal = field(init=False, repr=False, compare=False)
    """The most that one prompt token can cost."""
    dearest_output: Decimal = field(init=False, repr=False, compare=False)
    """The most that one completion token can cost."""

    def __post_init__(self) -> None:
        """Find the dearest rates once: every hold asks for them."""
        inputs = (self.input, self.cached, self.cache_write, self.cache_write_1h, *self._heard_and_seen)
        outputs = (self.output, self.reasoning, self.audio_output, self.image_output)
        object.__setattr__(self, "dearest_input", max(rate for rate in inputs if rate is not None))
        object.__setattr__(self, "dearest_output", max(rate for rate in outputs if rate is not None))

    def cost_usd(self, usage: Usage) -> Decimal:
        """Exact dollars for `usage`."""
        written = self.cache_write
        longer = written if self.cache_write_1h is None else self.cache_write_1h
        heard = 0 if self.cached_audio is None else usage.cached_audio
        prompt = _cost(
            usage.prompt,
            self.input,
            (heard, self.cached_audio),
            (usage.cached - heard, self.cached),
            (usage.cache_write_1h, longer),
            (usage.cache_write - usage.cache_write_1h, written),
            (usage.audio_input - usage.cached_audio, self.audio_input),
            (usage.image_input, self.image_input),
        )
        return prompt + _cost(
            usage.completion,
            self.output,
            (usage.reasoning, self.reasoning),
            (usage.audio_output, self.audio_output),
            (usage.image_output, self.image_output),
        )

    @property
    def spoken(self) -> "Rates":
        """The same for a call that sends and gets words only and keeps nothing for an hour."""
        spoken = replaced(self, cache_write_1h=None, audio_output=None, image_output=None)
        return replaced(spoken, cached_audio=None, audio_input=None, image_input=None)

    @property
    def _heard_and_seen(self) -> tuple[Decimal | None, ...]:
        return self.cached_audio, self.audio_input, self.image_input

    def or_dearer(self, other: "Rates") -> "Rates":
        """Rates whose bound is no lower than that of either."""
        return Rates(
            input=max(self.dearest_input, other.dearest_input), output=max(self.dearest_output, other.dearest_output)
        )

    def times(self, factor: Decimal) -> "Rates":
        """Every rate multiplied."""
        return Rates(**{name: rate * factor for name in RATES if (rate := getattr(self, name)) is not None})


RATES = tuple(name for name in Rates.__dataclass_fields__ if not name.startswith("dearest"))
"""The names of the rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A model's price. `above` holds other rates for long prompts, as (more than this many prompt tokens, rates).

    `fees` come on top. `tiers` holds the price of each service tier that has its own. `words_only` is the same price
    for a call without audio, images and writes kept for an hour: less has to be held for it.
    """

    rates: Rates
    above: tuple[tuple[int, Rates], ...] = ()
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    fees: Fees = NO_FEES
    tiers: Mapping[str, "Price"] = field(default_factory=lambda: _NO_TIERS)
    words_only: "Price | None" = None

    @property
    def is_free(self) -> bool:
        """Whether no call to this model can cost anything."""
        every = (self, *self.tiers.values())
        return self.fees.is_free and not any(
            rates.dearest_input or rates.dearest_output for each in every for rates in each.every
        )

    @property
    def every(self) -> tuple[Rates, ...]:
        """The rates of the usual tier, for short and long prompts."""
        return (self.rates, *(rates for _, rates in self.above))

    @property
    def window(self) -> int | None:
        """The longest prompt that the model takes; None where nobody knows: dearer rates that begin only there say that
        it takes longer ones.
        """
        most, last = self.max_input_tokens, self.above[-1][0] if self.above else -1
        return None if most is None or most <= last else most

    def at(self, tier: str | None) -> "Price":
        """The price at a service tier; one without a price of its own costs as usual."""
        if tier is None or not self.tiers:
            return self
        return self.tiers.get(tier) or self.tiers.get(tier.partition("+")[2]) or self

    def narrowed(self, tier: str | None, *, words_only: bool) -> "Price":
        """What bounds a call that asks for `tier`, which it may not get: of each rate the dearer one."""
        usual, asked = self, self.at(tier)
        if words_only:
            usual, asked = usual.words_only or usual, asked.words_only or asked
        if asked is usual:
            return usual
        steps = sorted({threshold for price in (usual, asked) for threshold, _ in price.above})
        return replaced(
            usual,
            rates=usual.rates.or_dearer(asked.rates),
            above=tuple((step, usual.rates_for(step + 1).or_dearer(asked.rates_for(step + 1))) for step in steps),
        )

    def cost(self, usage: Usage) -> int:
        """Nano-dollars for `usage`, rounded half-up."""
        tokens = self.at(usage.service_tier).rates_for(usage.prompt).cost_usd(usage)
        return min(nanousd(tokens if self.fees is NO_FEES else tokens + self.fees.cost_usd(usage)), MOST_NANOUSD)

    def upper_bound(self, prompt: int, completion: int, *, searches: int = 0) -> int:
        """The most nano-dollars that `prompt` and `completion` tokens can cost, whatever part was cached or written."""
        tokens = prompt * self._dearest_input(prompt) + completion * self._dearest_output(prompt)
        return min(nanousd(tokens if self.fees is NO_FEES else tokens + self.fees.most_usd(searches)), MOST_NANOUSD)

    def completion_tokens_for(self, amount_nanousd: int, *, prompt: int, searches: int = 0) -> int:
        """How many completion tokens `amount_nanousd` surely buys after the fees and `prompt` tokens are paid."""
        left = Decimal(amount_nanousd) / 1_000_000_000 - prompt * self._dearest_input(prompt)
        left -= self.fees.most_usd(searches)
        rate = self._dearest_output(prompt)
        return max(int(left / rate), 0) if rate and left > 0 else 0

    def same_until(self, prompt: int) -> int | None:
        """The longest prompt whose tokens are bounded by the rate of one of `prompt` tokens; None: any is."""
        rate = self._dearest_input(prompt)
        return next((step for step, rates in self.above if step >= prompt and rates.dearest_input > rate), None)

    def rates_for(self, prompt: int) -> Rates:
        """The rates of a prompt of so many tokens."""
        chosen = self.rates
        for threshold, rates in self.above:
            if prompt > threshold:
                chosen = rates
        return chosen

    def _dearest_input(self, prompt: int) -> Decimal:
        dearest = self.rates.dearest_input
        for threshold, rates in self.above:
            if prompt > threshold:
                dearest = max(dearest, rates.dearest_input)
        return dearest

    def _dearest_output(self, prompt: int) -> Decimal:
        dearest = self.rates.dearest_output
        for threshold, rates in self.above:
            if prompt > threshold:
                dearest = max(dearest, rates.dearest_output)
        return dearest


def priced(
    rates: Rates,
    *,
    above: Iterable[tuple[int, Rates]] = (),
    max_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    fees: Fees = NO_FEES,
    tiers: Mapping[str, Price] = _NO_TIERS,
) -> Price:
    """A price with its `words_only` beside it where that is another."""
    whole = Price(
        rates=rates,
        above=tuple(sorted(above, key=lambda each: each[0])),
        max_input_tokens=max_input_tokens,
        max_output_tokens=max_output_tokens,
        fees=fees,
        tiers=tiers,
    )
    spoken = replaced(
        whole, rates=rates.spoken, above=tuple((threshold, each.spoken) for threshold, each in whole.above), tiers={}
    )
    return whole if spoken.every == whole.every else replaced(whole, words_only=spoken)


def billed(price: Price | None, usage: Usage) -> tuple[int, bool]:
    """Nano-dollars for `usage`, and whether that is all of it: somebody knows the price of everything it counts."""
    return (0, False) if price is None else (price.cost(usage), price.fees.covers(usage))


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
    """A plain price as operators write it: dollars per million tokens."""
    given = {"input": input_usd, "output": output_usd, "cached": cached_usd}
    given |= {"cache_write": cache_write_usd, "reasoning": reasoning_usd}
    rates = rates_per_million(given)
    return priced(rates, max_input_tokens=max_input_tokens, max_output_tokens=max_output_tokens)


def rates_per_million(given: Mapping[str, Decimal | None], base: Rates | None = None) -> Rates:
    """Rates from dollars per million tokens, by the names of `Rates`; what is not given is as in `base`."""
    told = {name: rate / _MILLION for name, rate in given.items() if rate is not None}
    return Rates(**told) if base is None else replaced(base, **told)


def _cost(total: int, rate: Decimal, *parts: tuple[int, Decimal | None]) -> Decimal:
    """`total` tokens at `rate`, the parts among them at their own; parts that overlap are counted once."""
    left, cost = total, Decimal(0)
    for count, own in parts:
        if count > 0 and own is not None and left > 0:
            some = min(count, left)
            cost += some * own
            left -= some
    return cost + left * rate
