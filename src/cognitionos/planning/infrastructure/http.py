"""Goals over HTTP."""

from pathlib import PurePosixPath
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Response, Router, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.goals import Goals, Submission
from cognitionos.planning.application.runs import Runs
from cognitionos.planning.application.workflows import Workflows
from cognitionos.planning.domain.goal import MOST_FILES
from cognitionos.planning.domain.run import RunStatus
from cognitionos.planning.infrastructure.http_events import EventStreams, run_events
from cognitionos.planning.infrastructure.http_run_files import RunFileRoutes, saved
from cognitionos.planning.infrastructure.http_runs import RunRoutes
from cognitionos.planning.infrastructure.http_workflows import WorkflowRoutes, start_run
from cognitionos.planning.infrastructure.plan_queries import InPlan, PlanQueries, PlanView
from cognitionos.planning.infrastructure.queries import NewestFirst, PlanningQueries
from cognitionos.planning.infrastructure.run_files import RunFiles
from cognitionos.planning.infrastructure.views import GoalSummary, GoalView
from cognitionos.planning.infrastructure.wanted_goal import WantedGoal
from cognitionos.planning.infrastructure.workflow_queries import WorkflowQueries
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, MOST, Cursor, Limit, Page, decode_cursor, page


class InputFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A file that the goal is about: at most 10 MiB."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="a plain file name")]
    content_base64: str
    media_type: Annotated[str, msgspec.Meta(max_length=200)] = "application/octet-stream"


class SubmitGoal(WantedGoal, forbid_unknown_fields=True, kw_only=True):
    """A goal to begin now, with the files that it is about."""

    inputs: Annotated[tuple[InputFile, ...], msgspec.Meta(max_length=MOST_FILES)] = ()


class GoalRef(msgspec.Struct, frozen=True, kw_only=True):
    """A goal that was taken, and where to look for it."""

    id: UUID
    status: RunStatus
    run_id: UUID
    href: str
    run_href: str
    events_href: str


class GoalRoutes(Controller):
    """What somebody wants done."""

    path = "/v1/goals"
    tags = ("goals",)

    @post(
        status_code=202,
        guards=[requires(Permission.GOALS_WRITE)],
        summary="Submit a goal",
        response_headers=[ResponseHeader(name="Location", description="the goal", documentation_only=True)],
    )
    async def submit(self, data: JSONBody[SubmitGoal], goals: NamedDependency[Goals], who: Who) -> Response[GoalRef]:
        """It is planned and carried out by workers; follow it at `events_href`, read the result at `href`."""
        files = [(file.name, file.media_type, file.content_base64) for file in data.inputs]
        submission = Submission(**(msgspec.structs.asdict(data) | {"inputs": files}))
        goal = await goals.submit(who, submission)
        href, run_href = f"/v1/goals/{goal.id}", f"/v1/runs/{goal.run_id}"
        body = GoalRef(
            id=goal.id,
            status=goal.status,
            run_id=goal.run_id,
            href=href,
            run_href=run_href,
            events_href=f"{run_href}/events",
        )
        return Response(body, status_code=202, headers={"location": href})

    @get(guards=[requires(Permission.GOALS_READ)], summary="List goals")
    async def list_goals(
        self,
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
        status: FromQuery[RunStatus | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[GoalSummary]:
        """Newest first, of the whole tenant."""
        after = decode_cursor(cursor, NewestFirst)
        rows = await planning_queries.goals(who.tenant_id, limit=limit, after=after, status=status)
        return page(rows, limit, lambda row: (row.id,))

    @get("/{goal_id:uuid}", guards=[requires(Permission.GOALS_READ)], summary="Read a goal", responses=problems(404))
    async def read(
        self, goal_id: FromPath[UUID], planning_queries: NamedDependency[PlanningQueries], who: Who
    ) -> GoalView:
        """Its status, plan, cost so far and, in the end, result or error."""
        return await planning_queries.goal(who.tenant_id, goal_id)

    @get(
        "/{goal_id:uuid}/plan", guards=[requires(Permission.GOALS_READ)], summary="Read a plan", responses=problems(404)
    )
    async def plan(
        self,
        goal_id: FromPath[UUID],
        plan_queries: NamedDependency[PlanQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = MOST,
    ) -> PlanView:
        """Its tasks as they stand, and what was planned anew; before there is a plan, no tasks."""
        return await plan_queries.of_goal(who.tenant_id, goal_id, limit=limit, after=decode_cursor(cursor, InPlan))

    @post(
        "/{goal_id:uuid}/cancel",
        status_code=200,
        guards=[requires(Permission.GOALS_WRITE)],
        summary="Cancel a goal",
        responses=problems(404, 409),
    )
    async def cancel(
        self,
        goal_id: FromPath[UUID],
        goals: NamedDependency[Goals],
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
    ) -> GoalView:
        """No task starts any more, and what runs stops within a second; 409 if it has ended already."""
        await goals.cancel(who, goal_id)
        return await planning_queries.goal(who.tenant_id, goal_id)

    @get(
        "/{goal_id:uuid}/artifacts/{name:path}",
        guards=[requires(Permission.GOALS_READ)],
        summary="Download a file of a goal",
        responses=problems(404),
        media_type="application/octet-stream",
    )
    async def download(
        self,
        goal_id: FromPath[UUID],
        name: FromPath[PurePosixPath],
        planning_queries: NamedDependency[PlanningQueries],
        run_files: NamedDependency[RunFiles],
        who: Who,
    ) -> Response[bytes]:
        """The bytes, to be saved: a browser is told not to show them."""
        run_id = await planning_queries.run_of_goal(who.tenant_id, goal_id)
        return await saved(run_files, who.tenant_id, run_id, name)


def routes(
    *,
    goals: Goals,
    runs: Runs,
    workflows: Workflows,
    queries: PlanningQueries,
    workflow_queries: WorkflowQueries,
    event_streams: EventStreams,
    run_files: RunFiles,
) -> Router:
    """Everything of planning."""
    return Router(
        "/",
        route_handlers=[GoalRoutes, RunRoutes, RunFileRoutes, WorkflowRoutes, start_run, run_events],
        dependencies={
            "goals": instance(goals),
            "runs": instance(runs),
            "workflows": instance(workflows),
            "workflow_queries": instance(workflow_queries),
            "planning_queries": instance(queries),
            "plan_queries": instance(PlanQueries(database=queries.database)),
            "event_streams": instance(event_streams),
            "run_files": instance(run_files),
        },
    )
