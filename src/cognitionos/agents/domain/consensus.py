"""Several critics judge the same draft, each for itself: two thirds of all of them must accept."""

from dataclasses import dataclass

from cognitionos.agents.domain.verdict import Verdict

DEADLINE_S = 120.0
GRACE_S = 0.25
"""How long a rejection that is certain waits for the reasons of the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """The votes that came in time, by the number of the critic (from 0), of `critics` that were asked."""

    critics: int
    votes: dict[int, Verdict]

    @property
    def accepting(self) -> int:
        """How many accepted."""
        return sum(1 for vote in self.votes.values() if vote.accepted)

    @property
    def is_accepted(self) -> bool:
        """At least two thirds of those asked accepted; who did not vote did not accept."""
        return 3 * self.accepting >= 2 * self.critics

    @property
    def is_open(self) -> bool:
        """Too few voted to say anything: it is not accepted, and nobody says what is wrong."""
        return not self.is_accepted and self.accepting == len(self.votes)

    @property
    def is_decided(self) -> bool:
        """Nobody who has not voted yet can change whether it is accepted."""
        rejecting = len(self.votes) - self.accepting
        return self.is_accepted or 3 * (self.critics - rejecting) < 2 * self.critics

    def verdict(self) -> Verdict:
        """One verdict out of all: each reason once, in the order of the critics."""
        if self.is_accepted:
            return Verdict(accepted=True, reasons=())
        reasons = [reason for number in sorted(self.votes) for reason in self.votes[number].reasons]
        return Verdict(accepted=False, reasons=tuple(dict.fromkeys(reasons)))


def stance(number: int, critics: int) -> str:
    """What sets a critic apart from the others, who see the same."""
    return f"You are critic {number + 1} of {critics}. Judge on your own; the others are not known to you."
