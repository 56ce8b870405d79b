"""Approvals and signals over HTTP: what runs wait for."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.approvals import LONGEST_COMMENT, Approvals
from cognitionos.planning.application.run_signals import RunSignals
from cognitionos.planning.domain.approval import ApprovalStatus
from cognitionos.planning.infrastructure.approval_queries import ApprovalQueries, ApprovalView, NewestApproval
from cognitionos.platform.http_api import Who, instance, problems, public, requires
from cognitionos.platform.idempotency import shows_secret
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

Comment = Annotated[str, msgspec.Meta(max_length=LONGEST_COMMENT)]


class Verdict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why, for those who read it later."""

    comment: Comment | None = None


class LinkVerdict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the person behind a link says."""

    decision: Literal["approve", "reject"]
    comment: Comment | None = None


class MakeLink(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom the link is for: the decision is kept under this name."""

    person: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ApprovalLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that decides once, without a key. It is shown this once; only its hash is kept."""

    href: str
    token: str
    expires_at: datetime


class LinkedApproval(msgspec.Struct, frozen=True, kw_only=True):
    """What the person behind a link sees."""

    status: ApprovalStatus
    prompt: str
    details: Any
    deadline_at: datetime
    comment: str | None


class SendSignal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the task that waits gives as its output."""

    payload: Any = None


class SignalSent(msgspec.Struct, frozen=True, kw_only=True):
    """`delivered`: a task waited for it, `task` names it. Otherwise it is kept for the first that will."""

    run_id: UUID
    name: str
    delivered: bool
    task: str | None


class ApprovalRoutes(Controller):
    """What waits for a person."""

    path = "/v1/approvals"
    tags = ("approvals",)

    @get(guards=[requires(Permission.RUNS_READ)], summary="List approvals")
    async def list_approvals(
        self,
        approval_queries: NamedDependency[ApprovalQueries],
        who: Who,
        status: FromQuery[ApprovalStatus | None] = None,
        run_id: FromQuery[UUID | None] = None,
        conversation_id: FromQuery[UUID | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ApprovalView]:
        """Newest first; `status=pending` are those that wait."""
        after = decode_cursor(cursor, NewestApproval)
        rows = await approval_queries.approvals(
            who.tenant_id, limit=limit, after=after, status=status, run_id=run_id, conversation_id=conversation_id
        )
        return page(rows, limit, lambda row: (row.id,))

    @get(
        "/{approval_id:uuid}",
        guards=[requires(Permission.RUNS_READ)],
        summary="Read an approval",
        responses=problems(404),
    )
    async def read(
        self, approval_id: FromPath[UUID], approval_queries: NamedDependency[ApprovalQueries], who: Who
    ) -> ApprovalView:
        """What is asked, and what was decided by whom."""
        return await approval_queries.approval(who.tenant_id, approval_id)

    @post(
        "/{approval_id:uuid}/approve",
        status_code=200,
        guards=[requires(Permission.APPROVALS_DECIDE)],
        summary="Approve",
        responses=problems(404, 409),
    )
    async def approve(
        self,
        approval_id: FromPath[UUID],
        data: JSONBody[Verdict],
        approvals: NamedDependency[Approvals],
        approval_queries: NamedDependency[ApprovalQueries],
        who: Who,
    ) -> ApprovalView:
        """The task that waits goes on at once. The same again by the same is fine, anything else is a 409."""
        await approvals.decide(who, approval_id, approved=True, comment=data.comment)
        return await approval_queries.approval(who.tenant_id, approval_id)

    @post(
        "/{approval_id:uuid}/reject",
        status_code=200,
        guards=[requires(Permission.APPROVALS_DECIDE)],
        summary="Reject",
        responses=problems(404, 409),
    )
    async def reject(
        self,
        approval_id: FromPath[UUID],
        data: JSONBody[Verdict],
        approvals: NamedDependency[Approvals],
        approval_queries: NamedDependency[ApprovalQueries],
        who: Who,
    ) -> ApprovalView:
        """As `approve`; what a no means for the run, its task says."""
        await approvals.decide(who, approval_id, approved=False, comment=data.comment)
        return await approval_queries.approval(who.tenant_id, approval_id)

    @post(
        "/{approval_id:uuid}/link",
        status_code=201,
        guards=[requires(Permission.APPROVALS_DECIDE)],
        opt=shows_secret(),
        summary="Make a link for somebody without a key",
        responses=problems(404, 409),
    )
    async def link(
        self,
        approval_id: FromPath[UUID],
        data: JSONBody[MakeLink],
        approvals: NamedDependency[Approvals],
        approval_queries: NamedDependency[ApprovalQueries],
        who: Who,
    ) -> ApprovalLink:
        """Works once, until the deadline. A further link makes the one before it void.

        Where the approval names its approvers, the link is one's credential, and making it needs `keys:admin` too.
        """
        token = await approvals.link(who, approval_id, data.person)
        view = await approval_queries.approval(who.tenant_id, approval_id)
        return ApprovalLink(href=f"/v1/approval-links/{token}", token=token, expires_at=view.deadline_at)


class ApprovalLinkRoutes(Controller):
    """One question, for whoever holds its link."""

    path = "/v1/approval-links"
    tags = ("approvals",)

    @get("/{token:str}", opt=public(), summary="Read what a link asks", responses=problems(404))
    async def read_link(
        self,
        token: FromPath[str],
        approvals: NamedDependency[Approvals],
        approval_queries: NamedDependency[ApprovalQueries],
    ) -> LinkedApproval:
        """Needs no key: the link is the credential."""
        return await _linked(token, approvals, approval_queries)

    @post("/{token:str}", status_code=200, opt=public(), summary="Decide by a link", responses=problems(404, 409))
    async def decide(
        self,
        token: FromPath[str],
        data: JSONBody[LinkVerdict],
        approvals: NamedDependency[Approvals],
        approval_queries: NamedDependency[ApprovalQueries],
    ) -> LinkedApproval:
        """Once; the same again is fine."""
        await approvals.decide_by_token(token, approved=data.decision == "approve", comment=data.comment)
        return await _linked(token, approvals, approval_queries)


@post(
    "/v1/runs/{run_id:uuid}/signals/{name:str}",
    status_code=202,
    guards=[requires(Permission.RUNS_WRITE)],
    summary="Send a signal to a run",
    tags=["runs"],
    responses=problems(404, 409),
)
async def send_signal(
    run_id: FromPath[UUID],
    name: FromPath[str],
    data: JSONBody[SendSignal],
    run_signals: NamedDependency[RunSignals],
    who: Who,
) -> SignalSent:
    """For the first task of kind `wait` that waits for this name, now or later; each signal wakes one task once."""
    task = await run_signals.send(who, run_id, name, data.payload)
    return SignalSent(run_id=run_id, name=name, delivered=task is not None, task=task)


def routes(*, approvals: Approvals, queries: ApprovalQueries, signals: RunSignals) -> Router:
    """Everything that runs wait for from outside."""
    return Router(
        "/",
        route_handlers=[ApprovalRoutes, ApprovalLinkRoutes, send_signal],
        dependencies={
            "approvals": instance(approvals),
            "approval_queries": instance(queries),
            "run_signals": instance(signals),
        },
    )


async def _linked(token: str, approvals: Approvals, queries: ApprovalQueries) -> LinkedApproval:
    view = await queries.approval(*await approvals.of_token(token))
    return LinkedApproval(
        status=view.status,
        prompt=view.prompt,
        details=view.details,
        deadline_at=view.deadline_at,
        comment=view.comment,
    )
