"""Pausing, resuming and retrying runs over HTTP."""

from dataclasses import dataclass, fields
from typing import Annotated
from uuid import UUID

from litestar import Controller, Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.forks import Forks
from cognitionos.planning.application.replay import Replay
from cognitionos.planning.application.run_control import RunControl
from cognitionos.planning.infrastructure.critical_path_queries import CriticalPathQueries
from cognitionos.planning.infrastructure.http_forks import ForkRoutes
from cognitionos.planning.infrastructure.http_replay import ReplayRoutes
from cognitionos.planning.infrastructure.queries import PlanningQueries
from cognitionos.planning.infrastructure.recordings import Recordings
from cognitionos.planning.infrastructure.snapshots import Snapshots
from cognitionos.planning.infrastructure.views import RunView
from cognitionos.platform.http_api import Who, instance, problems, requires


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlParts:
    """What the routes of run control use."""

    run_control: RunControl
    forks: Forks
    snapshots: Snapshots
    critical_paths: CriticalPathQueries
    recordings: Recordings
    replay: Replay


Now = Annotated[
    bool | None, QueryParameter(description="agents stop after their next step, not at the end of their task")
]


class RunControlRoutes(Controller):
    """Runs that go on, or should."""

    path = "/v1/runs/{run_id:uuid}"
    tags = ("runs",)
    guards = (requires(Permission.RUNS_WRITE),)

    @post("/pause", status_code=200, summary="Pause a run", responses=problems(404, 409))
    async def pause(
        self,
        run_id: FromPath[UUID],
        run_control: NamedDependency[RunControl],
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
        now: Now = None,
    ) -> RunView:
        """No task starts any more; tasks that run go on to their end. A paused run stays so until it is resumed."""
        await run_control.pause(who, run_id, stops_now=now is True)
        return await planning_queries.run(who.tenant_id, run_id)

    @post("/resume", status_code=200, summary="Resume a run", responses=problems(404, 409))
    async def resume(
        self,
        run_id: FromPath[UUID],
        run_control: NamedDependency[RunControl],
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
    ) -> RunView:
        """Go on where it was paused."""
        await run_control.resume(who, run_id)
        return await planning_queries.run(who.tenant_id, run_id)

    @post("/retry", status_code=200, summary="Retry a run", responses=problems(404, 409))
    async def retry(
        self,
        run_id: FromPath[UUID],
        run_control: NamedDependency[RunControl],
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
    ) -> RunView:
        """Do again what failed or was cancelled; what had succeeded stays. Its goal goes on with it."""
        await run_control.retry(who, run_id)
        return await planning_queries.run(who.tenant_id, run_id)


def routes(parts: ControlParts, queries: PlanningQueries) -> Router:
    """Everything of run control."""
    given = {field.name: instance(getattr(parts, field.name)) for field in fields(parts)}
    return Router(
        "/",
        route_handlers=[RunControlRoutes, ForkRoutes, ReplayRoutes],
        dependencies={**given, "planning_queries": instance(queries)},
    )
