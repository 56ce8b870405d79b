"""The loop that fires schedules. Each worker process runs one; one of them leads."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cognitionos.kernel.errors import NotFound, Unavailable
from cognitionos.planning.application.schedules import SCHEDULES, LeadLost
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
LEASE_S = 8.0
LOOK_S = 5.0
"""Leader and others look this often, so a dead leader is replaced within `LEASE_S + LOOK_S` seconds."""
CALM_S = 1.0
"""A leader that has no schedule to fire keeps its lease until so long before its end, instead of looking as often."""
AGAIN_S = 0.5
"""What could not be fired is tried again after this."""

Fire = Callable[[UUID, UUID, int], Awaitable[bool]]
"""Do the oldest time that has come: (tenant, schedule, fence) -> whether there was one. Raises `LeadLost`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A schedule, and in how many seconds its time comes; 0 or less: it is due."""

    tenant_id: UUID
    schedule_id: UUID
    in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The lead, its fencing number, and which schedules come next."""

    fence: int
    coming: tuple[Next, ...]


class Leadership(Protocol):
    """One process's way to the lead."""

    async def take(self, lease_s: float) -> Lead | None: ...
    async def resign(self) -> None: ...


class Tell(Protocol):
    """Hears at each look whether this process leads."""

    def __call__(self, *, is_leader: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """Fires what is due while it leads; waits for the lead while it does not."""

    leadership: Leadership
    fire: Fire
    signals: Signals
    tell: Tell
    lease_s: float = LEASE_S
    look_s: float = LOOK_S

    async def run(self) -> None:
        """Work until cancelled; then the next one may begin at once."""
        try:
            with self.signals.listen(SCHEDULES) as woken:
                while True:
                    woken.clear()
                    wait_s = await self._look()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await woken.wait()
        finally:
            self.tell(is_leader=False)
            with suppress(Unavailable):
                await self.leadership.resign()

    async def _look(self) -> float:
        """Fire what is due, if we lead; gives the seconds until the next look."""
        try:
            lead = await self.leadership.take(self.lease_s)
            self.tell(is_leader=lead is not None)
            if lead is None:
                return self.look_s
            fired = [await self._fire(each, lead.fence) for each in lead.coming if each.in_s <= 0]
        except LeadLost:
            log.warning("schedules_lead_lost")
            return self.look_s
        except Unavailable as error:
            log.warning("schedules_not_looked_at", reason=str(error))
            return self.look_s
        if not lead.coming:
            return max(self.look_s, self.lease_s - CALM_S)
        soonest = min([self.look_s, *(each.in_s for each in lead.coming)])
        return max(0.0 if all(fired) else AGAIN_S, soonest)

    async def _fire(self, each: Next, fence: int) -> bool:
        """Whether something was done."""
        try:
            return await self.fire(each.tenant_id, each.schedule_id, fence)
        except (LeadLost, Unavailable):
            raise
        except NotFound:
            log.info("schedule_gone", schedule_id=str(each.schedule_id))
        except Exception:
            log.exception("schedule_not_fired", schedule_id=str(each.schedule_id))
        return False
