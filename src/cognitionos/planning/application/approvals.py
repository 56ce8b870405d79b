"""Approvals: a person says yes or no, once, and the task that waits goes on at once."""

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.planning.application.engine import TASKS, run_channel
from cognitionos.planning.domain.approval import Approval, ApprovalNotFound, Decision
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
DECIDED = declare("approvals.decided")
DECISIONS = "decisions"
"""The signal that somebody has decided."""

LONGEST_COMMENT = 4_000
_PREFIX = "cogap_"
_SECRET_BYTES = 32


class CommentTooLong(Invalid):
    """A comment has at most 4,000 characters."""


class ApprovalStore(Protocol):
    """Approvals of one tenant at a time."""

    async def decide(
        self, tenant_id: UUID, approval_id: UUID, decision: Decision, *, token_hash: bytes | None = None
    ) -> tuple[Approval, bool]:
        """Keep `decision` and wake the task, in one commit; the approval before it, and whether it was new.

        With a `token_hash` it must be the approval's. Raises `ApprovalNotFound`, and what `settle` raises.
        """

    async def give_token(
        self, tenant_id: UUID, approval_id: UUID, *, token_hash: bytes, person: str, for_approvers: bool
    ) -> Approval:
        """Keep the hash of the one token of a pending approval. Raises as `decide`.

        Unless `for_approvers`, one that names its approvers is refused too.
        """

    async def by_token(self, tenant_id: UUID, approval_id: UUID, token_hash: bytes) -> str:
        """Whose token it is, or `ApprovalNotFound`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """Use cases of approvals."""

    store: ApprovalStore
    signals: Signals
    now: Clock

    async def decide(self, who: Principal, approval_id: UUID, *, approved: bool, comment: str | None) -> None:
        """Approve or reject as `who`. The same again is fine; raises `ApprovalAlreadyDecided`, `NotAnApprover`."""
        by = who.user or (f"key:{who.api_key_id}" if who.api_key_id else "somebody")
        await self._decide(who.tenant_id, approval_id, self._decision(by, comment, approved=approved))

    async def link(self, who: Principal, approval_id: UUID, person: str) -> str:
        """A token with which `person` may decide without a key, once, until the deadline. An earlier one is void.

        It stands for that person: where the approval names its approvers, only who may make credentials may make it.

        Raises `ApprovalNotFound`, `ApprovalAlreadyDecided`, `NotAnApprover`.
        """
        token = _PREFIX + _encoded(who.tenant_id.bytes + approval_id.bytes + secrets.token_bytes(_SECRET_BYTES))
        may = who.may(Permission.KEYS_ADMIN)
        await self.store.give_token(
            who.tenant_id, approval_id, token_hash=_hash(token), person=person, for_approvers=may
        )
        log.info("approval_link_made", approval_id=str(approval_id), api_key_id=str(who.api_key_id))
        return token

    async def of_token(self, token: str) -> tuple[UUID, UUID]:
        """Tenant and approval that a token opens, or `ApprovalNotFound`."""
        tenant_id, approval_id = _opened(token)
        await self.store.by_token(tenant_id, approval_id, _hash(token))
        return tenant_id, approval_id

    async def decide_by_token(self, token: str, *, approved: bool, comment: str | None) -> None:
        """Decide as the person whom the token was made for."""
        tenant_id, approval_id = _opened(token)
        person = await self.store.by_token(tenant_id, approval_id, _hash(token))
        decision = self._decision(person, comment, approved=approved)
        await self._decide(tenant_id, approval_id, decision, token_hash=_hash(token))

    async def _decide(
        self, tenant_id: UUID, approval_id: UUID, decision: Decision, *, token_hash: bytes | None = None
    ) -> None:
        approval, is_new = await self.store.decide(tenant_id, approval_id, decision, token_hash=token_hash)
        crash_point(DECIDED)
        if is_new:
            log.info("approval_decided", approval_id=str(approval_id), decision=decision.status.value)
        for channel in (TASKS, run_channel(approval.run_id), DECISIONS):
            await self.signals.send(channel)

    def _decision(self, by: str, comment: str | None, *, approved: bool) -> Decision:
        if comment is not None and len(comment) > LONGEST_COMMENT:
            fault = {"comment": f"must have at most {LONGEST_COMMENT} characters"}
            raise CommentTooLong(f"comment: {fault['comment']}", fields=fault)
        return Decision(approved=approved, by=by, comment=comment, at=self.now())


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _opened(token: str) -> tuple[UUID, UUID]:
    """Tenant and approval named in a token; nothing of it is believed before its hash is found."""
    text = token.removeprefix(_PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApprovalNotFound("There is no approval for this link.") from error
    if not token.startswith(_PREFIX) or len(raw) != 32 + _SECRET_BYTES:
        raise ApprovalNotFound("There is no approval for this link.")
    return UUID(bytes=raw[:16]), UUID(bytes=raw[16:32])
