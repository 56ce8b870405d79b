"""Who is asking: the answer of authentication, and what every use case takes first."""

from enum import StrEnum
from uuid import UUID

from cognitionos.kernel.value import value


class Permission(StrEnum):
    """One word per thing a route may do. A key's scopes are a set of these."""

    GOALS_READ = "goals:read"
    GOALS_WRITE = "goals:write"
    RUNS_READ = "runs:read"
    RUNS_WRITE = "runs:write"
    APPROVALS_DECIDE = "approvals:decide"
    AGENTS_READ = "agents:read"
    AGENTS_ADMIN = "agents:admin"
    TOOLS_ADMIN = "tools:admin"
    MODELS_CALL = "models:call"
    MODELS_ADMIN = "models:admin"
    MEMORIES_READ = "memories:read"
    MEMORIES_WRITE = "memories:write"
    USAGE_READ = "usage:read"
    BUDGETS_WRITE = "budgets:write"
    KEYS_ADMIN = "keys:admin"
    TENANT_ADMIN = "tenant:admin"


@value
class Principal:
    """An authenticated caller. The tenant comes from the credential alone, never from the request."""

    tenant_id: UUID
    project_id: UUID
    api_key_id: UUID | None
    permissions: frozenset[Permission]
    user: str | None = None

    def may(self, permission: Permission) -> bool:
        """Whether this caller holds `permission`."""
        return permission in self.permissions
