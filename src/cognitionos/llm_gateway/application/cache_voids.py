"""What tenants have declared void, as far as this process knows: read at first use, at signals and now and then."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cognitionos.llm_gateway.application.cache_ports import DurableAnswers, SharedAnswers
from cognitionos.llm_gateway.application.ports import Monotonic
from cognitionos.llm_gateway.domain.cached import Kept, Voided

FRESH_S = 10.0
MOST_TENANTS = 10_000
_LONG_AGO = float("-inf")
_READS = 2


@dataclass(slots=True, kw_only=True)
class Voids:
    """Knows at least what the shared layer knows at each look, since that says how many invalidations there were.

    `changed` is set by every process' invalidations. `fresh_s` says how old they get: less where signals are not heard.
    """

    durable: DurableAnswers
    shared: SharedAnswers
    changed: asyncio.Event
    announce: Callable[[], Awaitable[None]]
    monotonic: Monotonic
    fresh_s: Callable[[float], float]
    _known: dict[UUID, tuple[float, Voided]] = field(default_factory=dict)
    _reading: dict[UUID, "asyncio.Task[Voided]"] = field(default_factory=dict)

    def epoch(self, tenant_id: UUID) -> int:
        """How many invalidations this process has heard of; asks nobody."""
        known = self._known.get(tenant_id)
        return known[1].epoch if known else 0

    def is_fresh(self, tenant_id: UUID) -> bool:
        """Whether what is known is neither old nor overtaken by a signal."""
        known = self._known.get(tenant_id)
        return known is not None and not self.changed.is_set() and self._is_young(known[0])

    def allows(self, tenant_id: UUID, kept: Kept) -> bool:
        """Whether the answer may still be given, by what this process has heard of."""
        known = self._known.get(tenant_id)
        return known is not None and known[1].allows(kept)

    async def catch_up(self, tenant_id: UUID, epoch: int | None, *, tell: bool = False) -> int:
        """Know of at least `epoch` invalidations; gives how many there were. `tell`: the shared layer does not know.

        Without the database what is known must do.
        """
        if self.changed.is_set():
            self.changed.clear()
            self._known = {tenant: (_LONG_AGO, voided) for tenant, (_, voided) in self._known.items()}
        for _ in range(_READS):
            known = self._known.get(tenant_id)
            fresh = known is not None and self._is_young(known[0])
            if known is not None and fresh and not tell and (epoch or 0) <= known[1].epoch:
                break
            task = self._reading.get(tenant_id)
            if task is None:
                task = asyncio.get_running_loop().create_task(self._read(tenant_id, epoch))
                self._reading[tenant_id] = task
                task.add_done_callback(lambda _: self._reading.pop(tenant_id, None))
            if (await asyncio.shield(task)).epoch >= (epoch or 0):
                break  # else it began before the invalidation that we were told of
        return self.epoch(tenant_id)

    async def void(self, tenant_id: UUID, scopes: Sequence[str]) -> int:
        """Declare every answer of these scopes void; how many the durable layer deleted."""
        voided, deleted = await self.durable.void(tenant_id, scopes)
        self._learn(tenant_id, voided)
        await self.shared.tell(tenant_id, voided.epoch, nothing_deeper=False)
        await self.announce()
        return deleted

    def _is_young(self, read_at: float) -> bool:
        return self.monotonic() - read_at < self.fresh_s(FRESH_S)

    async def _read(self, tenant_id: UUID, told: int | None) -> Voided:
        read = await self.durable.voided(tenant_id)
        if read is None:
            known = self._known.get(tenant_id)
            return known[1] if known else Voided()
        voided, any_kept = read
        self._learn(tenant_id, voided)
        if told is None or told < voided.epoch:
            await self.shared.tell(tenant_id, voided.epoch, nothing_deeper=not any_kept)
        return voided

    def _learn(self, tenant_id: UUID, voided: Voided) -> None:
        known = self._known.get(tenant_id)
        if known is not None and known[1].epoch > voided.epoch:
            return
        if known is None and len(self._known) >= MOST_TENANTS:
            self._known.clear()
        self._known[tenant_id] = (self.monotonic(), voided)
