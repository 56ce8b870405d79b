"""What a fork is made of: the tasks of the earlier run, and those of the new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class OldTask:
    """A task of the run that is forked. `is_done`: it had ended well, and its output is there.

    `reads`: its references to the run's input. `items_of`: the key of the map whose item it is. `is_replaced`: it
    failed, and what was planned in its place feeds its dependents. `at_once`: how many items of a map may run.
    `nested`: the run that it had started, or would have continued.
    """

    id: UUID
    position: int
    key: str
    kind: str
    is_done: bool
    reads: frozenset[str]
    dependents: tuple[UUID, ...]
    is_skipped: bool = False
    items_of: str | None = None
    is_replaced: bool = False
    at_once: int = 1
    nested: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkedTask:
    """A task of the new run. `spec` replaces the old one where it was changed.

    `items`: so many a map has already, of which it waits for those that are done again. `is_held`: one of these, that
    must not start before another has ended. `continues`: the earlier nested run of which its own is to be a fork.
    """

    id: UUID
    old: OldTask
    position: int
    is_reused: bool
    dependencies: tuple[UUID, ...]
    dependents: tuple[UUID, ...]
    pending: int
    skipped: int
    spec: Mapping[str, Any] | None = None
    items: int | None = None
    is_held: bool = False
    continues: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """A run to be started as a fork: its id, the earlier run, its tasks, and whose output is its result."""

    id: UUID
    source: UUID
    tasks: tuple[ForkedTask, ...]
    result_task_id: UUID | None

    @property
    def reused(self) -> dict[UUID, UUID]:
        """The earlier run's tasks whose results it takes over, each with its own in their place."""
        return {task.old.id: task.id for task in self.tasks if task.is_reused}

    @property
    def open_tasks(self) -> int:
        """How many of its tasks are done again."""
        return len(self.tasks) - len(self.reused)

    def told(self) -> dict[str, Any]:
        """For the run's readers."""
        return {"forked_from": str(self.source), "reused": len(self.reused), "again": self.open_tasks}
