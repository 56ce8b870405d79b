"""Facts that tenancy publishes."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.event import Event


@dataclass(frozen=True, kw_only=True)
class TenantCreated(Event):
    """A tenant exists, with its first project."""

    name: str
    project_id: UUID


@dataclass(frozen=True, kw_only=True)
class ProjectCreated(Event):
    """A tenant has one more project."""

    project_id: UUID
    name: str


@dataclass(frozen=True, kw_only=True)
class ApiKeyCreated(Event):
    """A key was made; its secret is known to its holder only."""

    api_key_id: UUID
    project_id: UUID
    name: str
    created_by: UUID | None


@dataclass(frozen=True, kw_only=True)
class ApiKeyRevoked(Event):
    """A key stopped working."""

    api_key_id: UUID


@dataclass(frozen=True, kw_only=True)
class ApiKeyRotated(Event):
    """A key got a successor and ends by itself at `ends_at` (ISO 8601)."""

    api_key_id: UUID
    successor_id: UUID
    ends_at: str
