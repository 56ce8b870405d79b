"""The files of runs over HTTP: listed, and given to be saved."""

from pathlib import PurePosixPath
from urllib.parse import quote
from uuid import UUID

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from cognitionos.kernel.principal import Permission
from cognitionos.planning.infrastructure.queries import PlanningQueries
from cognitionos.planning.infrastructure.run_files import ByName, FileView, RunFiles
from cognitionos.platform.http_api import Who, problems, requires
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page


class RunFileRoutes(Controller):
    """What a run's tasks wrote, and what it came with."""

    path = "/v1/runs/{run_id:uuid}/files"
    tags = ("runs",)
    guards = (requires(Permission.RUNS_READ),)

    @get(summary="List a run's files", responses=problems(404))
    async def files(
        self,
        run_id: FromPath[UUID],
        planning_queries: NamedDependency[PlanningQueries],
        run_files: NamedDependency[RunFiles],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[FileView]:
        """By name, as they are now; of a fork, its own."""
        await planning_queries.must_exist(who.tenant_id, run_id)
        after = decode_cursor(cursor, ByName)
        rows = await run_files.listed(who.tenant_id, run_id, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.name,))

    @get(
        "/{name:path}",
        summary="Download a file of a run",
        responses=problems(404),
        media_type="application/octet-stream",
    )
    async def download(
        self,
        run_id: FromPath[UUID],
        name: FromPath[PurePosixPath],
        planning_queries: NamedDependency[PlanningQueries],
        run_files: NamedDependency[RunFiles],
        who: Who,
    ) -> Response[bytes]:
        """The bytes, to be saved: a browser is told not to show them."""
        await planning_queries.must_exist(who.tenant_id, run_id)
        return await saved(run_files, who.tenant_id, run_id, name)


async def saved(files: RunFiles, tenant_id: UUID, run_id: UUID, name: PurePosixPath) -> Response[bytes]:
    """The file of this path as a download."""
    file, content = await files.read(tenant_id, run_id, str(name).lstrip("/"))
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(PurePosixPath(file.name).name, safe='')}",
        "content-security-policy": "sandbox; default-src 'none'",
        "content-type": file.media_type,
    }
    return Response(content, headers=headers)
