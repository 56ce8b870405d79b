"""Waiting on conditions, never on the clock."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_PAUSE_S = 0.01
LONGEST_S = 30.0
"""Far more than a condition takes, also where eight programs share two cores."""


async def eventually(predicate: Callable[[], T | Awaitable[T]], timeout_s: float = LONGEST_S) -> T:
    """Ask `predicate` (plain or async) every 10 ms until it is truthy; return that value.

    After `timeout_s` raise an `AssertionError` that shows the last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        value: T = await answer if inspect.isawaitable(answer) else answer  # type: ignore[assignment]
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s; the last value was {value!r}")
        await asyncio.sleep(_PAUSE_S)


def eventually_sync(predicate: Callable[[], T], timeout_s: float = LONGEST_S) -> T:
    """The same for a test without an event loop."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s; the last value was {value!r}")
        pause.wait(_PAUSE_S)
    return value
