"""The door to each deployment: its circuit first, then its bulkhead. A healthy one costs no round trip anywhere."""

import asyncio
from dataclasses import dataclass, field

from cognitionos.llm_gateway.application.bulkhead import Bulkhead, BulkheadFull
from cognitionos.llm_gateway.application.ports import CircuitStep, CircuitStore
from cognitionos.llm_gateway.domain.circuit import CircuitRules, CircuitState
from cognitionos.llm_gateway.domain.errors import CircuitOpen, DeploymentFull

MOST_BULKHEADS = 2_000
ASK_AGAIN_S = 1.0
"""After how long to come back to a circuit whose probes are all under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many calls one deployment may have: under way, waiting, and for how long they wait."""

    places: int = 256
    queue: int = 64
    wait_s: float = 2.0


@dataclass(slots=True, kw_only=True)
class Deployments:
    """Circuits and bulkheads of every deployment that was ever asked for."""

    circuits: CircuitStore
    rules: CircuitRules = field(default_factory=CircuitRules)
    crowd: Crowd = field(default_factory=Crowd)
    _bulkheads: dict[str, Bulkhead] = field(default_factory=dict)
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    async def enter(self, deployment: str, *, within_s: float) -> "Slot":
        """A place at `deployment`. Raises `CircuitOpen` or `DeploymentFull`, at once unless the queue has room."""
        probing = deployment in self.circuits.known and await self._probe(deployment)
        bulkhead = self._bulkheads.get(deployment) or self._bulkhead(deployment)
        slot = Slot(self, deployment, bulkhead, probing)
        if bulkhead.enter_now():
            return slot
        try:
            await bulkhead.wait(min(self.crowd.wait_s, within_s))
        except BaseException as error:
            slot.release_probe()
            if isinstance(error, BulkheadFull):
                raise DeploymentFull from None
            raise
        return slot

    def has_place(self, deployment: str) -> bool:
        """Whether a call would enter at once, as far as this process knows."""
        bulkhead = self._bulkheads.get(deployment)
        return bulkhead is None or bulkhead.taken < bulkhead.places

    def is_full(self, deployment: str) -> bool:
        """Whether a call would be turned away at once for want of a place, as far as this process knows."""
        known, bulkhead = self.circuits.known.get(deployment), self._bulkheads.get(deployment)
        is_whole = known is None or known.state is CircuitState.CLOSED
        return is_whole and bulkhead is not None and bulkhead.is_full

    async def settled(self) -> None:
        """Wait for what goes on in the background."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    async def _probe(self, deployment: str) -> bool:
        """Whether the call is a probe; raises `CircuitOpen` where none may be sent."""
        known = self.circuits.known[deployment]
        if known.state is CircuitState.CLOSED:
            return False
        wait_s = known.reopens_in_s(self.circuits.now(), self.rules)
        if known.state is CircuitState.OPEN and wait_s > 0:
            raise CircuitOpen(wait_s)
        after = await self.circuits.change(deployment, lambda circuit, now: circuit.probed(now, self.rules))
        if after is None:
            known = self.circuits.known.get(deployment, known)
            wait_s = known.reopens_in_s(self.circuits.now(), self.rules)
            raise CircuitOpen(wait_s if known.state is CircuitState.OPEN else min(wait_s, ASK_AGAIN_S))
        return after.state is CircuitState.HALF_OPEN

    def _bulkhead(self, deployment: str) -> Bulkhead:
        if len(self._bulkheads) >= MOST_BULKHEADS:  # callers may name any model
            self._bulkheads = {name: each for name, each in self._bulkheads.items() if not each.is_idle}
        made = Bulkhead(places=self.crowd.places, queue=self.crowd.queue)
        self._bulkheads[deployment] = made
        return made

    async def failed(self, deployment: str) -> None:
        """One failure more."""
        await self.circuits.change(deployment, lambda circuit, now: circuit.failed(now, self.rules))

    def succeeded(self, deployment: str) -> None:
        """One success more. Told in the background: no answer waits for it."""
        if deployment in self.circuits.known:
            self._later(deployment, lambda circuit, now: circuit.succeeded(now, self.rules))

    def released(self, deployment: str) -> None:
        """A probe ended without a verdict."""
        self._later(deployment, lambda circuit, _now: circuit.released())

    def _later(self, deployment: str, step: CircuitStep) -> None:
        task = asyncio.get_running_loop().create_task(self._change(deployment, step))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _change(self, deployment: str, step: CircuitStep) -> None:
        await self.circuits.change(deployment, step)


@dataclass(slots=True)
class Slot:
    """A place that is taken. One verdict, one `end`; an `end` more does nothing."""

    _deployments: Deployments
    _deployment: str
    _bulkhead: Bulkhead
    _probing: bool
    _left: bool = False

    def end(self) -> None:
        """Give the place back; without a verdict until now there is none."""
        self.release_probe()
        if not self._left:
            self._left = True
            self._bulkhead.leave()

    def succeeded(self) -> None:
        """The deployment answered, be it that the request is wrong."""
        self._probing = False
        self._deployments.succeeded(self._deployment)

    async def failed(self) -> None:
        """The deployment is at fault."""
        self._probing = False
        await self._deployments.failed(self._deployment)

    def release_probe(self) -> None:
        """Nothing was learned."""
        if self._probing:
            self._probing = False
            self._deployments.released(self._deployment)
