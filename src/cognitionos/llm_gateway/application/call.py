"""What every kind of call has from its first step to its last: who, what, since when, and how its row is written."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.ports import Monotonic
from cognitionos.llm_gateway.domain.chat import CACHE_NONE, Caller, ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import OfACall, Tried
from cognitionos.llm_gateway.domain.ledger import CHAT, Call
from cognitionos.llm_gateway.domain.route import Candidate, Route

NOTED_S = 0.5
"""A shorter wait does not count against a deadline."""


@dataclass(slots=True)
class Sent:
    """To whom a call went, how often. `left`: who had not answered when they were listened to no
    more, or what nobody can read."""

    count: int = 0
    left: list[Candidate] = field(default_factory=list)

    @property
    def last_left(self) -> Candidate | None:
        """Whom the row of a call without an answer names."""
        return self.left[-1] if self.left else None


@value
class Started:
    """A call under way. `cache_key` None: its answer is neither looked up nor kept."""

    call_id: UUID
    caller: Caller
    route: Route
    started: float
    cache_key: str | None = None
    kind: str = CHAT
    streamed: bool = False
    monotonic: Monotonic

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since it came in."""
        return round((self.monotonic() - self.started) * 1000)

    def downgraded_by(self, candidate: Candidate) -> bool:
        """Whether `candidate` is the cheaper model that a budget past its soft share had answer."""
        return self.route.stands_in(candidate)

    def within_deadline(self, request: ChatRequest) -> ChatRequest:
        """The request with what is left of its deadline, where an identical call was waited for."""
        waited_s = self.monotonic() - self.started
        if waited_s < NOTED_S:
            return request
        return replace(request, deadline_s=max(request.deadline_s - waited_s, NOTED_S))

    def way(self, candidate: Candidate, *, trail: tuple[str, ...] = (), end: str = "answered") -> str:
        """The way it took, for whoever wants to know: `reason=named, openai/m=circuit-open, second/m=answered`."""
        return ", ".join((f"reason={self.route.reason}", *trail, f"{candidate.name}={end}"))

    def failed(self, error: Exception, row: Call) -> None:
        """Write into an error which call it ended, and what that cost."""
        if isinstance(error, OfACall):
            first = self.route.candidates[0]
            error.tried = Tried(
                call_id=self.call_id,
                provider=first.provider,
                model=first.name,
                attempts=row.attempts,
                route=", ".join((f"reason={self.route.reason}", *error.trail)),
                cost_nanousd=row.cost_nanousd if row.priced else None,
            )

    def refused(self, error: BaseException) -> None:
        """Write into an error who would have been asked: it has no row."""
        if isinstance(error, OfACall):
            first = self.route.candidates[0]
            error.tried = Tried(provider=first.provider, model=first.name)

    def row(
        self,
        *,
        outcome: str,
        candidate: Candidate | None = None,
        usage: Usage,
        cost_nanousd: int = 0,
        priced: bool = True,
        saved_nanousd: int = 0,
        cache: str = CACHE_NONE,
        cache_age_s: int | None = None,
        attempts: int = 0,
        finish_reason: str | None = None,
        simulated: bool = False,
        limit_lowered: bool = False,
        first_token_ms: int | None = None,
    ) -> Call:
        """The ledger row of its end; an end without a candidate names the first of the route."""
        used = candidate or self.route.candidates[0]
        first = used == self.route.candidates[0]
        return Call(
            call_id=self.call_id,
            caller=self.caller,
            kind=self.kind,
            outcome=outcome,
            model_asked=self.route.asked,
            provider=used.provider,
            model=used.model,
            route_reason=self.route.reason if first else "fallback",
            cache=cache,
            cache_age_s=cache_age_s,
            usage=usage,
            cost_nanousd=cost_nanousd,
            priced=priced,
            saved_nanousd=saved_nanousd,
            latency_ms=self.elapsed_ms,
            first_token_ms=first_token_ms,
            attempts=attempts,
            finish_reason=finish_reason,
            streamed=self.streamed,
            simulated=simulated,
            limit_lowered=limit_lowered,
        )


Resolve = Callable[[UUID, str | None], Awaitable[Route]]
"""The route of a tenant for a model's name as a caller gave it."""
Prepare = Callable[[UUID, ChatRequest], Awaitable[tuple[Route, ChatRequest]]]
"""The route of a tenant's request, and the request with the defaults of its role."""
