"""Trying the candidates of a route until one answers: fallback first, then back-off and another round."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.deployments import Deployments, Slot
from cognitionos.llm_gateway.application.ports import Chance, Monotonic, Provider, Sleep
from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.errors import (
    CircuitOpen,
    DeploymentFull,
    InvalidChatRequest,
    ModelMissing,
    ModelNotFound,
    ProviderFailure,
    ProviderKeyRefused,
    ProviderUnavailable,
    RequestRefused,
)
from cognitionos.llm_gateway.domain.route import Candidate, Route
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
LEAST_FAIR_S = 1.0
"""A deployment that was given less time than this is not blamed for having needed more."""
_REFUSED = "refused"

T = TypeVar("T")
Ask = Callable[[Provider, Candidate], Awaitable[T]]


@value
class Attempted(Generic[T]):
    """What came back, from whom, at which attempt (1 is the first); `trail` says who did not answer, and why.

    `slot` is the place at the deployment: whoever asked to keep it says how it ended, and ends it.
    """

    value: T
    candidate: Candidate
    provider: Provider
    attempts: int
    slot: Slot
    trail: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tries:
    """What was tried so far of a route."""

    route: Route
    attempts: int = 0
    failures: dict[Candidate, ProviderFailure] = field(default_factory=dict)
    trail: list[str] = field(default_factory=list)

    def is_meant(self, candidate: Candidate) -> bool:
        """Whether its word on the request holds: not of a stand-in with others to follow, nor of one that is asked only
        because another is down, which may answer later."""
        stands_in = self.route.stands_in(candidate)
        if stands_in and candidate != self.route.candidates[-1]:
            return False
        others = (
            failure
            for other, failure in self.failures.items()
            if other != candidate and self.route.stands_in(other) == stands_in
        )
        return not any(not isinstance(failure, ModelMissing) and failure.why != _REFUSED for failure in others)

    def failed(self, candidate: Candidate, failure: ProviderFailure) -> None:
        self.attempts += not isinstance(failure, CircuitOpen | DeploymentFull)
        self.failures[candidate] = failure
        self.trail.append(f"{candidate.name}={failure.why}")
        _log_failure(candidate, failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Asks every candidate once, in order; then waits and asks those again that may be asked again.

    An attempt that leaves others to try takes at most `longest_s`; the last one takes what is left of the deadline.
    """

    providers: Mapping[str, Provider]
    deployments: Deployments
    backoff: Backoff
    sleep: Sleep
    monotonic: Monotonic
    chance: Chance
    longest_s: float = 120.0

    async def run(
        self, route: Route, ask: Ask[T], *, deadline_s: float, keep_slot: bool = False, rounds: int | None = None
    ) -> Attempted[T]:
        """The first answer. Raises `ProviderUnavailable` when none came in time, `RequestRefused` at once.
        `rounds`: so often the route is tried, where not as often as its back-off says.

        But of a fallback that cannot take the request, while the one that was meant to answer is down, or of a
        stand-in, the request is not wrong: that is one more that did not answer.
        """
        deadline = self.monotonic() + deadline_s
        tries = _Tries(route)
        alive = list(route.candidates)
        rounds = self.backoff.rounds if rounds is None else rounds
        for round_ in range(rounds):
            for candidate in tuple(alive):
                left_s = max(deadline - self.monotonic(), 0.0)
                limit_s = left_s if candidate == alive[-1] else min(left_s, self.longest_s)
                try:
                    given, provider, slot = await self._attempt(candidate, ask, limit_s)
                except (RequestRefused, InvalidChatRequest) as refusal:
                    if tries.is_meant(candidate):
                        refusal.trail = (*tries.trail, f"{candidate.name}={_REFUSED}")
                        raise
                    tries.failed(candidate, ProviderFailure(str(refusal), again=False, why=_REFUSED, broken=False))
                    alive.remove(candidate)
                    continue
                except ProviderFailure as failure:
                    tries.failed(candidate, failure)
                    if not failure.again:
                        alive.remove(candidate)
                    continue
                if not keep_slot:
                    slot.succeeded()
                    slot.end()
                return Attempted(
                    value=given,
                    candidate=candidate,
                    provider=provider,
                    attempts=tries.attempts + 1,
                    slot=slot,
                    trail=tuple(tries.trail),
                )
            if all(isinstance(tries.failures[candidate], DeploymentFull) for candidate in alive):
                break  # they have queues to wait in
            wait_s = self._wait_s(round_, [tries.failures[candidate] for candidate in alive])
            if round_ + 1 == rounds or self.monotonic() + wait_s >= deadline:
                break
            await self.sleep(wait_s)
        raise _nobody_answered(tries.failures, tuple(tries.trail))

    def no_room(self, route: Route) -> ProviderUnavailable | ModelNotFound | None:
        """What `run` would raise at once where every deployment of the route is full; None where one may have room."""
        for candidate in route.candidates:
            if candidate.home not in self.providers or not self.deployments.is_full(candidate.deployment):
                return None
        tries = _Tries(route)
        for candidate in route.candidates:
            tries.failed(candidate, DeploymentFull())
        return _nobody_answered(tries.failures, tuple(tries.trail))

    async def _attempt(self, candidate: Candidate, ask: Ask[T], limit_s: float) -> tuple[T, Provider, Slot]:
        """One answer of one deployment, whose slot is then the caller's; `ProviderFailure` says why there is none."""
        provider = self.providers.get(candidate.home)
        if provider is None:
            raise ProviderFailure("this provider is gone", again=False, why="gone", broken=False)
        slot = await self.deployments.enter(candidate.deployment, within_s=limit_s)
        answered = False
        try:
            async with asyncio.timeout(limit_s):
                given = await ask(provider, candidate)
            answered = True
        except TimeoutError:
            late = ProviderFailure(
                f"no answer within {limit_s:g} s", again=False, why="timeout", broken=limit_s >= LEAST_FAIR_S
            )
            await _blame(slot, late)
            raise late from None
        except ProviderFailure as failure:
            await _blame(slot, failure)
            raise
        except RequestRefused:
            slot.succeeded()
            raise
        finally:
            if not answered:
                slot.end()
        return given, provider, slot

    def _wait_s(self, round_: int, failures: list[ProviderFailure]) -> float:
        wishes = [failure.retry_after_s or 0.0 for failure in failures]
        return self.backoff.wait_s(round_, chance=self.chance(), retry_after_s=min(wishes, default=0.0))


