"""When a failed task is tried again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.kernel.errors import DomainError, Unavailable

LONGEST_BACKOFF_S = 60.0
TIMED_OUT = "task-timed-out"
UNFORESEEN = "internal-error"
_FORMERLY = {"tool-failed": "agent-failed", "tool-unavailable": "agent-failed"}
"""What types of problem were called before they had names of their own: policies that say so mean them too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most `max_attempts` tries; waits of `backoff_s`, doubled each time, capped at a minute, with jitter.

    `only`: the types of problem that are tried again (`task-timed-out`), and no other; empty: what may pass by itself.
    """

    max_attempts: int = 5
    backoff_s: float = 1.0
    only: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "RetryPolicy":
        """What `as_json` stored."""
        return cls(**{**stored, "only": tuple(stored.get("only", ()))})

    def wait_s(self, error: BaseException, *, failures: int, jitter: float) -> float | None:
        """Seconds until the next try after `failures` tries failed, the last with `error`; None: give up.

        What is wrong now may be right later (`Unavailable` that `passes`, a time-out, anything unforeseen); what the
        domain refused stays refused; `only` says otherwise. `jitter` is between 0 and 1. A `retry_after_s` is a lower
        bound.
        """
        if not self._is_for(error) or failures >= self.max_attempts:
            return None
        return max(self._backoff_s(failures, jitter), float(getattr(error, "retry_after_s", None) or 0.0))

    def wait_named_s(self, slug: str, *, failures: int, jitter: float) -> float | None:
        """The same after a problem of which only the type is known: that has to be named in `only`."""
        if not self.names(slug) or failures >= self.max_attempts:
            return None
        return self._backoff_s(failures, jitter)

    def names(self, slug: str) -> bool:
        """Whether `only` names this type of problem, or what it was called before."""
        return slug in self.only or _FORMERLY.get(slug) in self.only

    def as_json(self) -> dict[str, Any]:
        """As stored with the task."""
        policy: dict[str, Any] = {"max_attempts": self.max_attempts, "backoff_s": self.backoff_s}
        return policy | ({"only": list(self.only)} if self.only else {})

    def _backoff_s(self, failures: int, jitter: float) -> float:
        return min(self.backoff_s * 2.0 ** min(failures - 1, 30), LONGEST_BACKOFF_S) * (0.5 + jitter / 2)

    def _is_for(self, error: BaseException) -> bool:
        if self.only:
            return self.names(slug_of(error))
        return error.passes if isinstance(error, Unavailable) else not isinstance(error, DomainError)


def slug_of(error: BaseException) -> str:
    """The type of problem that an error of a task is shown as."""
    if isinstance(error, DomainError):
        return error.type_slug()
    return TIMED_OUT if isinstance(error, TimeoutError) else UNFORESEEN
