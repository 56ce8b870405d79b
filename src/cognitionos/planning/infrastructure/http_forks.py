"""Forks, snapshots and the critical path over HTTP."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.forks import SAME, ForkFrom, Forks
from cognitionos.planning.domain.run import RunStatus
from cognitionos.planning.infrastructure.critical_path_queries import CriticalPathQueries, CriticalPathView
from cognitionos.planning.infrastructure.queries import PlanningQueries
from cognitionos.planning.infrastructure.snapshots import Snapshots, SnapshotView
from cognitionos.platform.http_api import Who, problems, requires

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ForkRun(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename={"start": "from"}):
    """From where on the run is done again: from a task, from a `snapshot`, from what `changes` (new input by task key:
    its fields; of a `value` the whole) or a new `input` of the run touch. Left out: from what had not ended well.
    """

    start: Key | None = None
    snapshot: Name | None = None
    changes: Annotated[dict[str, Any], msgspec.Meta(max_length=1000)] = {}
    input: Any = msgspec.UNSET


class ForkRef(msgspec.Struct, frozen=True, kw_only=True):
    """The new run, and where to look for it. The run of a goal comes with a goal of its own."""

    id: UUID
    status: RunStatus
    forked_from: UUID
    goal_id: UUID | None
    total_tasks: int
    reused_tasks: int
    href: str
    tasks_href: str
    events_href: str


class TakeSnapshot(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Its name, unique in the run."""

    name: Name


class SnapshotList(msgspec.Struct, frozen=True, kw_only=True):
    """A run's snapshots, in the order of what they hold."""

    items: list[SnapshotView]


class ForkRoutes(Controller):
    """Runs that go another way, and the places they can start from."""

    path = "/v1/runs/{run_id:uuid}"
    tags = ("runs",)

    @post(
        "/fork",
        status_code=202,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Fork a run",
        responses=problems(404),
        response_headers=[ResponseHeader(name="Location", description="the new run", documentation_only=True)],
    )
    async def fork(
        self, run_id: FromPath[UUID], data: JSONBody[ForkRun], forks: NamedDependency[Forks], who: Who
    ) -> Response[ForkRef]:
        """A new run: what comes before the starting point is reused with its results and files, the rest done again."""
        given = SAME if data.input is msgspec.UNSET else data.input
        start = ForkFrom(task=data.start, snapshot=data.snapshot, changes=data.changes, run_input=given)
        run = await forks.fork(who, run_id, start)
        href = f"/v1/runs/{run.id}"
        body = ForkRef(
            id=run.id,
            status=run.status,
            forked_from=run_id,
            goal_id=run.goal_id,
            total_tasks=run.total_tasks,
            reused_tasks=run.total_tasks - run.open_tasks,
            href=href,
            tasks_href=f"{href}/tasks",
            events_href=f"{href}/events",
        )
        return Response(body, status_code=202, headers={"location": href})

    @post(
        "/snapshots",
        status_code=201,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Take a snapshot",
        responses=problems(404, 409),
    )
    async def take(
        self, run_id: FromPath[UUID], data: JSONBody[TakeSnapshot], snapshots: NamedDependency[Snapshots], who: Who
    ) -> SnapshotView:
        """Name the run's present state, whatever it does; a fork can start from it at any later time."""
        return await snapshots.take(who.tenant_id, run_id, data.name)

    @get(
        "/snapshots", guards=[requires(Permission.RUNS_READ)], summary="List a run's snapshots", responses=problems(404)
    )
    async def of_run(
        self,
        run_id: FromPath[UUID],
        planning_queries: NamedDependency[PlanningQueries],
        snapshots: NamedDependency[Snapshots],
        who: Who,
    ) -> SnapshotList:
        """In the order of what they hold."""
        await planning_queries.must_exist(who.tenant_id, run_id)
        return SnapshotList(items=await snapshots.of(who.tenant_id, run_id))

    @get(
        "/critical-path",
        guards=[requires(Permission.RUNS_READ)],
        summary="Read a run's critical path",
        responses=problems(404),
    )
    async def critical_path(
        self, run_id: FromPath[UUID], critical_paths: NamedDependency[CriticalPathQueries], who: Who
    ) -> CriticalPathView:
        """Which tasks decided how long the run took, and how much doing others at the same time saved."""
        return await critical_paths.of_run(who.tenant_id, run_id)
