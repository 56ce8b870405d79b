"""Time-ordered identifiers: UUID version 7 (RFC 9562, section 5.7)."""

import os
import time
from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62
_RANDOM_A = ((1 << 12) - 1) << 64
_RANDOM_B = (1 << 62) - 1


def new_id() -> UUID:
    """A new UUIDv7: 48 bits of Unix milliseconds, then 74 random bits. Sorts by creation time to the millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    return UUID(int=(milliseconds << 80) | _VERSION_7 | (random & _RANDOM_A) | _VARIANT_RFC | (random & _RANDOM_B))
