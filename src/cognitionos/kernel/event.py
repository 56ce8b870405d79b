"""What every event has: whom it concerns, when it happened, and an id that makes its effect happen once."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cognitionos.kernel.ids import new_id


@dataclass(frozen=True, kw_only=True)
class Event:
    """A fact in the past tense. Subclasses live in `cognitionos.events`, one module per publishing context."""

    tenant_id: UUID
    at: datetime
    event_id: UUID = field(default_factory=new_id)
