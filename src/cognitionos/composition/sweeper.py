"""The worker's loops that look for what a crash left behind: messages in the outbox, turns of conversations."""

import asyncio
from dataclasses import dataclass

from cognitionos.agents.application.conversations import Conversations
from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.logging import get_logger
from cognitionos.platform.outbox import Outbox

log = get_logger(__name__)
CALM = 5
"""Where nothing was found, the next look comes after so many times the pause: messages are rarely lost."""


@dataclass(frozen=True, kw_only=True)
class OutboxSweeper:
    """Looks for due deliveries: every `every_s` seconds while there are some, else every fifth time."""

    outbox: Outbox
    every_s: float

    async def run(self) -> None:
        """Sweep until cancelled; a database that is gone is tried again at the next round."""
        while True:
            swept = 0
            try:
                swept = await self.outbox.sweep()
                if swept:
                    log.info("outbox_swept", deliveries=swept)
            except Unavailable as error:
                log.warning("outbox_sweep_failed", reason=str(error))
            await asyncio.sleep(self.every_s if swept else CALM * self.every_s)


@dataclass(frozen=True, kw_only=True)
class TurnSweeper:
    """Goes on with turns of conversations that nobody works on: looks every `every_s` seconds."""

    conversations: Conversations
    every_s: float

    async def run(self) -> None:
        """Sweep until cancelled; a database that is gone is tried again at the next round."""
        while True:
            try:
                await self.conversations.sweep()
            except Unavailable as error:
                log.warning("turn_sweep_failed", reason=str(error))
            await asyncio.sleep(self.every_s)
