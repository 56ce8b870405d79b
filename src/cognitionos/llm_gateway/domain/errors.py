"""What can go wrong with a model call."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Invalid, LimitExceeded, NotFound, Unavailable
from cognitionos.kernel.value import value


@value
class Tried:
    """The call that an error ended: the one of its ledger row, who was asked first, the way it took, and what it cost.

    `call_id` None: it was refused before anybody was asked, and has no row; `provider` None: `model` as it was asked
    for. `cost_nanousd` None: nobody knows.
    """

    call_id: UUID | None = None
    provider: str | None = None
    model: str
    attempts: int = 0
    route: str | None = None
    cost_nanousd: int | None = 0


class OfACall(Exception):
    """An error that may come of a call that was made. `trail` says who did not answer, and why.

    `details` are what a provider says of its error for programs to read (Anthropic's `error.details`).
    """

    trail: tuple[str, ...] = ()
    tried: Tried | None = None
    details: Mapping[str, Any] | None = None


class BudgetExhausted(OfACall, LimitExceeded):
    """A budget cannot cover the call's upper bound. `subject` names it, `resets_at` says when it starts anew."""

    def __init__(
        self, detail: str, *, subject: str, resets_at: datetime | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.subject = subject
        self.resets_at = resets_at


class BudgetHalted(BudgetExhausted):
    """A budget is so near its end that it keeps the rest for critical runs and plain calls."""


class PriceUnknown(OfACall, Invalid):
    """A call under a hard budget to a model whose price nobody told: set it with `PUT /v1/prices/{model}`."""


class ModelNotFound(OfACall, NotFound):
    """No configured provider has this model."""


class CallUnbounded(OfACall, Invalid):
    """A call under a budget that nothing in it keeps from costing any amount; `fields` names what would."""


class ProviderUnavailable(OfACall, Unavailable):
    """Every provider of the route failed; nothing was invented in their place."""


class ProviderKeyRefused(ProviderUnavailable):
    """Every provider of the route refuses our key: an operator has to set another (`PUT /v1/providers/{name}`)."""

    passes = False


class SimulatedModelRefused(Invalid):
    """A simulated model was asked for in production."""


class RequestRefused(OfACall, Invalid):
    """The provider says the request is wrong; its own words are in `detail`, its `status` where it says which way."""

    status: int | None = None


class InvalidChatRequest(OfACall, Invalid):
    """The request breaks the wire format; `fields` names where."""


class BudgetNotFound(NotFound):
    """This tenant has no such budget."""


class SharesCrossed(Invalid):
    """A budget whose soft share is above its halt share: runs would halt before the cheaper model is asked."""


class HoldLost(OfACall, Unavailable):
    """A call queued for so long that its hold was closed; nothing was sent."""


class AlertNotFound(NotFound):
    """This tenant has no such alert."""


class TimeZoneUnknown(Invalid):
    """No time zone has this name."""


def unknown_zone(name: str | None) -> TimeZoneUnknown:
    """The refusal of a time zone."""
    return TimeZoneUnknown(
        f"There is no time zone '{name}'.", fields={"time_zone": "a name of the IANA list, such as Europe/Berlin"}
    )


class ProviderFailure(Exception):
    """One attempt failed. Internal to attempts: the route goes on with the next candidate or round.

    `again` says whether the same deployment may be asked again; `retry_after_s` is how long it wants to be left alone.
    `why` is one word for provenance; `broken` whether it counts against the deployment's circuit; `details` as those of
    `OfACall`.
    """

    details: Mapping[str, Any] | None = None

    def __init__(
        self,
        detail: str,
        *,
        again: bool = True,
        retry_after_s: float | None = None,
        why: str = "failed",
        broken: bool = True,
    ) -> None:
        super().__init__(detail)
        self.again = again
        self.retry_after_s = retry_after_s
        self.why = why
        self.broken = broken


class AnswerLost(ProviderFailure):
    """The provider had begun to answer, but nothing can be made of it: it bills what it was sent all the same."""


class CircuitOpen(ProviderFailure):
    """The deployment failed too often and is left alone for `retry_after_s`; it was not asked."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            f"left alone for {retry_after_s:.0f} s more, it failed too often",
            again=False,
            retry_after_s=retry_after_s,
            why="circuit-open",
            broken=False,
        )


class DeploymentFull(ProviderFailure):
    """As many calls as it may have are under way or waiting; it was not asked."""

    def __init__(self) -> None:
        super().__init__("as many calls as it may have are under way", retry_after_s=1.0, why="full", broken=False)


class ModelMissing(ProviderFailure):
    """The provider answers, but has no such model."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, again=False, why="no-such-model", broken=False)


class StreamBroken(Unavailable):
    """The provider stopped in the middle of a stream; what it sent is billed, nothing is tried again. `details` as
    those of `OfACall`.
    """

    details: Mapping[str, Any] | None = None
