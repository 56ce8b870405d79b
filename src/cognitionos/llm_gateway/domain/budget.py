"""What a call may cost at most, before it starts. Bounds err on the dear side: a hold must cover the bill."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.domain.chat import ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import SharesCrossed
from cognitionos.llm_gateway.domain.fees import NO_FEES
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import Price, dearest_tier_of
from cognitionos.llm_gateway.domain.prompt_bound import PromptBound, predicted_tokens, prompt_bound
from cognitionos.llm_gateway.domain.server_work import NOTHING, SEARCH_OPTIONS, ServerWork, server_work, unbounded

LIMIT_WHERE_NONE_IS_KNOWN = 4096
"""Completion tokens that are held, and under a budget allowed, where neither model nor caller tells a limit."""
FEWEST_USEFUL_TOKENS = 16
FEWEST_BYTES_OF_A_TOKEN = 3
"""About: of English four, of Chinese three, of code three and a half."""
BELIEVED_TIMES = 10
BELIEVED_TOKENS = 200_000
"""A count is believed up to so many times what was held, and up to so many tokens whatever was held: providers that add
words of their own or ignore limits are booked as they tell; what is beyond is no count."""
BELIEVED_WITHOUT_BOUND = 2**25
"""Of what had no bound: above eleven passes over the longest window there is."""
_NO_WINDOW = (
    "how many tokens it is cannot be told from its bytes, and nobody knows how long this model's prompt can get: send "
    "it as text, or set max_input_tokens (above the prompts from which on it costs more) by PUT /v1/prices/MODEL"
)
SOFT_SHARE = 0.8
HALT_SHARE = 0.95
EXHAUSTED_SHARE = 0.95
"""A refusal counts as 'exhausted' once this share of the limit is spent; before that the call was too large."""


class Period(StrEnum):
    """How often a budget starts anew."""

    TOTAL = "total"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Threshold(StrEnum):
    """The shares of a limit that are told of, each once in a period."""

    SOFT = "soft"
    HALT = "halt"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What happens before a budget is used up, and by whose calendar it starts anew.

    From the share `soft` on, `downgrade_to` answers (None: the tenant's setting); from `halt` on, runs that are not
    critical halt. None: never. `time_zone` None: the tenant's.
    """

    soft: float | None = SOFT_SHARE
    halt: float | None = HALT_SHARE
    downgrade_to: str | None = None
    time_zone: str | None = None


def check_shares(soft: float | Decimal | None, halt: float | Decimal | None) -> None:
    """Raise `SharesCrossed` where `soft` is above `halt`."""
    if soft is not None and halt is not None and soft > halt:
        low, high = f"{float(halt):g}", f"{float(soft):g}"
        raise SharesCrossed(
            f"This budget would halt at {low} of its limit, before its soft share of {high}.",
            fields={"soft": f"name a soft of at most {low}, a halt of at least {high}, or null for one of them"},
        )