async def _blame(slot: Slot, failure: ProviderFailure) -> None:
    """What a failed attempt says about its deployment: a busy one is not broken, and one that refuses answers."""
    if failure.broken:
        await slot.failed()
    elif isinstance(failure, ModelMissing):
        slot.succeeded()


def _log_failure(candidate: Candidate, failure: ProviderFailure) -> None:
    """Callers are told what failed, operators also why: the cause may name hosts of theirs."""
    log.warning(
        "model_attempt_failed",
        model=candidate.name,
        reason=str(failure),
        cause=str(failure.__cause__) if failure.__cause__ else None,
        may_be_tried_again=failure.again,
    )


def _nobody_answered(
    failures: Mapping[Candidate, ProviderFailure], trail: tuple[str, ...]
) -> ProviderUnavailable | ModelNotFound:
    error = _why_nobody(failures)
    error.trail = trail
    if len(failures) == 1:
        error.details = next(iter(failures.values())).details
    return error


def _why_nobody(failures: Mapping[Candidate, ProviderFailure]) -> ProviderUnavailable | ModelNotFound:
    said = "; ".join(f"{candidate.name}: {failure}" for candidate, failure in failures.items())
    if all(isinstance(failure, ModelMissing) for failure in failures.values()):
        return ModelNotFound(f"No provider has this model. {said}")
    if failures and all(failure.why == "key-refused" for failure in failures.values()):
        return ProviderKeyRefused(f"No provider could answer. {said}")
    wishes = [failure.retry_after_s for failure in failures.values() if failure.retry_after_s is not None]
    return ProviderUnavailable(f"No provider could answer. {said}", retry_after_s=min(wishes, default=None))
