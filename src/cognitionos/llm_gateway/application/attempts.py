"""Trying the candidates of a route until one answers: fallback first, then back-off and another round."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from cognitionos.llm_gateway.application.ports import Chance, Monotonic, Provider, Sleep
from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.errors import ModelMissing, ModelNotFound, ProviderFailure, ProviderUnavailable
from cognitionos.llm_gateway.domain.route import Candidate, Route
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

T = TypeVar("T")
Ask = Callable[[Provider, Candidate], Awaitable[T]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted(Generic[T]):
    """What came back, from whom, at which attempt (1 is the first)."""

    value: T
    candidate: Candidate
    provider: Provider
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Asks every candidate once, in order; then waits and asks those again that may be asked again."""

    providers: Mapping[str, Provider]
    backoff: Backoff
    sleep: Sleep
    monotonic: Monotonic
    chance: Chance

    async def run(self, route: Route, ask: Ask[T], *, deadline_s: float) -> Attempted[T]:
        """The first answer. Raises `ProviderUnavailable` when none came in time, `RequestRefused` at once."""
        deadline = self.monotonic() + deadline_s
        failures: dict[Candidate, ProviderFailure] = {}
        alive = list(route.candidates)
        attempts = 0
        for round_ in range(self.backoff.rounds):
            for candidate in tuple(alive):
                provider = self.providers[candidate.provider]
                attempts += 1
                try:
                    async with asyncio.timeout(max(deadline - self.monotonic(), 0)):
                        value = await ask(provider, candidate)
                    return Attempted(value=value, candidate=candidate, provider=provider, attempts=attempts)
                except TimeoutError:
                    failures[candidate] = ProviderFailure(f"no answer within {deadline_s:g} s", again=False)
                except ProviderFailure as failure:
                    failures[candidate] = failure
                _log_failure(candidate, failures[candidate])
                if not failures[candidate].again:
                    alive.remove(candidate)
            wait_s = self._wait_s(round_, [failures[candidate] for candidate in alive])
            if not alive or round_ + 1 == self.backoff.rounds or self.monotonic() + wait_s >= deadline:
                break
            await self.sleep(wait_s)
        raise _nobody_answered(failures)

    def _wait_s(self, round_: int, failures: list[ProviderFailure]) -> float:
        wishes = [failure.retry_after_s or 0.0 for failure in failures]
        return self.backoff.wait_s(round_, chance=self.chance(), retry_after_s=min(wishes, default=0.0))


def _log_failure(candidate: Candidate, failure: ProviderFailure) -> None:
    """Callers are told what failed, operators also why: the cause may name hosts of theirs."""
    log.warning(
        "model_attempt_failed",
        model=candidate.name,
        reason=str(failure),
        cause=str(failure.__cause__) if failure.__cause__ else None,
        may_be_tried_again=failure.again,
    )


def _nobody_answered(failures: Mapping[Candidate, ProviderFailure]) -> ProviderUnavailable | ModelNotFound:
    said = "; ".join(f"{candidate.name}: {failure}" for candidate, failure in failures.items())
    if all(isinstance(failure, ModelMissing) for failure in failures.values()):
        return ModelNotFound(f"No provider has this model. {said}")
    wishes = [failure.retry_after_s for failure in failures.values() if failure.retry_after_s is not None]
    return ProviderUnavailable(f"No provider could answer. {said}", retry_after_s=min(wishes, default=None))
