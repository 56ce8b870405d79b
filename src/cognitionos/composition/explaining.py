"""Explanations of runs, put together from three contexts."""

from collections.abc import Sequence
from uuid import UUID

from cognitionos.agents.infrastructure.decision_queries import DecisionQueries
from cognitionos.llm_gateway.infrastructure.budget_history import BudgetHistory
from cognitionos.llm_gateway.infrastructure.usage_queries import LedgerQueries
from cognitionos.planning.infrastructure.http_explain import Explanations, Paid
from cognitionos.platform.database import Database


def build(database: Database) -> Explanations:
    """Explanations on `database`. No I/O."""
    ledger = LedgerQueries(database)

    async def calls(tenant_id: UUID, call_ids: Sequence[UUID]) -> Sequence[Paid]:
        return await ledger.called(tenant_id, call_ids)

    async def spent(tenant_id: UUID, run_id: UUID) -> int:
        return await ledger.spent_by_runs(tenant_id, [run_id])

    return Explanations(
        database=database,
        decisions=DecisionQueries(database).of_run,
        calls=calls,
        spent=spent,
        left_before=BudgetHistory(database).of_run,
    )
