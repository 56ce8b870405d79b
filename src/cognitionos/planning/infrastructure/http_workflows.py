"""Workflows over HTTP, and runs of them."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import FromPath, JSONBody, QueryParameter

from cognitionos.kernel.money import usd_text
from cognitionos.kernel.principal import Permission
from cognitionos.planning.application.workflows import Workflows
from cognitionos.planning.domain.goal import InvalidGoal, checked_budget
from cognitionos.planning.domain.kinds import MOST_RETRIED
from cognitionos.planning.domain.replan import WITHIN
from cognitionos.planning.domain.retry import TIMED_OUT, UNFORESEEN, RetryPolicy
from cognitionos.planning.domain.run import RunStatus
from cognitionos.planning.domain.task import WAITING_KINDS
from cognitionos.planning.domain.workflow import DeclaredTask, InvalidWorkflow, Workflow, time_limits
from cognitionos.planning.infrastructure.workflow_queries import ByName, WorkflowQueries, WorkflowSummary
from cognitionos.platform.http_api import Who, problems, requires
from cognitionos.platform.http_catalogue import catalogue
from cognitionos.platform.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, page

MOST_VERSIONS = 2**31 - 1
Version = Annotated[int, msgspec.Meta(ge=1, le=MOST_VERSIONS)]
VersionParameter = Annotated[
    int | None, QueryParameter(ge=1, le=MOST_VERSIONS, description="which version; left out: the latest")
]


ProblemType = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,80}$")]


class Retry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How often a task is tried when it may succeed the next time; waits double from `backoff_s` to a minute.

    `only`: types of problem (`task-timed-out`) that are tried again, and no other; empty: what may pass by itself.
    """

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    backoff_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 1.0
    only: Annotated[list[ProblemType], msgspec.Meta(max_length=MOST_RETRIED)] = []


