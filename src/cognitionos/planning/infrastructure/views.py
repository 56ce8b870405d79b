"""What is shown of goals and runs: the bodies of answers."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from cognitionos.planning.domain.run import RunStatus
from cognitionos.planning.domain.task import TaskStatus


class ProblemView(msgspec.Struct, frozen=True, kw_only=True):
    """Why a goal, run or task failed."""

    type: str
    title: str
    detail: str


class PlannedTaskView(msgspec.Struct, frozen=True, kw_only=True):
    """One task of a plan."""

    key: str
    title: str
    instructions: str
    depends_on: list[str]
    expected_output: str | None = None
    review: bool = False


class ArtifactView(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the run made, or an input (`task` null); `href` gives its bytes.

    `task` wrote it last. Where its `task_status` is `failed`, a new plan took that task's place and left the file.
    """

    name: str
    media_type: str
    bytes: int
    task: str | None
    task_status: TaskStatus | None
    href: str


class ResultView(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a goal."""

    text: str
    artifacts: list[ArtifactView]


class GoalSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A goal in a list."""

    id: UUID
    status: RunStatus
    title: str
    run_id: UUID
    href: str
    created_at: datetime
    finished_at: datetime | None


class PricedAsView(msgspec.Struct, frozen=True, kw_only=True):
    """What the tokens of a simulated goal would have cost on a real model."""

    model: str
    cost_usd: str


class GoalView(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, whole. `plan` is null until there is one, `result` until it succeeded, `error` unless it failed.

    `cost_usd` is what its calls and those of nested runs have cost so far. `simulated`: a simulated model answered, its
    words mean nothing; `priced_as` says what a real one would have cost, null otherwise.
    """

    id: UUID
    status: RunStatus
    title: str
    statement: str
    run_id: UUID
    href: str
    run_href: str
    events_href: str
    budget_usd: str
    cost_usd: str
    plan: list[PlannedTaskView] | None
    result: ResultView | None
    error: ProblemView | None
    models: list[str]
    simulated: bool
    priced_as: PricedAsView | None
    inputs: list[ArtifactView]
    created_at: datetime
    finished_at: datetime | None


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list: of a goal, or of the workflow of this name; `parent_run_id` if a task of that run started it."""

    id: UUID
    status: RunStatus
    goal_id: UUID | None
    parent_run_id: UUID | None
    workflow: str | None
    href: str
    total_tasks: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class TaskCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks are in each state."""

    pending: int = 0
    ready: int = 0
    paused: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0


class WorkflowRef(msgspec.Struct, frozen=True, kw_only=True):
    """The version of a workflow that a run executes."""

    name: str
    version: int
    href: str


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run, whole. `prompts` are the versions that its agents used, by name.

    `workflow` is null for the run of a goal, `parent_run_id` unless a task of another run started this one. Outputs are
    with the tasks; `result_text` is the text in the last one's.
    `forked_from` is the run that it was made from, `forked_at` the task or snapshot where it begins.
    """

    id: UUID
    status: RunStatus
    goal_id: UUID | None
    parent_run_id: UUID | None
    workflow: WorkflowRef | None
    forked_from: UUID | None
    forked_at: str | None
    href: str
    events_href: str
    tasks_href: str
    files_href: str
    total_tasks: int
    tasks: TaskCounts
    result_text: str | None
    error: ProblemView | None
    cost_usd: str
    models: list[str]
    simulated: bool
    prompts: dict[str, str]
    last_seq: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a run. `output` is left out of the list (`output_omitted`) when it is large: read the task alone for
    it. The `details` of one that started a run have its `run_id`.

    `reused_from` is the task of an earlier run whose result was taken over.
    """

    id: UUID
    key: str
    kind: str
    title: str | None
    status: TaskStatus
    attempt: int
    depends_on: list[str]
    output: Any
    output_omitted: bool
    details: dict[str, Any] | None
    error: ProblemView | None
    reused_from: UUID | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a run. `seq` counts from 1 without gaps."""

    seq: int
    at: datetime
    kind: str
    task: str | None
    data: dict[str, Any]
