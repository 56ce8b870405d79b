"""The in-process event bus: who hears which fact. The list of subscriptions is made once, in `composition`.

Two ways to hear: `subscribe` is durable (an outbox row written in the commit of the change, handled by a worker, effect
once), `listen` is for this process only and runs right after the commit (a cache to drop); what it misses is not
repeated.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.kernel.event import Event
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One fact on its way to one subscriber: the id of its outbox row."""

    id: UUID
    tenant_id: UUID
    attempt: int


Handler = Callable[[Any, Delivery], Awaitable[None]]
Listener = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A durable subscriber of one type of event."""

    name: str
    event_type: type[Event]
    handle: Handler


class Bus:
    """Subscriptions by event type. Event types are found by their class name, which is their name on the wire."""

    def __init__(self) -> None:
        self._durable: defaultdict[type[Event], list[Subscription]] = defaultdict(list)
        self._by_name: dict[tuple[str, str], Subscription] = {}
        self._local: defaultdict[type[Event], list[Listener]] = defaultdict(list)

    def subscribe(self, event_type: type[Event], name: str, handle: Handler) -> None:
        """Let `handle(event, delivery)` hear every `event_type`, at least once, in a worker; `name` is stable."""
        subscription = Subscription(name, event_type, handle)
        self._durable[event_type].append(subscription)
        self._by_name[(event_type.__name__, name)] = subscription

    def listen(self, event_type: type[Event], listener: Listener) -> None:
        """Let `listener(event)` hear every `event_type` that this process commits."""
        self._local[event_type].append(listener)

    def subscribers(self, event: Event) -> list[Subscription]:
        """The durable subscribers of `event`."""
        return self._durable[type(event)]

    def subscription(self, event_name: str, subscriber: str) -> Subscription | None:
        """The durable subscription with these names; None if this version of the product no longer has it."""
        return self._by_name.get((event_name, subscriber))

    async def committed(self, events: list[Event]) -> None:
        """Tell this process's listeners; one that fails is logged and does not stop the others."""
        for event in events:
            for listener in self._local[type(event)]:
                try:
                    await listener(event)
                except Exception:
                    log.exception("listener_failed", event_type=type(event).__name__)
