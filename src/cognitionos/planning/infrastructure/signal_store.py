"""Signals of runs in PostgreSQL, under the run's row lock: the task that waits cannot be parked in between."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.planning.application.run_signals import MOST_KEPT, InvalidSignal
from cognitionos.planning.domain.run import RunAlreadyFinished, RunEvent, RunNotFound
from cognitionos.planning.infrastructure import parking_rows, run_rows
from cognitionos.planning.infrastructure.rows import RUN_COLUMNS, run_of
from cognitionos.platform.database import Database

_LOCK_RUN = f"SELECT {RUN_COLUMNS} FROM runs WHERE id = %s FOR NO KEY UPDATE"  # noqa: S608 - a constant
_SET_SEQ = "UPDATE runs SET last_seq = %s WHERE id = %s"
_KEPT = "SELECT count(*) FROM run_signals WHERE run_id = %s AND task_id IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSignals:
    """A `SignalStore`."""

    database: Database

    async def send(
        self, tenant_id: UUID, run_id: UUID, *, signal_id: UUID, name: str, payload: Any, by: str | None, at: datetime
    ) -> str | None:
        """See `SignalStore.send`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_LOCK_RUN, (run_id,))).fetchone()
            if row is None:
                raise RunNotFound(f"There is no run {run_id}.")
            run = run_of(row)
            if run.status.is_final:
                raise RunAlreadyFinished(f"The run {run_id} is {run.status} already.")
            kept = await (await connection.execute(_KEPT, (run_id,))).fetchone()
            if kept is not None and kept[0] >= MOST_KEPT:
                raise InvalidSignal(f"The run {run_id} keeps {MOST_KEPT} signals that no task waited for yet.")
            task_key = await parking_rows.deliver_signal(
                connection, run, signal_id=signal_id, name=name, payload=payload, sent_by=by, at=at
            )
            event = RunEvent(kind="run.signalled", task_key=task_key, data={"signal": name, "by": by})
            await run_rows.append_events(connection, run, [event], at=at)
            await connection.execute(_SET_SEQ, (run.last_seq, run.id))
        return task_key
