"""Explanations of runs, put together from three contexts."""

from collections.abc import Sequence
from uuid import UUID

from cognitionos.agents.infrastructure.decision_queries import MOST_DECISIONS, DecisionQueries
from cognitionos.llm_gateway.infrastructure.budget_history import BudgetHistory
from cognitionos.llm_gateway.infrastructure.usage_queries import CallFilter, LedgerQueries
from cognitionos.planning.infrastructure.http_explain import Explanations, Paid
from cognitionos.platform.database import Database


def build(database: Database) -> Explanations:
    """Explanations on `database`. No I/O."""
    ledger = LedgerQueries(database)

    async def calls(tenant_id: UUID, run_id: UUID) -> Sequence[Paid]:
        return await ledger.calls(tenant_id, CallFilter(run=run_id), after=None, limit=MOST_DECISIONS)

    return Explanations(
        database=database,
        decisions=DecisionQueries(database).of_run,
        calls=calls,
        left_before=BudgetHistory(database).of_run,
    )
