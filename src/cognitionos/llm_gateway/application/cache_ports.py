"""Where the caches meet their stores. A layer forgets at will and never raises."""

from collections.abc import AsyncGenerator, Collection, Sequence
from enum import Enum
from typing import Protocol
from uuid import UUID

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.ports import Chunk
from cognitionos.llm_gateway.application.single_flight import By, NotShared, Over
from cognitionos.llm_gateway.domain.cached import MODEL, TAG, CacheWish, Kept, Voided
from cognitionos.llm_gateway.domain.chat import ChatRequest


@value
class CacheAsk:
    """One request as the caches see it. `key` is its fingerprint, `model` the candidate it would be sent to first, and
    `source` that one as it is today (another server may get its name).

    `scopes` are the words by which its answer can be declared void; `flight` names this attempt to get it. `takes` are
    the names of all that its own route may have answer.
    """

    tenant_id: UUID
    project_id: UUID
    key: str
    request: ChatRequest
    model: str
    source: str
    scopes: tuple[str, ...]
    wish: CacheWish
    flight: str
    takes: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """Of the scopes those that an answer which another request asked for may lack: its tags and models' names."""
        return frozenset(scope for scope in self.scopes if scope.startswith((TAG, MODEL)))


class CacheLayer(Protocol):
    """A layer below the exact ones, asked when they have nothing.

    What it gives is checked against invalidations, and kept in the exact layers under the new request's key.
    """

    @property
    def name(self) -> str:
        """The word in the ledger and in `x-cognitionos-cache`."""
        ...

    async def get(self, ask: CacheAsk) -> Kept | None:
        """An answer that will do, its `layer` and `similarity` set; `epoch` and `scopes` as they were put."""
        ...

    async def lent(self, tenant_id: UUID, call_id: UUID, kept: Kept) -> None:
        """A further call was given an answer that this layer lent to `kept.reuse`. Never raises."""
        ...

    def put(self, ask: CacheAsk, kept: Kept) -> None:
        """Keep a provider's fresh answer, in the background, not beyond `kept.expires_at`."""
        ...


class Turn(Enum):
    """Whose turn it is to ask the provider. `NOBODY`: nothing was reserved, ask if you must."""

    NOBODY = 0
    MINE = 1
    ANOTHERS = 2
    EVERYBODYS = 3


@value
class Look:
    """What the shared layer says of a key. `epoch` None: it does not know how many invalidations there were.

    `deeper`: the durable layer may have an answer. `reached` False: the shared layer is gone. `leader` names the call
    whose turn it is.
    """

    kept: Kept | None = None
    epoch: int | None = None
    deeper: bool = True
    turn: Turn = Turn.NOBODY
    leader: str = ""
    reached: bool = True


class SharedAnswers(Protocol):
    """The exact layer that all processes share, which also says whose turn it is to ask the provider."""

    async def look(self, tenant_id: UUID, key: str, *, flight: str | None, void: int | None = None) -> Look:
        """The answer, else whose turn it is; `flight` None takes no turn. An answer of epoch `void` is passed over."""
        ...

    def keep(self, tenant_id: UUID, key: str, kept: Kept, *, flight: str | None) -> None:
        """Keep an answer and end the flight, in the background. An answer older than an invalidation is dropped."""
        ...

    def give(self, tenant_id: UUID, key: str, kept: Kept, *, flight: str) -> None:
        """End the flight with an answer for those only who wait for it, in the background: it is not kept."""
        ...

    def end(self, tenant_id: UUID, key: str, flight: str, outcome: NotShared) -> None:
        """End a flight without an answer; `ALONE`: its answers are not shared, so nobody shall wait for one."""
        ...

    async def tell(self, tenant_id: UUID, epoch: int, *, nothing_deeper: bool) -> None:
        """Say how many invalidations there were."""
        ...


class Landed(Enum):
    """A call that another process made has ended as far as the shared layer is concerned: look there. `RESIGNED`: it
    only lets others go ahead."""

    LANDED = "landed"
    RESIGNED = "resigned"


Told = By | Chunk | Over | Kept | Landed
"""What is heard of another process's call. `Kept`: it has landed with an answer that is kept nowhere."""


class FarFlights(Protocol):
    """The calls that other processes make, as they go on."""

    def follow(self, tenant_id: UUID, key: str, leader: str) -> AsyncGenerator[Told, None]:
        """What its leader says from its beginning; pieces may come after it has landed. Ends without `Over` when it
        has said nothing for so long that its process is gone, or the shared layer is. Never raises.
        """
        ...


class DurableAnswers(Protocol):
    """The exact layer that outlives the shared one, and the invalidations. `get` and `put` never raise."""

    async def get(self, tenant_id: UUID, key: str) -> tuple[Kept | None, int | None]:
        """The answer, and how many invalidations there were (None: it does not answer)."""
        ...

    def put(self, tenant_id: UUID, key: str, kept: Kept) -> None:
        """Keep an answer, in the background."""
        ...

    async def name(self, tenant_id: UUID, key: str, scopes: Collection[str]) -> None:
        """Have these scopes declare the answer of a key void too, in whatever layer it is. Never raises."""
        ...

    async def voided(self, tenant_id: UUID) -> tuple[Voided, bool] | None:
        """The tenant's invalidations, and whether there is any answer of it; None: it does not answer."""
        ...

    async def void(self, tenant_id: UUID, scopes: Sequence[str]) -> tuple[Voided, int]:
        """Declare every answer of these scopes void; how many were deleted here. Raises `Unavailable`."""
        ...
