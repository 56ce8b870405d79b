"""How fast an MCP server may talk to us: every message that is read costs the loop that all callers share."""

import asyncio
import time
from dataclasses import dataclass, field

A_MESSAGE = 2 * 1024
"""Bytes that a message counts at least: reading a short one costs about what a page does."""


@dataclass(eq=False)
class Pace:
    """`burst` bytes at once, `rate` bytes a second after it; who talks faster waits to be heard."""

    burst: int = 8 * 2**20
    rate: int = 256 * 1024
    _left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        """Nothing was said yet."""
        self._left, self._at = self.burst, time.monotonic()

    async def take(self, size: int) -> None:
        """Have read `size` bytes."""
        now = time.monotonic()
        self._left = min(self.burst, self._left + (now - self._at) * self.rate) - size
        self._at = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self.rate)
