"""Where the use cases meet providers, stores and clocks. Each has a twin in `tests/fakes`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.domain.budget import Held, Hold, Period, Spend, Terms
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text, Usage
from cognitionos.llm_gateway.domain.circuit import Circuit
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.route import Candidate


@value
class Answer:
    """A whole answer in OpenAI's wire shape. `usage` None: the provider did not say."""

    wire: dict[str, Any]
    usage: Usage | None


TOGETHER = b"\n\ndata: "
"""Between the texts of events that are given as one: what stands between them in a stream of server-sent events."""


@dataclass(slots=True, kw_only=True)  # not frozen: that doubles what it costs to make one, and there are many
class Chunk:
    """One event of a streamed answer. `data` is its JSON text; `text` the words it adds to the first choice.

    Where the request allows it, several events that came together: `data` is their texts with `TOGETHER` between.

    `tokens` is a count of the pieces of output in it (text, reasoning, tool arguments), `beside` the bytes of those
    that are not `text`, where it is not `plain`; `bare_usage` says that it carries usage and nothing else. `usage` that
    is marked as estimated is what was used until here.
    """

    data: bytes
    text: str = ""
    tokens: int = 0
    beside: int = 0
    finish_reason: str | None = None
    usage: Usage | None = None
    bare_usage: bool = False
    plain: bool = True
    """Whether text and finish reason are all there is: no thoughts, no further choice, no log probabilities."""
    shared: bool = True
    """Whether it may be told to callers of identical requests: a tool call is nobody else's."""
    ends: bool = False
    """Whether the end of the answer came with it: nothing that is still awaited follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Embeddings as a provider gave them."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None


class Provider(Protocol):
    """Something that answers for models. Each method raises `ProviderFailure` or `RequestRefused`."""

    @property
    def name(self) -> str:
        """The first part of its models' names."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether its words mean nothing."""
        ...

    def check(self, request: ChatRequest) -> None:
        """Raise what `chat` would, where the request alone says so: nothing is sent."""
        ...

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """The whole answer at once."""
        ...

    def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """The answer piece by piece; the usage comes in one of the last chunks, or never."""
        ...

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """One vector per text, in order. Texts and tokens do not come together."""
        ...

    async def models(self) -> Sequence[str]:
        """The models it has, under its own names; empty where it does not say."""
        ...


class BudgetStore(Protocol):
    """Holds and settlements. Money is exact under concurrency, or these raise `Unavailable`."""

    def hold(self, hold: Hold) -> Awaitable[Held]:
        """Hold the amount on every budget of the call's subjects, all or nothing. Safe to repeat."""
        ...

    def settle(self, call: Call) -> Awaitable[None]:
        """Write the ledger row, book the cost, release the hold: once per call id, however often it is called.

        Goes on to its end although whoever waits for it is cancelled.
        """
        ...

    async def release(self, call_id: UUID) -> None:
        """Give back a hold whose call never started; nothing is booked."""
        ...

    async def send(self, call_id: UUID) -> bool:
        """Note that a call which queued goes to its provider now. False: its hold is gone, so it must not."""
        ...

    async def exhausted(self, tenant_id: UUID, subject: str, period: Period) -> None:
        """Note that a budget near its end refused a call: an alert, once in its period."""
        ...

    async def open(
        self,
        tenant_id: UUID,
        subject: str,
        *,
        limit_nanousd: int,
        period: Period,
        terms: Terms | None = None,
        given: Collection[str] = (),
    ) -> UUID:
        """Make the budget of `subject`, or change its limit and the `given` terms.

        Raises `TimeZoneUnknown`, `SharesCrossed`.
        """
        ...

    async def spend(self, tenant_id: UUID, subject: str) -> Spend:
        """The state of a subject's tightest budget; without one, the sum of its ledger rows."""
        ...


class Prices(Protocol):
    """What models cost."""

    async def price(self, tenant_id: UUID, candidate: Candidate) -> Price | None:
        """The tenant's own price, else the provider's, else the public table's; None: nobody knows."""
        ...


CircuitStep = Callable[[Circuit, float], Circuit | None]
"""What becomes of a circuit at a time; None: it refuses."""


class CircuitStore(Protocol):
    """The circuits that all processes share; while the shared place is gone, this process's own."""

    @property
    def known(self) -> Mapping[str, Circuit]:
        """What this process knows, at most about a second old. A deployment that is not in it is closed, unfailed."""
        ...

    def now(self) -> float:
        """Seconds since the epoch by the clock that all processes share."""
        ...

    async def change(self, deployment: str, step: CircuitStep) -> Circuit | None:
        """Take a step on the circuit as it is now, atomically; gives what became of it. Never raises for itself."""
        ...


Observe = Callable[[Call], None]
"""Counts a finished call in the metrics."""
Refused = Callable[[str], None]
"""Counts a refusal for money by the kind of the budget's subject."""
Sleep = Callable[[float], Awaitable[None]]
Monotonic = Callable[[], float]
Chance = Callable[[], float]
Encode = Callable[[Any], bytes]
