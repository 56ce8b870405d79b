"""Circuits in one process's memory, by a clock that a test moves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cognitionos.llm_gateway.application.ports import CircuitStep
from cognitionos.llm_gateway.domain.circuit import CLOSED, Circuit


@dataclass
class MemoryCircuitStore:
    """`clock` is the shared time."""

    clock: float = 1_000_000.0
    circuits: dict[str, Circuit] = field(default_factory=dict)
    changes: int = 0

    @property
    def known(self) -> Mapping[str, Circuit]:
        return self.circuits

    def now(self) -> float:
        return self.clock

    async def change(self, deployment: str, step: CircuitStep) -> Circuit | None:
        self.changes += 1
        after = step(self.circuits.get(deployment, CLOSED), self.clock)
        if after == CLOSED:
            self.circuits.pop(deployment, None)
        elif after is not None:
            self.circuits[deployment] = after
        return after
