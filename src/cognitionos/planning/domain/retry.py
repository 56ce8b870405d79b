"""When a failed task is tried again."""

from dataclasses import dataclass
from typing import Any

from cognitionos.kernel.errors import DomainError, Unavailable

LONGEST_BACKOFF_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most `max_attempts` tries; waits of `backoff_s`, doubled each time, capped at a minute, with jitter."""

    max_attempts: int = 5
    backoff_s: float = 1.0

    def wait_s(self, error: BaseException, *, failures: int, jitter: float) -> float | None:
        """Seconds until the next try after `failures` tries failed, the last with `error`; None: give up.

        What is wrong now may be right later (`Unavailable`, a time-out, anything unforeseen); what the domain refused
        stays refused. `jitter` is between 0 and 1. A provider's own `retry_after_s` is a lower bound.
        """
        if isinstance(error, DomainError) and not isinstance(error, Unavailable):
            return None
        if failures >= self.max_attempts:
            return None
        doubled = min(self.backoff_s * 2.0 ** min(failures - 1, 30), LONGEST_BACKOFF_S)
        asked_for = getattr(error, "retry_after_s", None) or 0.0
        return max(doubled * (0.5 + jitter / 2), float(asked_for))

    def as_json(self) -> dict[str, Any]:
        """As stored with the task."""
        return {"max_attempts": self.max_attempts, "backoff_s": self.backoff_s}
