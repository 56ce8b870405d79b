"""Schedules over HTTP."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, Router, delete, get, patch, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from cognitionos.kernel.principal import Permission, Principal
from cognitionos.planning.application.schedules import Plan, Schedules
from cognitionos.planning.domain.goal import GoalTerms
from cognitionos.planning.domain.schedule import MOST_CAUGHT_UP, CatchUp, Overlap, Schedule, Target, Timing
from cognitionos.planning.infrastructure.schedule_queries import (
    ById,
    ByName,
    FireView,
    ScheduleQueries,
    ScheduleView,
    WorkflowTarget,
)
from cognitionos.planning.infrastructure.wanted_goal import WantedGoal
from cognitionos.platform.http_api import MissingPermission, Who, instance, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

CaughtUp = Annotated[int, msgspec.Meta(ge=1, le=MOST_CAUGHT_UP)]


class CreateSchedule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When (`cron`, five fields, in `time_zone`; or `every_s` seconds) and what (`workflow` or `goal`).

    `catch_up`: what happens to times that passed while no worker ran: `skip`, `latest`, or `all` up to
    `most_caught_up`. `overlap`: what happens while the run before goes on: `allow`, `skip`, `queue` or `cancel`.
    """

    name: str
    cron: str | None = None
    every_s: float | None = None
    time_zone: str = "UTC"
    workflow: WorkflowTarget | None = None
    goal: WantedGoal | None = None
    catch_up: CatchUp = CatchUp.LATEST
    most_caught_up: CaughtUp = 10
    overlap: Overlap = Overlap.SKIP
    paused: bool = False


class ChangeSchedule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays. A resumed schedule goes on with its next time; what passed meanwhile is left out."""

    cron: str | msgspec.UnsetType = msgspec.UNSET
    every_s: float | msgspec.UnsetType = msgspec.UNSET
    time_zone: str | msgspec.UnsetType = msgspec.UNSET
    workflow: WorkflowTarget | msgspec.UnsetType = msgspec.UNSET
    goal: WantedGoal | msgspec.UnsetType = msgspec.UNSET
    catch_up: CatchUp | msgspec.UnsetType = msgspec.UNSET
    most_caught_up: CaughtUp | msgspec.UnsetType = msgspec.UNSET
    overlap: Overlap | msgspec.UnsetType = msgspec.UNSET
    paused: bool | msgspec.UnsetType = msgspec.UNSET


class TriggeredRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run that was started."""

    run_id: UUID
    href: str


