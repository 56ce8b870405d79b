"""What happens in the turns that this process works on, for those who listen here. Nothing is kept."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID
from weakref import WeakSet

from cognitionos.agents.application.step_events import Told
from cognitionos.agents.domain.conversation import Turn


class Heard(NamedTuple):
    """What was told of turn `number` by whoever worked on it under `fence`."""

    number: int
    fence: int
    told: Told


Ear = asyncio.Queue[Heard]


@dataclass(slots=True)
class Feed:
    """One ear for each listener; an ear that nobody holds any more is forgotten. `closing`: the process stops.

    `speaking` are the turns that this process works on, by conversation.
    """

    closing: bool = False
    ears: dict[UUID, WeakSet[Ear]] = field(default_factory=dict)
    speaking: dict[UUID, Turn] = field(default_factory=dict)

    def listen(self, conversation_id: UUID) -> Ear:
        """Hear what is told of this conversation from now on."""
        ear: Ear = asyncio.Queue()
        self.ears.setdefault(conversation_id, WeakSet()).add(ear)
        return ear

    def tell(self, turn: Turn, told: Told) -> None:
        """Tell those who listen what happens in a turn of this process."""
        self.pass_on(turn.conversation_id, Heard(turn.number, turn.fence, told))

    def pass_on(self, conversation_id: UUID, heard: Heard) -> None:
        """Tell those who listen here what was heard, here or elsewhere."""
        ears = self.ears.get(conversation_id)
        if ears is None:
            return
        for ear in ears:
            ear.put_nowait(heard)
        if not ears:
            self.leave(conversation_id)

    def leave(self, conversation_id: UUID) -> None:
        """Forget the conversation where nobody listens."""
        if not self.ears.get(conversation_id):
            self.ears.pop(conversation_id, None)
