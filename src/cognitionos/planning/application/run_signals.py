"""Signals from outside: what a task of kind `wait` waits for. One that comes early is kept."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.engine import TASKS, run_channel
from cognitionos.planning.application.workflows import has_nul
from cognitionos.planning.domain.kinds import SIGNAL_NAME
from cognitionos.planning.domain.reference import walked
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger
from cognitionos.platform.signals import Signals

log = get_logger(__name__)
SENT = declare("signals.sent")

MOST_BYTES = 256 * 1024
MOST_KEPT = 1_000


class InvalidSignal(Invalid):
    """A signal's name or payload is not one that can be kept."""


class SignalStore(Protocol):
    """Signals of runs."""

    async def send(
        self, tenant_id: UUID, run_id: UUID, *, signal_id: UUID, name: str, payload: Any, by: str | None, at: datetime
    ) -> str | None:
        """Wake the task that waits for it, else keep it; the task's key. Raises `RunNotFound`, `RunAlreadyFinished`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSignals:
    """Sends signals to runs."""

    store: SignalStore
    signals: Signals
    now: Clock
    new_id: Callable[[], UUID]

    async def send(self, who: Principal, run_id: UUID, name: str, payload: Any) -> str | None:
        """Give `payload` to the task that waits for `name`, now or later, once; the key of the one that waited."""
        _check(name, payload)
        task_key = await self.store.send(
            who.tenant_id,
            run_id,
            signal_id=self.new_id(),
            name=name,
            payload=payload,
            by=who.user or (f"key:{who.api_key_id}" if who.api_key_id else None),
            at=self.now(),
        )
        crash_point(SENT)
        log.info("run_signalled", run_id=str(run_id), signal=name, delivered=task_key is not None)
        await self.signals.send(TASKS)
        await self.signals.send(run_channel(run_id))
        return task_key


def _check(name: str, payload: Any) -> None:
    fault = None
    text = "" if any(found is None for _, found in walked(payload, "payload")) else json.dumps(payload)
    if not re.fullmatch(SIGNAL_NAME, name):
        fault = {"name": "must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"}
    elif not text:
        fault = {"payload": "is nested too deeply"}
    elif len(text.encode()) > MOST_BYTES:
        fault = {"payload": f"must be at most {MOST_BYTES} bytes of JSON"}
    elif has_nul(text):
        fault = {"payload": "contains a NUL character; remove it"}
    if fault:
        raise InvalidSignal("; ".join(f"{field}: {what}" for field, what in fault.items()), fields=fault)
