"""Facts that memory publishes. They carry no content: what is erased must not live on in a queue."""

from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.event import Event


@dataclass(frozen=True, kw_only=True)
class MemoryRemembered(Event):
    """Something new is known in a project."""

    project_id: UUID
    memory_id: UUID
    kind: str


@dataclass(frozen=True, kw_only=True)
class MemoryForgotten(Event):
    """A memory was erased."""

    project_id: UUID
    memory_id: UUID
