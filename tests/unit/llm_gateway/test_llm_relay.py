"""What followers in one process hear of another's call, in whichever order its end and its answer are told."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from tests.fakes.llm_gateway_caches import MemorySharedAnswers, some_caches

from cognitionos.llm_gateway.application.cache_ports import Landed
from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.application.relay import Relay
from cognitionos.llm_gateway.application.single_flight import Flights, Over
from cognitionos.llm_gateway.domain.cached import Kept

TENANT, PIECE, OVER = uuid4(), Chunk(data=b"{}", text="one"), Over(cost_nanousd=7)


@dataclass
class ToldFlights:
    """A call of another process: what is told of it, in this order. What it leads to is stored when it has landed."""

    told: Sequence[Chunk | Over | Landed]
    shared: MemorySharedAnswers

    async def follow(self, tenant_id: UUID, key: str, leader: str) -> AsyncGenerator[Chunk | Over | Landed, None]:
        for said in self.told:
            await asyncio.sleep(0)
            if said is Landed.LANDED:
                now = time.time()
                self.shared.answers[tenant_id, key] = Kept(
                    wire=b"{}", model="m", cost_nanousd=7, stored_at=now, expires_at=now + 60, epoch=0, scopes=()
                )
            yield said


@pytest.mark.parametrize(
    "told", [(PIECE, OVER, Landed.LANDED), (PIECE, Landed.LANDED, OVER)], ids=["end first", "answer first"]
)
async def test_followers_of_pieces_hear_the_end_and_the_others_the_answer(
    told: Sequence[Chunk | Over | Landed],
) -> None:
    shared, flight = MemorySharedAnswers(), Flights().start("k", "leader")
    pieces, whole = flight.join(pieces=True), flight.join(pieces=False)
    far, voids = ToldFlights(told, shared), some_caches(shared).voids
    await voids.catch_up(TENANT, None)
    relay = Relay(tenant_id=TENANT, key="k", leader="leader", flight=flight, far=far, shared=shared, voids=voids)

    await relay.start()

    assert list(pieces.at_hand()) == [PIECE, OVER]
    (answer,) = whole.at_hand()
    assert isinstance(answer, Kept)
