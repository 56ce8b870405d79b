"""Facts that planning publishes."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.event import Event


@dataclass(frozen=True, kw_only=True)
class GoalSubmitted(Event):
    """Somebody wants something done."""

    project_id: UUID
    goal_id: UUID
    run_id: UUID
    statement: str


@dataclass(frozen=True, kw_only=True)
class GoalCancelled(Event):
    """Somebody no longer wants it."""

    project_id: UUID
    goal_id: UUID
    run_id: UUID


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A run ended: `status` is succeeded, failed or cancelled. `result_text` is null unless it succeeded with one."""

    project_id: UUID
    run_id: UUID
    status: str
    goal_id: UUID | None = None
    api_key_id: UUID | None = None
    user: str | None = None
    statement: str | None = None
    result_text: str | None = None
    error_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class WebhookDue(Event):
    """A message to a tenant's own endpoint is to be sent now."""

    delivery_id: UUID
