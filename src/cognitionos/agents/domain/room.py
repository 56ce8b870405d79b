"""How much one question may show a model, and how long its answer may be: the agent's limits within the model's."""

from dataclasses import dataclass

from cognitionos.agents.domain.role import Limits

LEAST_ANSWER = 64
"""With less room left for the answer, nothing is asked."""
_ANSWER_SHARE = 4
"""Of a small model's window at most one part in so many is kept for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """In tokens, by our own estimate. `window` is what the model reads and writes together; None: more than is used."""

    prompt: int
    completion: int
    window: int | None = None

    @property
    def characters(self) -> int | None:
        """About how many characters a question has room for, where the model's window is what bounds it."""
        return None if self.window is None else 3 * self.prompt


def room_of(limits: Limits, window: int | None) -> Room:
    """What an agent of these limits has at a model of this window (None: unknown)."""
    if window is None or window >= limits.context_tokens + limits.completion_tokens:
        return Room(prompt=limits.context_tokens, completion=limits.completion_tokens)
    completion = min(limits.completion_tokens, window // _ANSWER_SHARE)
    return Room(prompt=min(limits.context_tokens, window - completion), completion=completion, window=window)