class Task(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One task. `{"$ref": "run.input.x"}` or `{"$ref": "tasks.KEY.output.path"}` may stand anywhere in its input.

    `timeout_s` is for each attempt (600 unless said); of a `wait`, `approval`, `workflow` or `map` for all of it (none
    unless said).

    For an agent: `budget_usd`, a decimal text or a number, is what its model calls may cost at most; with `heartbeat_s`
    it is tried again when so long passes without a step of it.
    """

    kind: str
    depends_on: list[str] = []
    input: Any = None
    retry: Retry | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    budget_usd: str | int | float | None = None
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None


class DeclareWorkflow(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A graph of 1 to 10,000 tasks by key. The same name again is the next version; old ones stay as they are.

    With `input_schema` (JSON Schema) it is a template: a run's input is checked against it, and gets its defaults.
    """

    name: str
    tasks: dict[str, Task]
    input_schema: dict[str, Any] | None = None


class _Apart(msgspec.Struct):
    """A declaration whose tasks are not read yet."""

    tasks: dict[str, msgspec.Raw]


class StartRun(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which workflow to run, and on what. Without `version` the latest.

    `critical`: it goes on where a budget near its end halts other runs.
    """

    workflow: str
    version: Version | None = None
    input: Any = None
    critical: bool = False


class WorkflowView(WorkflowSummary, frozen=True, kw_only=True):
    """One version of a workflow, whole."""

    tasks: dict[str, Task]
    input_schema: dict[str, Any] | None = None


class RunRef(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was accepted, and where to look for it."""

    id: UUID
    status: RunStatus
    workflow: str
    version: int
    href: str
    tasks_href: str
    events_href: str


async def _named_by_its_task(request: Request[Any, Any, Any]) -> None:
    """Refuse a task that cannot be read by its key: the decoder of the whole says only that it is one of the tasks."""
    body = await request.body()
    try:
        msgspec.json.decode(body, type=DeclareWorkflow)
    except msgspec.ValidationError as error:
        if "`$.tasks[...]" not in str(error):
            return
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return
    else:
        return
    for key, task in msgspec.json.decode(body, type=_Apart).tasks.items():
        try:
            msgspec.json.decode(task, type=Task)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$")
            raise ValidationException(extra=[{"message": message, "key": f"tasks.{key}{path.rstrip('`')}"}]) from error


class WorkflowRoutes(Controller):
    """What is done over and over."""

    path = "/v1/workflows"
    tags = ("workflows",)

    @post(
        status_code=201,
        guards=[requires(Permission.RUNS_WRITE)],
        summary="Declare a workflow",
        response_headers=[ResponseHeader(name="Location", description="the version", documentation_only=True)],
        before_request=_named_by_its_task,
    )
    async def declare(
        self, data: JSONBody[DeclareWorkflow], workflows: NamedDependency[Workflows], who: Who
    ) -> Response[WorkflowSummary]:
        """Checked whole: every fault is named by its field. The same content as the latest version: that version."""
        tasks = {key: _declared(key, task) for key, task in data.tasks.items()}
        _check_retried(data.tasks)
        workflow = await workflows.declare(who, data.name, tasks, input_schema=data.input_schema)
        href = f"/v1/workflows/{workflow.name}?version={workflow.version}"
        return Response(_summary(workflow), status_code=201, headers={"location": href})

    @get(guards=[requires(Permission.RUNS_READ)], summary="List workflows")
    async def list_workflows(
        self,
        workflow_queries: NamedDependency[WorkflowQueries],
        who: Who,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[WorkflowSummary]:
        """The latest version of each, by name."""
        after = decode_cursor(cursor, ByName)
        rows = await workflow_queries.latest(who.tenant_id, limit=limit, after=after)
        return page(rows, limit, lambda row: (row.name,))

    @get("/{name:str}", guards=[requires(Permission.RUNS_READ)], summary="Read a workflow", responses=problems(404))
    async def read(
        self,
        name: FromPath[str],
        workflow_queries: NamedDependency[WorkflowQueries],
        who: Who,
        version: VersionParameter = None,
    ) -> WorkflowView:
        """The version asked for, else the latest."""
        workflow = await workflow_queries.workflow(who.tenant_id, name, version)
        tasks = {key: _shown(task) for key, task in workflow.tasks.items()}
        schema = None if workflow.input_schema is None else dict(workflow.input_schema)
        return WorkflowView(**msgspec.structs.asdict(_summary(workflow)), tasks=tasks, input_schema=schema)


@post(
    "/v1/runs",
    status_code=202,
    guards=[requires(Permission.RUNS_WRITE)],
    summary="Run a workflow",
    tags=["runs"],
    responses=problems(404),
    response_headers=[ResponseHeader(name="Location", description="the run", documentation_only=True)],
)
async def start_run(data: JSONBody[StartRun], workflows: NamedDependency[Workflows], who: Who) -> Response[RunRef]:
    """Workers carry it out; follow it at `events_href`. What its tasks refer to must be in `input`."""
    run_id, workflow = await workflows.start(
        who, data.workflow, version=data.version, run_input=data.input, critical=data.critical
    )
    href = f"/v1/runs/{run_id}"
    body = RunRef(
        id=run_id,
        status=RunStatus.QUEUED,
        workflow=workflow.name,
        version=workflow.version,
        href=href,
        tasks_href=f"{href}/tasks",
        events_href=f"{href}/events",
    )
    return Response(body, status_code=202, headers={"location": href})


def _declared(key: str, task: Task) -> DeclaredTask:
    retry = None if task.retry is None else RetryPolicy.of(msgspec.structs.asdict(task.retry))
    timeout_s, within_s = time_limits(task.kind, task.timeout_s)
    return DeclaredTask(
        kind=task.kind,
        depends_on=tuple(dict.fromkeys(task.depends_on)),
        input=task.input,
        retry=retry,
        timeout_s=timeout_s,
        budget_nanousd=None if task.budget_usd is None else _budget(key, task.budget_usd),
        heartbeat_s=task.heartbeat_s,
        within_s=within_s,
    )


def _check_retried(tasks: Mapping[str, Task]) -> None:
    """Refuse `only` types of problem that there are not: they would turn retries off."""
    wanted = {
        f"tasks.{key}.retry.only": task.retry.only for key, task in tasks.items() if task.retry and task.retry.only
    }
    for key, task in tasks.items():
        of_items = task.input.get("task") if task.kind == "map" and isinstance(task.input, dict) else None
        retry = of_items.get("retry") if isinstance(of_items, dict) else None
        only = retry.get("only") if isinstance(retry, dict) else None
        if isinstance(only, list):
            wanted[f"tasks.{key}.input.task.retry.only"] = [each for each in only if isinstance(each, str)]
    known = {*catalogue(), TIMED_OUT, UNFORESEEN} if wanted else set()
    faults = {at: _strange_types(types, known) for at, types in wanted.items() if not known >= set(types)}
    if faults:
        raise InvalidWorkflow("; ".join(f"{at}: {fault}" for at, fault in faults.items()), fields=faults)


def _strange_types(types: Sequence[str], known: Collection[str]) -> str:
    told = []
    for each in types:
        if each not in known:
            near = get_close_matches(each, known, n=3)
            told.append(f"there is no problem '{each[:80]}'" + (f"; near it: {', '.join(near)}" if near else ""))
    return "; ".join(told)


def _budget(key: str, amount: str | float) -> int:
    try:
        return checked_budget(amount)
    except InvalidGoal as error:
        fields = {f"tasks.{key}.{name}": fault for name, fault in error.fields.items()}
        raise InvalidWorkflow(f"tasks.{key}.{error.detail}", fields=fields) from error


def _shown(task: DeclaredTask) -> Task:
    stored = task.as_json()
    budget, within_s = stored.pop("budget_nanousd", None), stored.pop(WITHIN, None)
    if task.kind in WAITING_KINDS:
        stored["timeout_s"] = within_s
    return msgspec.convert(stored | ({} if budget is None else {"budget_usd": usd_text(budget)}), Task)


def _summary(workflow: Workflow) -> WorkflowSummary:
    return WorkflowSummary(
        id=workflow.id,
        name=workflow.name,
        version=workflow.version,
        total_tasks=len(workflow.tasks),
        href=f"/v1/workflows/{workflow.name}",
        created_at=workflow.created_at,
    )
