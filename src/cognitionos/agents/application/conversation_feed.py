"""What happens in the turns that this process works on, for those who listen here. Nothing is kept."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID
from weakref import WeakSet

from cognitionos.agents.application.step_events import Told

Ear = asyncio.Queue[Told]


@dataclass(slots=True)
class Feed:
    """One ear for each listener; an ear that nobody holds any more is forgotten. `closing`: the process stops."""

    closing: bool = False
    ears: dict[UUID, WeakSet[Ear]] = field(default_factory=dict)

    def listen(self, conversation_id: UUID) -> Ear:
        """Hear what is told of this conversation from now on."""
        ear: Ear = asyncio.Queue()
        self.ears.setdefault(conversation_id, WeakSet()).add(ear)
        return ear

    def tell(self, conversation_id: UUID, told: Told) -> None:
        """Tell those who listen."""
        ears = self.ears.get(conversation_id)
        if ears is None:
            return
        for ear in ears:
            ear.put_nowait(told)
        if not ears:
            self.leave(conversation_id)

    def leave(self, conversation_id: UUID) -> None:
        """Forget the conversation where nobody listens."""
        if not self.ears.get(conversation_id):
            self.ears.pop(conversation_id, None)
