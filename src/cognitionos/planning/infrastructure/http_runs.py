"""Runs over HTTP."""

from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.runs import Runs
from cognitionos.planning.domain.run import RunStatus
from cognitionos.planning.infrastructure.queries import ByPosition, NewestFirst, PlanningQueries
from cognitionos.planning.infrastructure.views import RunSummary, RunView, TaskView
from cognitionos.platform.http_api import Who, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor, page


class RunRoutes(Controller):
    """What is being done."""

    path = "/v1/runs"
    tags = ("runs",)

    @get(guards=[requires(Permission.RUNS_READ)], summary="List runs")
    async def list_runs(
        self,
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
        status: FromQuery[RunStatus | None] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[RunSummary]:
        """Newest first, of the whole tenant."""
        after = decode_cursor(cursor, NewestFirst)
        rows = await planning_queries.runs(who.tenant_id, limit=limit, after=after, status=status)
        return page(rows, limit, lambda row: (row.id,))

    @get("/{run_id:uuid}", guards=[requires(Permission.RUNS_READ)], summary="Read a run", responses=problems(404))
    async def read(
        self, run_id: FromPath[UUID], planning_queries: NamedDependency[PlanningQueries], who: Who
    ) -> RunView:
        """Its status, how many tasks are in which state, what it cost, which models and prompts it used."""
        return await planning_queries.run(who.tenant_id, run_id)

    @get(
        "/{run_id:uuid}/tasks",
        guards=[requires(Permission.RUNS_READ)],
        summary="List a run's tasks",
        responses=problems(404),
    )
    async def tasks(
        self,
        run_id: FromPath[UUID],
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[TaskView]:
        """In an order in which each comes after what it depends on."""
        after = decode_cursor(cursor, ByPosition)
        rows = await planning_queries.tasks(who.tenant_id, run_id, limit=limit, after=after)
        more = encode_cursor(rows[limit - 1][0]) if len(rows) > limit else None
        return Page(items=[task for _, task in rows[:limit]], next_cursor=more)

    @get(
        "/{run_id:uuid}/tasks/{key:str}",
        guards=[requires(Permission.RUNS_READ)],
        summary="Read a task",
        responses=problems(404),
    )
    async def task(
        self, run_id: FromPath[UUID], key: FromPath[str], planning_queries: NamedDependency[PlanningQueries], who: Who
    ) -> TaskView:
        """By its key (of a map's item `KEY[0]`), with its output however large."""
        return await planning_queries.task(who.tenant_id, run_id, key)

    @post(
        "/{run_id:uuid}/cancel",
        status_code=200,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Cancel a run",
        responses=problems(404, 409),
    )
    async def cancel(
        self,
        run_id: FromPath[UUID],
        runs: NamedDependency[Runs],
        planning_queries: NamedDependency[PlanningQueries],
        who: Who,
    ) -> RunView:
        """Its goal ends with it. No task starts any more, and what runs stops within a second."""
        await runs.cancel(who, run_id)
        return await planning_queries.run(who.tenant_id, run_id)
