"""Something that waits for a person: a question with a deadline, answered once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import Conflict, Forbidden, Invalid, NotFound

DEFAULTS = ("approve", "reject", "fail")
DEADLINE_S = 86_400.0


class ApprovalStatus(StrEnum):
    """`expired`: nobody decided in time, and the default counts. `cancelled`: the run ended before."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ApprovalNotFound(NotFound):
    """No such approval, or not of this tenant."""


class ApprovalAlreadyDecided(Conflict):
    """It was decided otherwise before, ran out, or its run has ended: an approval is used once."""


class NotAnApprover(Forbidden):
    """The approval names who may decide, and this is somebody else."""


class ApprovalRejected(Invalid):
    """A person said no, and the task has nothing else to go on with."""


class ApprovalExpired(Invalid):
    """Nobody decided in time, and the task has nothing else to go on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is put before a person. `key` tells the questions of one task apart; asked again, nothing is added.

    `approvers` are the users who may decide; none: whoever has the permission.
    """

    key: str
    prompt: str
    details: Any = None
    deadline_s: float = DEADLINE_S
    default: str = "fail"
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question as it stands."""

    id: UUID
    tenant_id: UUID
    run_id: UUID
    task_id: UUID
    key: str
    approvers: tuple[str, ...]
    status: ApprovalStatus
    deadline_at: datetime
    decided_by: str | None
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person said."""

    approved: bool
    by: str
    comment: str | None
    at: datetime

    @property
    def status(self) -> ApprovalStatus:
        """As the approval's."""
        return ApprovalStatus.APPROVED if self.approved else ApprovalStatus.REJECTED

    def as_state(self) -> Mapping[str, Any]:
        """As the waiting task gets it."""
        return {
            "decision": self.status.value,
            "by": self.by,
            "comment": self.comment,
            "at": self.at.isoformat(),
        }


def settle(approval: Approval, decision: Decision) -> bool:
    """Whether `decision` is to be kept; False: the same was decided before by the same. Raises if it may not be."""
    if approval.status is decision.status and approval.decided_by == decision.by:
        return False
    if approval.status is not ApprovalStatus.PENDING:
        raise ApprovalAlreadyDecided(f"The approval {approval.id} is {approval.status} already.")
    must_be_approver(approval, decision.by)
    if approval.deadline_at <= decision.at:
        raise ApprovalAlreadyDecided(f"The approval {approval.id} ran out at {approval.deadline_at.isoformat()}.")
    return True


def must_be_approver(approval: Approval, person: str) -> None:
    """Raise `NotAnApprover` where the approval names others."""
    if approval.approvers and person not in approval.approvers:
        raise NotAnApprover(f"The approval {approval.id} is for: {', '.join(approval.approvers)}.")
