"""What the engine needs of the store that remembers tasks, and of the kinds of work it can do."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from cognitionos.kernel.errors import DomainError
from cognitionos.planning.domain.reference import Known, Wanted
from cognitionos.planning.domain.replan import History
from cognitionos.planning.domain.step import Entry
from cognitionos.planning.domain.task import ClaimedTask, Outcome
from cognitionos.platform.database import Write


class Report(Protocol):
    """Tells the run's readers what a task does."""

    async def __call__(self, kind: str, data: Mapping[str, Any], also: Write | None = None, /) -> None:
        """`kind` such as `agent.tool_called`, JSON `data`. `also` writes in the same commit, or nothing is written.

        Raises `LeaseLost`, and what `also` raises.
        """


Handler = Callable[[ClaimedTask, Report], Awaitable[Outcome]]
"""Does one kind of task. May be called again for the same task after a crash; any error is weighed by its policy."""

Compute = Callable[[Mapping[str, Any], datetime], Outcome]
"""A pure kind: from the task's spec (references resolved) and the time to its outcome, at once and without effect."""


Recall = Callable[[UUID, UUID, str, int], Awaitable[Sequence[str]]]
"""What memory knows: (tenant, project, query, at most so many) -> texts, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a task builds on: its run's goal, and the outputs of the tasks it depends on, by key.

    Of its run also the workflow's name, whether it is critical, the subjects of the runs `above`, which pay for it, and
    whether it is done `again`: it or one above it is a fork.
    """

    statement: str | None
    outputs: Mapping[str, Any]
    workflow: str | None = None
    critical: bool = False
    above: tuple[str, ...] = ()
    again: bool = False


PlanAgain = Callable[[ClaimedTask], Awaitable[History]]
"""What a `plan` task that replaces another has to know. Raises `NothingToReplace`."""

Upstream = Callable[[ClaimedTask], Awaitable[Before]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a commit found. `refused` are tasks this worker no longer holds; `ready`: somebody can claim something.

    `broken` is why an entry was left out, by its place among the entries: what it wanted to write as well was refused.
    """

    refused: frozenset[UUID] = frozenset()
    ready: bool = False
    revoked: bool = False
    runs: frozenset[UUID] = frozenset()
    broken: Mapping[int, DomainError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Tasks that a worker holds now; `more`: others are due, of any tenant, so that it is worth to look again."""

    tasks: list[ClaimedTask]
    more: bool = False


class TaskStore(Protocol):
    """Truth about tasks. Leases end by the store's clock."""

    async def claim(self, *, worker: str, slots: int, lease_s: float) -> Claimed:
        """Ready tasks of one tenant under a new fencing number: at most `slots`, pure ones not counted."""

    async def renew(self, held: Collection[UUID], *, worker: str, lease_s: float) -> dict[UUID, int]:
        """Renew the tasks `held` by `worker`: fencing numbers by task id. What is missing was lost or cancelled."""

    async def hand_back(self, *, worker: str) -> int:
        """Make everything `worker` holds ready again; gives its number."""

    async def put_back(self, tasks: Sequence[ClaimedTask], *, worker: str) -> None:
        """Make those of `tasks`, which are of one tenant, ready again that `worker` holds; their start never was."""

    async def record(self, tenant_id: UUID, worker: str, entries: Sequence[Entry]) -> Recorded:
        """Write `entries` and what follows from them in one commit: counters, ready tasks, run status, events."""

    async def known(self, tenant_id: UUID, wanted: Mapping[UUID, Wanted]) -> dict[UUID, Known]:
        """What the references of each run lead to."""
