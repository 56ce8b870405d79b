"""How long to wait before asking again: doubling, capped, with jitter; a provider's own Retry-After goes first."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """`first_s` doubling to `cap_s`, +-`jitter` of itself; `rounds` is how often the whole route is tried."""

    first_s: float = 1.0
    cap_s: float = 60.0
    jitter: float = 0.1
    rounds: int = 3

    def wait_s(self, round_: int, *, chance: float, retry_after_s: float | None = None) -> float:
        """Seconds to wait after `round_` (0 is the first). `chance` is uniform in [0, 1)."""
        own = min(self.first_s * 2.0**round_, self.cap_s) * (1.0 + self.jitter * (2.0 * chance - 1.0))
        return own if retry_after_s is None else max(own, retry_after_s)
