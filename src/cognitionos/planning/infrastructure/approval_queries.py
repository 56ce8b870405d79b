"""Reads of approvals."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from cognitionos.planning.domain.approval import ApprovalNotFound, ApprovalStatus
from cognitionos.platform.database import Database

_COLUMNS = """
id, status, run_id, conversation_id,
task_key AS task, prompt, details, approvers, default_decision AS default, created_at, deadline_at,
decided_at, decided_by, comment, '/v1/approvals/' || id AS href, '/v1/runs/' || run_id AS run_href,
'/v1/conversations/' || conversation_id AS conversation_href
"""
_LIST = f"""
SELECT {_COLUMNS} FROM approvals
WHERE (%(after)s::uuid IS NULL OR id < %(after)s) AND (%(status)s::text IS NULL OR status = %(status)s)
  AND (%(run)s::uuid IS NULL OR run_id = %(run)s)
  AND (%(conversation)s::uuid IS NULL OR conversation_id = %(conversation)s)
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - a constant
_ONE = f"SELECT {_COLUMNS} FROM approvals WHERE id = %(id)s"  # noqa: S608 - a constant


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """A question to a person. `default` counts when nobody decides before `deadline_at`; then it is `expired`.

    `approvers` are the users who may decide; empty: whoever has the scope. What waits is a task of a run, or a turn of
    a conversation: the other's fields are null.
    """

    id: UUID
    status: ApprovalStatus
    run_id: UUID | None
    conversation_id: UUID | None
    task: str
    prompt: str
    details: Any
    approvers: list[str]
    default: str
    created_at: datetime
    deadline_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    comment: str | None
    href: str
    run_href: str | None
    conversation_href: str | None


class NewestApproval(NamedTuple):
    """Where a page ended: ids sort by time."""

    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalQueries:
    """A tenant's own view of its approvals."""

    database: Database

    async def approvals(
        self,
        tenant_id: UUID,
        *,
        limit: int,
        after: NewestApproval | None,
        status: ApprovalStatus | None,
        run_id: UUID | None,
        conversation_id: UUID | None = None,
    ) -> list[ApprovalView]:
        """The newest `limit + 1` after the cursor."""
        values = {
            "after": after and after.id,
            "status": status and status.value,
            "run": run_id,
            "conversation": conversation_id,
            "limit": limit + 1,
        }
        return await self._read(tenant_id, _LIST, values)

    async def approval(self, tenant_id: UUID, approval_id: UUID) -> ApprovalView:
        """One, or `ApprovalNotFound`."""
        found = await self._read(tenant_id, _ONE, {"id": approval_id})
        if not found:
            raise ApprovalNotFound(f"There is no approval {approval_id}.")
        return found[0]

    async def _read(self, tenant_id: UUID, query: str, values: dict[str, Any]) -> list[ApprovalView]:
        async with (
            self.database.transaction(tenant_id) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(query.encode(), values)
            return [msgspec.convert(row, ApprovalView) for row in await cursor.fetchall()]
