"""Workflows: declare one, start a run of one."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.principal import Principal
from cognitionos.planning.application.declared_names import FindStrangers, check_workers, check_workflows
from cognitionos.planning.application.runs import Begin, Runs, StartedFrom
from cognitionos.planning.domain.named import names_in
from cognitionos.planning.domain.reference import walked
from cognitionos.planning.domain.workflow import (
    DeclaredTask,
    InvalidRunInput,
    InvalidWorkflow,
    Workflow,
    check_schema,
    check_tasks,
    checked_name,
)
from cognitionos.platform.crash_points import crash_point, declare
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
DECLARED = declare("workflows.declared")
_NUL = "contains a NUL character; remove it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflows:
    """Use cases of workflows."""

    begin: Begin
    runs: Runs
    strangers: FindStrangers
    now: Clock
    new_id: Callable[[], UUID]

    async def declare(
        self,
        who: Principal,
        name: str,
        tasks: Mapping[str, DeclaredTask],
        *,
        input_schema: Mapping[str, Any] | None = None,
    ) -> Workflow:
        """The next version of `name`; the latest one if that has this very content. Raises `InvalidWorkflow`, for what
        the tasks name and is not there too; what they get by reference is looked up when they run.
        """
        checked_name(name)
        digest = await asyncio.to_thread(_checked_digest, tasks, input_schema)
        named = names_in(tasks)
        await check_workers(self.strangers, who.tenant_id, named)
        async with self.begin(who.tenant_id) as work:
            latest = await work.workflows.latest_locked(name)
            if latest is not None and latest[1] == digest:
                return await work.workflows.get(name, latest[0])
            version = 1 if latest is None else latest[0] + 1
            await check_workflows(work.workflows, name, version, tasks, named)
            workflow = Workflow(
                id=self.new_id(),
                tenant_id=who.tenant_id,
                name=name,
                version=version,
                digest=digest,
                created_at=self.now(),
                tasks=tasks,
                input_schema=input_schema,
            )
            await work.workflows.add(workflow)
        crash_point(DECLARED)
        log.info("workflow_declared", workflow=name, version=workflow.version, tasks=len(tasks))
        return workflow

    async def start(
        self, who: Principal, name: str, *, version: int | None, run_input: Any, critical: bool = False
    ) -> tuple[UUID, Workflow]:
        """Start a run of the workflow's `version`, else of the latest; gives its id.

        Raises `WorkflowNotFound`, and `InvalidRunInput` naming what a task refers to and `run_input` lacks.
        """
        async with self.begin(who.tenant_id) as work:
            workflow = await work.workflows.get(name, version)
        origin = origin_of(workflow, run_input, critical=critical)
        return await self.runs.start(who, workflow.specs(), origin=origin), workflow


def origin_of(workflow: Workflow, run_input: Any, *, critical: bool = False) -> StartedFrom:
    """Where a run of `workflow` comes from. Raises `InvalidRunInput`."""
    return StartedFrom(
        workflow=workflow.name,
        version=workflow.version,
        input=checked_run_input(workflow, run_input),
        result_key=workflow.result_key,
        critical=critical,
    )


def _checked_digest(tasks: Mapping[str, DeclaredTask], input_schema: Mapping[str, Any] | None) -> str:
    check_tasks(tasks)
    text = json.dumps({key: task.as_json() for key, task in tasks.items()}, sort_keys=True)
    if has_nul(text):
        raise InvalidWorkflow(f"tasks: {_NUL}", fields={"tasks": _NUL})
    if input_schema is not None:
        check_schema(input_schema)
        schema = json.dumps(input_schema, sort_keys=True)
        if has_nul(schema):
            raise InvalidWorkflow(f"input_schema: {_NUL}", fields={"input_schema": _NUL})
        text += schema
    return hashlib.sha256(text.encode()).hexdigest()


def checked_run_input(workflow: Workflow, run_input: Any) -> Any:
    """The input of a run of `workflow` that is given `run_input`. Raises `InvalidRunInput`."""
    fault = None
    if any(found is None for _, found in walked(run_input, "input")):
        fault = "is nested too deeply"
    elif has_nul(json.dumps(run_input)):
        fault = _NUL
    if fault:
        raise InvalidRunInput(f"input: {fault}", fields={"input": fault})
    return workflow.input_of(run_input)


def has_nul(text: str) -> bool:
    """Whether a JSON text says a NUL, which PostgreSQL cannot store: an escape that is not itself escaped."""
    return any(len(part) % 2 == 0 for part in _backslashes_before_nul(text))


def _backslashes_before_nul(text: str) -> list[str]:
    parts = text.split("\\u0000")[:-1]
    return [part[len(part.rstrip("\\")) :] for part in parts]
