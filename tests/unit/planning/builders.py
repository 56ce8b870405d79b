"""Planning's aggregates with everything given."""

from datetime import UTC, datetime
from typing import Any

from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.retry import RetryPolicy
from cognitionos.planning.domain.run import Run
from cognitionos.planning.domain.task import ClaimedTask

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def a_run(**changes: Any) -> Run:
    """A queued run without tasks."""
    given: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": new_id(),
        "project_id": new_id(),
        "goal_id": None,
        "api_key_id": None,
        "user": None,
        "created_at": NOON,
    }
    return Run(**{**given, **changes})


def a_claimed_task(key: str, **changes: Any) -> ClaimedTask:
    """A task under somebody's lease, started once."""
    given: dict[str, Any] = {
        "tenant_id": new_id(),
        "project_id": new_id(),
        "run_id": new_id(),
        "goal_id": None,
        "api_key_id": None,
        "user": None,
        "id": new_id(),
        "key": key,
        "kind": "agent",
        "spec": {},
        "attempt": 1,
        "failures": 0,
        "fence": 1,
        "retry": RetryPolicy(max_attempts=3, backoff_s=0.01),
        "timeout_s": 5.0,
    }
    return ClaimedTask(**{**given, **changes})
