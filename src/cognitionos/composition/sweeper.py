"""The worker's loops that look for what a crash left behind: messages in the outbox, turns of conversations."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from cognitionos.agents.application.conversations import GRACE_S, Conversations
from cognitionos.kernel.errors import Unavailable
from cognitionos.planning.application.approvals import DECISIONS
from cognitionos.planning.application.engine import RUN
from cognitionos.platform.logging import get_logger
from cognitionos.platform.outbox import DELIVERIES, Outbox
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
CALM = 10
"""Where nothing was found for `EAGER_S`, looks come so many times rarer: messages are rarely lost."""
EAGER_S = 60.0
GATHER_S = 0.5
"""A wake-up looks after so long: for all that comes with it."""


@dataclass(frozen=True, kw_only=True)
class OutboxSweeper:
    """Looks for due deliveries, which the database itself may have written (webhooks): when a run moved on or somebody
    signals `DELIVERIES`, and by the clock: every `every_s` seconds for a minute after it found some, else rarely.
    """

    outbox: Outbox
    signals: Signals
    every_s: float

    async def run(self) -> None:
        """Sweep until cancelled; a database that is gone is tried again at the next round."""
        clock, eager_until = asyncio.get_running_loop().time, 0.0
        with self.signals.listen(DELIVERIES) as woken:
            self.signals.take(RUN, lambda _run_id: woken.set())
            while True:
                if await self._sweep():
                    eager_until = clock() + EAGER_S
                pause_s = self.every_s * (1 if clock() < eager_until else CALM)
                await _pause(pause_s, woken, gather_s=min(GATHER_S, self.every_s))

    async def _sweep(self) -> int:
        swept = 0
        try:
            swept = await self.outbox.sweep()
            if swept:
                log.info("outbox_swept", deliveries=swept)
        except Unavailable as error:
            log.warning("outbox_sweep_failed", reason=str(error))
        return swept


@dataclass(frozen=True, kw_only=True)
class TurnSweeper:
    """Goes on with turns of conversations that nobody works on: looks every `every_s` seconds while any is open.

    Where none is, the next look comes within a lease: whoever begins one meanwhile has it for as long. `DECISIONS`
    wake it: what waited for people may go on.
    """

    conversations: Conversations
    signals: Signals
    every_s: float

    async def run(self) -> None:
        """Sweep until cancelled; a database that is gone is tried again at the next round."""
        is_calm = False
        with self.signals.listen(DECISIONS) as decided:
            while True:
                try:
                    if not is_calm or await self.conversations.any_open():
                        await self.conversations.sweep()
                        is_calm = not await self.conversations.any_open()
                except Unavailable as error:
                    log.warning("turn_sweep_failed", reason=str(error))
                pause_s = max(self.every_s, self.conversations.lease_s) if is_calm else self.every_s
                await _pause(pause_s, decided, gather_s=GRACE_S)


async def _pause(pause_s: float, woken: asyncio.Event, *, gather_s: float) -> None:
    """Until `pause_s` have gone by, or `gather_s` after `woken`, which is cleared."""
    with suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await woken.wait()
            await asyncio.sleep(gather_s)
    woken.clear()