class ScheduleRoutes(Controller):
    """What starts by itself."""

    path = "/v1/schedules"
    tags = ("schedules",)

    @post(
        status_code=201,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Create a schedule",
        responses=problems(404, 409),
        response_headers=[ResponseHeader(name="Location", description="the schedule", documentation_only=True)],
    )
    async def create(
        self,
        data: JSONBody[CreateSchedule],
        schedules: NamedDependency[Schedules],
        schedule_queries: NamedDependency[ScheduleQueries],
        who: Who,
    ) -> Response[ScheduleView]:
        """Runs start in the name of the key that creates it. A goal needs the scope to submit goals as well."""
        _must_be_allowed(who, data.goal)
        schedule = await schedules.create(who, _plan(data))
        view = schedule_queries.view(schedule)
        return Response(view, status_code=201, headers={"location": view.href})

    @get(guards=[requires(Permission.RUNS_READ)], summary="List schedules")
    async def list_schedules(
        self,
        schedule_queries: NamedDependency[ScheduleQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[ScheduleView]:
        """By name."""
        rows = await schedule_queries.schedules(who.tenant_id, limit=limit, after=decode_cursor(cursor, ByName))
        return page(rows, limit, lambda row: (row.name,))

    @get(
        "/{schedule_id:uuid}",
        guards=[requires(Permission.RUNS_READ)],
        summary="Read a schedule",
        responses=problems(404),
    )
    async def read(
        self, schedule_id: FromPath[UUID], schedule_queries: NamedDependency[ScheduleQueries], who: Who
    ) -> ScheduleView:
        """With its next times."""
        return await schedule_queries.schedule(who.tenant_id, schedule_id)

    @patch(
        "/{schedule_id:uuid}",
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Change, pause or resume a schedule",
        responses=problems(404),
    )
    async def change(
        self,
        schedule_id: FromPath[UUID],
        data: JSONBody[ChangeSchedule],
        schedules: NamedDependency[Schedules],
        schedule_queries: NamedDependency[ScheduleQueries],
        who: Who,
    ) -> ScheduleView:
        """Effective at once."""
        _must_be_allowed(who, data.goal)
        schedule = await schedules.change(who, schedule_id, lambda before: _changed(before, data))
        return schedule_queries.view(schedule)

    @delete(
        "/{schedule_id:uuid}",
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Delete a schedule",
        responses=problems(404),
    )
    async def remove(self, schedule_id: FromPath[UUID], schedules: NamedDependency[Schedules], who: Who) -> None:
        """With its history; runs that it started go on."""
        await schedules.remove(who, schedule_id)

    @post(
        "/{schedule_id:uuid}/trigger",
        status_code=202,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Start a schedule's run now",
        responses=problems(404),
        response_headers=[ResponseHeader(name="Location", description="the run", documentation_only=True)],
    )
    async def trigger(
        self, schedule_id: FromPath[UUID], schedules: NamedDependency[Schedules], who: Who
    ) -> Response[TriggeredRun]:
        """Whatever its clock and its last run say, and also while it is paused."""
        run_id = await schedules.trigger(who, schedule_id)
        href = f"/v1/runs/{run_id}"
        return Response(TriggeredRun(run_id=run_id, href=href), status_code=202, headers={"location": href})

    @get(
        "/{schedule_id:uuid}/times",
        guards=[requires(Permission.RUNS_READ)],
        summary="List the times that came",
        responses=problems(404),
    )
    async def times(
        self,
        schedule_id: FromPath[UUID],
        schedule_queries: NamedDependency[ScheduleQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[FireView]:
        """The latest first, each with what became of it."""
        after = decode_cursor(cursor, ById)
        rows = await schedule_queries.fires(who.tenant_id, schedule_id, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.id,))


def routes(schedules: Schedules, schedule_queries: ScheduleQueries) -> Router:
    """The routes, with what they need."""
    return Router(
        path="/",
        route_handlers=[ScheduleRoutes],
        dependencies={"schedules": instance(schedules), "schedule_queries": instance(schedule_queries)},
    )


def _must_be_allowed(who: Principal, goal: WantedGoal | msgspec.UnsetType | None) -> None:
    if isinstance(goal, WantedGoal) and not who.may(Permission.GOALS_WRITE):
        raise MissingPermission(f"A schedule of a goal needs a key with the scope '{Permission.GOALS_WRITE}' as well.")


def _plan(data: CreateSchedule) -> Plan:
    return Plan(
        name=data.name,
        timing=Timing(cron=data.cron, every_s=data.every_s, time_zone=data.time_zone),
        target=_target(data.workflow, data.goal),
        catch_up=data.catch_up,
        most_caught_up=data.most_caught_up,
        overlap=data.overlap,
        paused=data.paused,
    )


def _changed(before: Schedule, data: ChangeSchedule) -> Plan:
    wanted = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    timing: dict[str, Any] = {"time_zone": before.timing.time_zone}
    if not wanted.keys() & {"cron", "every_s"}:
        timing |= {"cron": before.timing.cron, "every_s": before.timing.every_s}
    timing |= {name: wanted.pop(name) for name in ("cron", "every_s", "time_zone") if name in wanted}
    target = before.target
    if wanted.keys() & {"workflow", "goal"}:
        target = _target(wanted.pop("workflow", None), wanted.pop("goal", None))
    rest: dict[str, Any] = {
        "catch_up": before.catch_up,
        "most_caught_up": before.most_caught_up,
        "overlap": before.overlap,
        "paused": before.paused,
    }
    return Plan(name=before.name, timing=Timing(**timing), target=target, **(rest | wanted))


def _target(workflow: WorkflowTarget | None, goal: WantedGoal | None) -> Target:
    if workflow is not None and goal is None:
        return Target(workflow=workflow.name, version=workflow.version, input=workflow.input)
    if goal is not None and workflow is None:
        return Target(goal=GoalTerms(**msgspec.structs.asdict(goal)))
    return Target()
