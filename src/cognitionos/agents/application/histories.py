"""What becomes of journals when a run is taken up again or forked."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID


class Histories(Protocol):
    """The journals and files of whole runs."""

    async def set_aside(self, tenant_id: UUID, run_id: UUID, tasks: Sequence[tuple[UUID, int]]) -> None:
        """Let these tasks begin a new journal; the old one is kept. Each comes with a fencing number: a journal that a
        later one writes stays as it is, so that repeating this does no harm. The run's files are then as if these tasks
        had written none. Raises `EarlierFileGone`.
        """
        ...

    async def recorded(self, tenant_id: UUID, run_id: UUID) -> list[dict[str, Any]]:
        """The run's journals as JSON, without those that were set aside."""
        ...

    async def copy_files(self, tenant_id: UUID, run_id: UUID, *, to_run: UUID, tasks: Mapping[UUID, UUID]) -> None:
        """Give another run this one's inputs, and the files of these tasks as they left them, whoever wrote later.

        `tasks`: what each is called in the other run. Raises `EarlierFileGone`.
        """
        ...
