"""Leave to ask a model, with the money for it: what is sent, what is believed of what is told, what is billed."""

from collections.abc import Sequence
from dataclasses import replace

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.domain.budget import Bound, Hold, can_be
from cognitionos.llm_gateway.domain.chat import ChatRequest, Usage
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import Price, billed
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)


@value
class Granted:
    """A hold in place. `limit` is the completion limit to send upstream (None: the model's own). `lowered`: a budget
    allows less than the model could say, be it by a limit that is only `assumed`.

    `call` is the call as it goes on: by another route where a budget past its soft share has a cheaper model answer.
    `queues`: whoever sends it says so first (`Budgets.sends`). `prices` are those of the route's candidates when it was
    held: it is billed by them, so that its end needs nobody to tell them and no change lifts it above its hold.
    `bounds` are what each of them can use at most (empty: nobody knows). `budgeted`: their limits are sent where
    `limit` is None; else models keep their own, which need not be what their prices tell.
    """

    call: Started
    limit: int | None
    lowered: bool
    amount_nanousd: int | None
    assumed: bool = False
    prices: Sequence[Price | None] = ()
    bounds: Sequence[Bound] = ()
    budgeted: bool = False
    queues: bool = False
    hold: Hold | None = None

    @property
    def is_short(self) -> bool:
        """Whether its limit makes the answer another one: one that is assumed does only where it is reached, and what
        is cut there is not kept."""
        return self.lowered and not self.assumed

    @property
    def is_cut(self) -> bool:
        """Whether the end of a budget makes the answer another one: shorter, or a cheaper model's."""
        return self.is_short or self.call.cache_key is None

    def asked(self, request: ChatRequest, candidate: Candidate) -> ChatRequest:
        """The request as it is sent to `candidate`."""
        limit = self.limit
        if limit is None and self.budgeted:
            limit = self.bounds[self._place(candidate)].own_limit
        return request if limit == request.max_tokens else replace(request, max_tokens=limit)

    def believed(self, told: Usage | None, candidate: Candidate) -> Usage | None:
        """What a provider told, unless it cannot be: then it counts as if nothing were told."""
        bound = self.bounds[self._place(candidate)] if self.bounds else None
        if told is None or can_be(told, bound):
            return told
        log.warning(
            "usage_not_believed", model=candidate.name, prompt_tokens=told.prompt, completion_tokens=told.completion
        )
        return None

    def priced(self, row: Call, candidate: Candidate) -> Call:
        """The row with what the call costs at `candidate`; an estimate never takes more than was held."""
        cost, priced = billed(self._price(candidate), row.usage)
        if row.usage.estimated and self.amount_nanousd is not None:
            cost = min(cost, self.amount_nanousd)
        return replace(row, cost_nanousd=cost, priced=priced)

    def with_left(self, row: Call, left: Sequence[Candidate], *, prompt: int) -> Call:
        """The row with `prompt` tokens more for each that was `left` at work, which bills what it was sent at least."""
        sent = Usage(prompt=prompt, estimated=True)
        bills = [billed(self._price(candidate), sent) for candidate in left]
        cost, priced = row.cost_nanousd + sum(cost for cost, _ in bills), all(priced for _, priced in bills)
        if self.amount_nanousd is not None:
            cost = max(row.cost_nanousd, min(cost, self.amount_nanousd))
        usage = replace(row.usage, prompt=row.usage.prompt + prompt * len(left), estimated=True)
        return replace(row, usage=usage, cost_nanousd=cost, priced=row.priced and priced)

    def _price(self, candidate: Candidate) -> Price | None:
        return self.prices[self._place(candidate)]

    def _place(self, candidate: Candidate) -> int:
        return self.call.route.candidates.index(candidate)