OWN_TERMS = Terms(halt=None)
"""Of the budgets that the product opens by itself: a goal does not halt at 95 % of its own limit."""
SILENT_TERMS = Terms(soft=None, halt=None)
"""Of an agent run's: many and short, nobody wants to hear of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """What a tenant wants of every budget of its own that does not say otherwise."""

    time_zone: str = "UTC"
    downgrade_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Miscount:
    """A budget whose counters are not what the ledger and the holds sum up to: (counter, sum) pairs."""

    budget_id: UUID
    subject: str
    period: Period
    spent_nanousd: tuple[int, int]
    held_nanousd: tuple[int, int]
    calls: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """The state of one budget. `limit` None: there is no such budget and the sum comes from the ledger."""

    limit_nanousd: int | None
    held_nanousd: int
    spent_nanousd: int
    calls: int

    @property
    def left_nanousd(self) -> int | None:
        """What the next call may still hold."""
        return None if self.limit_nanousd is None else self.limit_nanousd - self.held_nanousd - self.spent_nanousd


@dataclass(eq=False, slots=True, weakref_slot=True, kw_only=True)
class Hold:
    """A call's wish to hold `amount_nanousd` (None: its price is unknown) on every budget of its caller's subjects.

    Whoever goes on with the call keeps this object: once nobody has it, the hold is nobody's and is closed.

    `row` is what a sweep writes should this process die; `deadline_s` is when the call must be over. `halts`: it is a
    run's that is not critical. `downgraded`: it is with the cheaper model already, or must stay with its own. `sent`:
    it goes to its provider at once (False: it queues first).
    """

    row: Call
    amount_nanousd: int | None
    deadline_s: float
    halts: bool = False
    downgraded: bool = True
    sent: bool = True


@value
class Held:
    """The answer to a hold. Refused: which budget, what it has left now, and what once the other holds are gone.

    Granted: `subject` is that of the tightest budget it counts against, None where there is none.
    `halted`: runs that are not critical wait for that budget. `downgrade_to`: it wants this model to answer instead.
    """

    granted: bool
    price_missing: bool = False
    halted: bool = False
    downgrade_to: str | None = None
    subject: str | None = None
    period: Period = Period.TOTAL
    left_nanousd: int = 0
    room_nanousd: int = 0
    resets_at: datetime | None = None


@value
class Bound:
    """The most a call can use at one price. `limit` is the completion limit to send, None to leave it unsaid.

    `prompt` is that of all passes together; `answers` counts the choices of each pass. `predicted` are paid for with
    each answer beside what it says. A limit below `least` would leave no answer.
    """

    price: Price
    prompt: int
    completion: int
    limit: int | None
    answers: int = 1
    searches: int = 0
    predicted: int = 0
    least: int = FEWEST_USEFUL_TOKENS

    @property
    def own_limit(self) -> int | None:
        """The completion limit that is held; None where there is nothing to pay."""
        return None if self.price.is_free else self.completion

    @property
    def is_short(self) -> bool:
        """Whether less is held than the model could say, or may be."""
        most = self.price.max_output_tokens
        return self.limit is None and not self.price.is_free and (most is None or self.completion < most)

    @property
    def cost_nanousd(self) -> int:
        """The most this call can cost here."""
        made = (self.completion + self.predicted) * self.answers
        return self.price.upper_bound(self.prompt, made, searches=self.searches)

    def affordable(self, amount_nanousd: int) -> int:
        """Completion tokens per answer that `amount_nanousd` surely pays for, no more than the bound has now."""
        if self.cost_nanousd <= amount_nanousd:
            return self.completion
        tokens = self.price.completion_tokens_for(amount_nanousd, prompt=self.prompt, searches=self.searches)
        return tokens // self.answers - self.predicted


@value
class Exposure:
    """What a call can cost at most, whichever candidate of its route answers."""

    bounds: tuple[Bound, ...]

    @property
    def amount_nanousd(self) -> int:
        """The dearest candidate's bound: what is held."""
        return max(bound.cost_nanousd for bound in self.bounds)

    @property
    def limit(self) -> int | None:
        """The completion limit to send upstream; None leaves it to the model."""
        limits = [bound.limit for bound in self.bounds if bound.limit is not None]
        return min(limits) if limits else None

    def lowered_to(self, amount_nanousd: int) -> "Exposure | None":
        """The same call with its completion cut to what `amount_nanousd` buys; None where too little would be left."""
        tokens = min(bound.affordable(amount_nanousd) for bound in self.bounds)
        if tokens < max(bound.least for bound in self.bounds):
            return None
        bounds = (replace(bound, completion=tokens, limit=tokens) for bound in self.bounds)
        return Exposure(bounds=tuple(bounds))


def exposure(request: ChatRequest, prices: Sequence[Price], *, encode: Callable[[Any], bytes]) -> Exposure:
    """The most `request` can cost at any of `prices`.

    Raises `CallUnbounded` where what it sends or what the provider does by itself can cost any amount, free models
    excepted.
    """
    prompt, predicted = prompt_bound(request, encode), predicted_tokens(request, encode)
    work = NOTHING if all(price.is_free for price in prices) else server_work(request)
    tier = dearest_tier_of(request.extra)
    narrowed = (price.narrowed(tier, words_only=prompt.words_only) for price in prices)
    return Exposure(bounds=tuple(_bound(request, price, prompt, work, predicted) for price in narrowed))


