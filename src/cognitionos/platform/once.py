"""One load at a time: when what is remembered gets too old, all calls under way ask for it at the same moment."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Once(Generic[Key, Value]):
    """Whoever asks for a key while it is being loaded gets that load's result, or its error.

    A load goes on although whoever started it is cancelled.
    """

    def __init__(self) -> None:
        self._loading: dict[Key, asyncio.Task[Value]] = {}

    async def __call__(self, key: Key, load: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """The value of `key`."""
        return await asyncio.shield(self.begin(key, load))

    def begin(self, key: Key, load: Callable[[], Coroutine[Any, Any, Value]]) -> "asyncio.Task[Value]":
        """Its load under way, be it begun just now; whoever does not wait for it need not."""
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.get_running_loop().create_task(load())
            loading.add_done_callback(lambda done: self._ended(key, done))
        return loading

    def forget(self) -> None:
        """Join no load that has begun: what it reads may be older than what changed just now."""
        self._loading.clear()

    def _ended(self, key: Key, done: "asyncio.Task[Value]") -> None:
        if self._loading.get(key) is done:
            del self._loading[key]
        if not done.cancelled():
            done.exception()  # seen, be it that everyone who asked is gone
