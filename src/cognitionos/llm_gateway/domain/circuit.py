"""A circuit breaker's rules: who has failed often is left alone, then asked carefully, then trusted again.

Closed until `failures_to_open` failures in a row; then open for `open_s`; then half-open, where at most `most_probes`
calls are under way at once: `successes_to_close` successes close it, one failure opens it again.
Source: Nygard, "Release It!", chapter "Stability Patterns".
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class CircuitState(StrEnum):
    """Whether a deployment is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRules:
    """When a circuit changes."""

    failures_to_open: int = 5
    open_s: float = 60.0
    most_probes: int = 3
    successes_to_close: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """One deployment's. Times are seconds since the epoch; `probes` are when those under way were sent.

    A probe that never ends (its process died) counts no longer than a circuit stays open.
    """

    state: CircuitState = CircuitState.CLOSED
    failures: int = 0
    successes: int = 0
    probes: tuple[float, ...] = ()
    changed_at: float = 0.0

    def reopens_in_s(self, now: float, rules: CircuitRules) -> float:
        """How long an open circuit stays so; of a half-open one, how long until one of its probes is given up."""
        if self.state is CircuitState.OPEN:
            return max(self.changed_at + rules.open_s - now, 0.0)
        if self.state is CircuitState.HALF_OPEN and len(self._alive(now, rules)) >= rules.most_probes:
            return max(min(self._alive(now, rules)) + rules.open_s - now, 0.0)
        return 0.0

    def failed(self, now: float, rules: CircuitRules) -> "Circuit":
        """After a failure. A straggler that fails while the circuit is open changes nothing."""
        if self.state is CircuitState.OPEN:
            return self
        failures = self.failures + 1
        if self.state is CircuitState.HALF_OPEN or failures >= rules.failures_to_open:
            return Circuit(state=CircuitState.OPEN, failures=failures, changed_at=now)
        return replace(self, failures=failures, changed_at=now)

    def succeeded(self, now: float, rules: CircuitRules) -> "Circuit":
        """After a success. One that was sent before the circuit opened does not close it."""
        if self.state is CircuitState.OPEN:
            return self
        if self.state is CircuitState.CLOSED:
            return Circuit()
        successes = self.successes + 1
        if successes >= rules.successes_to_close:
            return Circuit()
        return replace(self, successes=successes, probes=self.probes[1:])

    def probed(self, now: float, rules: CircuitRules) -> "Circuit | None":
        """With one more probe under way; None where none may be sent now."""
        if self.state is CircuitState.CLOSED:
            return self
        if self.state is CircuitState.OPEN and self.changed_at + rules.open_s > now:
            return None
        probes = self._alive(now, rules)
        if len(probes) >= rules.most_probes:
            return None
        successes = self.successes if self.state is CircuitState.HALF_OPEN else 0
        since = self.changed_at if self.state is CircuitState.HALF_OPEN else now
        return replace(self, state=CircuitState.HALF_OPEN, successes=successes, probes=(*probes, now), changed_at=since)

    def released(self) -> "Circuit":
        """After a probe that said nothing: its caller left."""
        return replace(self, probes=self.probes[1:])

    def _alive(self, now: float, rules: CircuitRules) -> tuple[float, ...]:
        return tuple(sent for sent in self.probes if sent + rules.open_s > now)


CLOSED = Circuit()
"""What a deployment has that nobody complained of."""