def _bound(request: ChatRequest, price: Price, sent: PromptBound, work: ServerWork, predicted: int) -> Bound:
    prompt = _longest(sent, price)
    limit, thinking = request.max_tokens, request.thinking
    if limit is not None and limit <= thinking:
        thinking = 0  # a beta thinks between its calls of tools, with more than one answer's limit
    completion = limit if limit is not None else _own_limit(sent, price, thinking)
    if work is not NOTHING or price.fees is not NO_FEES:
        prompt = _lengthened(prompt, completion, price, work)
    return Bound(
        price=price,
        prompt=prompt,
        completion=completion,
        limit=limit,
        answers=request.choices * work.passes,
        searches=work.searches,
        predicted=predicted,
        least=thinking + FEWEST_USEFUL_TOKENS,
    )


def can_be(told: Usage, bound: Bound | None) -> bool:
    """Whether a provider can mean what it told of a call that was bound so (None: nothing bound it)."""
    if bound is None:
        return told.prompt <= BELIEVED_WITHOUT_BOUND and told.completion <= BELIEVED_WITHOUT_BOUND
    price, answers = bound.price, bound.answers
    most_prompt = max(BELIEVED_TIMES * bound.prompt, BELIEVED_TOKENS, price.max_input_tokens or 0)
    made = max(BELIEVED_TIMES * (bound.completion + bound.predicted), BELIEVED_TOKENS, price.max_output_tokens or 0)
    most_searches = BELIEVED_TIMES * max(bound.searches, BELIEVED_TIMES)
    return told.prompt <= most_prompt and told.completion <= made * answers and told.searches <= most_searches


def _own_limit(sent: PromptBound, price: Price, thinking: int) -> int:
    """What a model says at most where nobody limits it; more than it thinks.

    Some models have one window for prompt and answer, and refuse a limit that does not fit beside the prompt. So room
    is left for that, by a guess that is high for any language, where both together are longer than the window.
    """
    most, window = price.max_output_tokens, price.max_input_tokens
    if most is None or most <= thinking:
        most = LIMIT_WHERE_NONE_IS_KNOWN + thinking
    if window is None:
        return most
    room = max(window - sent.tokens // FEWEST_BYTES_OF_A_TOKEN, window // 8)
    return min(most, max(room, thinking + FEWEST_USEFUL_TOKENS))


def _longest(sent: PromptBound, price: Price) -> int:
    """The prompt tokens of one pass: what its bytes allow, and what the model takes where they say nothing.

    What the price says of the model's window never cuts the bytes' bound: such figures are wrong where the model takes
    longer prompts by now, or at another provider.
    """
    if sent.beyond is None or price.is_free:
        return sent.tokens
    window = price.window
    if window is None:
        raise unbounded(sent.beyond, _NO_WINDOW)
    return max(sent.tokens, window)


def _lengthened(prompt: int, completion: int, price: Price, work: ServerWork) -> int:
    """The prompt tokens of every pass, with what the provider's own tools bring into it."""
    if price.is_free:
        return prompt
    searches_unasked = price.fees.unasked
    if searches_unasked is None:
        raise unbounded("model", "it searches as often as it likes")
    if work.option and not searches_unasked:
        raise unbounded(SEARCH_OPTIONS, "it does not say how many searches there may be")
    if work.searches and not price.fees.searches:
        raise unbounded("tools", "nobody knows what a search costs with this model: set it by PUT /v1/prices/MODEL")
    if not (work.grows or work.option):
        return prompt if work.passes == 1 else work.passes * (prompt + completion)
    window = price.window
    if window is None:
        raise unbounded("model", "nobody knows how long its prompt can get: set it by PUT /v1/prices/MODEL")
    return work.passes * max(prompt, window)
