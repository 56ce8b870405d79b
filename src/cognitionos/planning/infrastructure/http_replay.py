"""Replays and recordings of runs over HTTP."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.replay import Replay
from cognitionos.planning.infrastructure.recordings import Recordings
from cognitionos.platform.http_api import Who, problems, requires


class DivergenceView(msgspec.Struct, frozen=True, kw_only=True):
    """The first difference: in which task, at which step of its agent (null: in its result), in which field.

    Messages are compared by digest: of those, `expected` and `actual` are digests.
    """

    task: str
    step: str | None
    field: str
    expected: Any
    actual: Any


class ReplayView(msgspec.Struct, frozen=True, kw_only=True):
    """`replayed`: tasks whose agents worked again from their journals, with `steps` steps in all; `recomputed`: tasks
    without effect, and decisions to plan anew; `recorded`: calls of tools and of HTTP, composed again, for which the
    recorded answer stood in; `taken`: results that were taken over. No model and no tool was called.
    """

    run_id: UUID
    tasks: int
    replayed: int
    recomputed: int
    recorded: int
    taken: int
    steps: int
    model_calls: int
    tool_calls: int
    divergence: DivergenceView | None


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay needs of a finished run. `format` grows when that changes; `product` is the version that wrote."""

    format: int
    product: str
    run: dict[str, Any]
    tasks: list[dict[str, Any]]
    memories: dict[str, list[str]]
    considered: dict[str, dict[str, Any]] = {}
    journals: list[dict[str, Any]]


class ReplayRoutes(Controller):
    """Finished runs, done again."""

    path = "/v1/runs/{run_id:uuid}"
    tags = ("runs",)

    @post(
        "/replay",
        status_code=200,
        guards=[requires(Permission.RUNS_READ)],
        summary="Replay a run",
        responses=problems(404, 409),
    )
    async def replay(
        self,
        run_id: FromPath[UUID],
        recordings: NamedDependency[Recordings],
        replay: NamedDependency[Replay],
        who: Who,
    ) -> ReplayView:
        """The run again from what it recorded, and the first difference from what it did; nothing is changed."""
        report = await replay.run(await recordings.of_run(who.tenant_id, run_id), tenant_id=who.tenant_id)
        return msgspec.convert(asdict(report), ReplayView)

    @get(
        "/recording",
        guards=[requires(Permission.RUNS_READ)],
        summary="Export a run's recording",
        responses=problems(404, 409),
    )
    async def recording(self, run_id: FromPath[UUID], recordings: NamedDependency[Recordings], who: Who) -> Recording:
        """Everything that a replay needs, as one document: instructions, answers and results in full."""
        return msgspec.convert(await recordings.of_run(who.tenant_id, run_id), Recording)
