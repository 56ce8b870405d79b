"""Following another process's call, on behalf of everybody in this one who asks the same."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.llm_gateway.application.cache_ports import FarFlights, Landed, SharedAnswers
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.application.single_flight import By, Feed, Flight, NotShared, Over
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.chat import CACHE_COALESCED

LOST = "the process that asked for this answer is gone"


@dataclass(eq=False, slots=True, kw_only=True)
class Relay:
    """Gives the pieces on to `flight`, and ends it as the call of `leader` ends. Stops when nobody follows any more."""

    tenant_id: UUID
    key: str
    leader: str
    flight: Flight
    far: FarFlights
    shared: SharedAnswers
    voids: Voids
    task: "asyncio.Task[None]" = field(init=False)
    _pieces: list[Chunk] = field(default_factory=list)
    _over: Over | None = None

    def start(self) -> "asyncio.Task[None]":
        """Start on the running loop."""
        self.flight.begins(self)
        self.task = asyncio.get_running_loop().create_task(self._run(), name="llm_gateway.relay")
        return self.task

    def joined(self, feed: Feed) -> None:
        """All that was said so far."""
        if feed.pieces:
            for piece in self._pieces:
                feed.tell(piece)
            if self._pieces and self._over is not None:
                feed.tell(self._over)

    def deserted(self) -> None:
        """Nobody is left to give anything to."""
        self.task.cancel()

    async def _run(self) -> None:
        try:
            async with aclosing(self.far.follow(self.tenant_id, self.key, self.leader)) as heard:
                async for said in heard:
                    if isinstance(said, Over):
                        self._over = said
                        self.flight.over(said)
                    elif isinstance(said, Chunk):
                        self._give(said)
                    elif isinstance(said, By):
                        self.flight.model = said.model
                    else:
                        await self._land(said)
                        if not self.flight.is_followed:
                            break
        finally:
            self.flight.end(NotShared.FAILED)
            if self._over is None:
                self.flight.over(Over(broken=LOST))
            self.flight.stops()

    def _give(self, piece: Chunk) -> None:
        self._pieces.append(piece)
        waiting = self.flight.waiting()
        self.flight.give((piece,))
        for feed in waiting:
            self.joined(feed)

    async def _land(self, said: Kept | Landed) -> None:
        """The answer for those who got no piece; without one, somebody of them asks."""
        otherwise = NotShared.RESIGNED if said is Landed.RESIGNED else NotShared.FAILED
        if isinstance(said, Kept):
            kept: Kept | None = said
        else:
            kept = (await self.shared.look(self.tenant_id, self.key, flight=None)).kept
        shared = kept is not None and self.voids.allows(self.tenant_id, kept)
        self.flight.end(replace(kept, layer=CACHE_COALESCED) if kept and shared else otherwise)
