"""A declaration's names, looked up: agents and tools at `agents`, workflows beside it."""

from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol
from uuid import UUID

from cognitionos.agents.facade import Strangers
from cognitionos.planning.application.runs import WorkflowRepository
from cognitionos.planning.domain.named import Named, NamedKind, always_started
from cognitionos.planning.domain.workflow import MOST_FAULTS, DeclaredTask, InvalidWorkflow, WorkflowNotFound

MOST_WALKED = 50
"""How many workflows are looked into for a circle; what a longer one starts comes to its end at the depth limit."""


class FindStrangers(Protocol):
    """See `Agents.strangers`."""

    def __call__(self, tenant_id: UUID, /, *, agents: Sequence[str], tools: Sequence[str]) -> Awaitable[Strangers]: ...


async def check_workers(strangers: FindStrangers, tenant_id: UUID, named: Sequence[Named]) -> None:
    """Raise `InvalidWorkflow` for agents and tools that are not there."""
    _refuse(await worker_faults(strangers, tenant_id, named))


async def worker_faults(strangers: FindStrangers, tenant_id: UUID, named: Sequence[Named]) -> dict[str, str]:
    """Which agents and tools are not there, by field, with what to do about it."""
    agents, tools = _distinct(named, NamedKind.AGENT), _distinct(named, NamedKind.TOOL)
    if not agents and not tools:
        return {}
    found = await strangers(tenant_id, agents=agents, tools=tools)
    told = {NamedKind.AGENT: found.agents, NamedKind.TOOL: found.tools, NamedKind.WORKFLOW: {}}
    return {each.field: told[each.kind][each.name] for each in named if each.name in told[each.kind]}


async def workflow_faults(workflows: WorkflowRepository, named: Sequence[Named]) -> dict[str, str]:
    """Which workflows are not there, by field, with what to do about it."""
    nested = [each for each in named if each.kind is NamedKind.WORKFLOW]
    latest = await workflows.latest_of([each.workflow[0] for each in nested]) if nested else {}
    return {each.field: fault for each in nested if (fault := _missing(each, latest))}


async def check_workflows(
    workflows: WorkflowRepository, name: str, version: int, tasks: Mapping[str, DeclaredTask], named: Sequence[Named]
) -> None:
    """Raise `InvalidWorkflow` where version `version` of `name`, about to be declared, starts a workflow that is not
    there, or starts itself, by way of others too, whatever happens.
    """
    nested = [each for each in named if each.kind is NamedKind.WORKFLOW]
    if not nested:
        return
    latest = await workflows.latest_of([each.workflow[0] for each in nested]) | {name: version}
    _refuse({each.field: fault for each in nested if (fault := _missing(each, latest))})
    seen = {name}
    left: list[tuple[Named, Named, tuple[str, ...]]] = [(each, each, (name,)) for each in always_started(tasks)]
    while left and len(seen) < MOST_WALKED:
        begun, here, path = left.pop()
        started, pinned = here.workflow
        if started == name and pinned in {None, version}:
            circle = " -> ".join(f"'{each}'" for each in (*path, name))
            told = f"every run of it would start another run of it ({circle}); let a condition decide"
            _refuse({begun.field: told})
        if here.name not in seen:
            seen.add(here.name)
            with suppress(WorkflowNotFound):  # declared before names were looked up
                below = always_started((await workflows.get(started, pinned)).tasks)
                left += [(begun, each, (*path, started)) for each in below]


def _missing(named: Named, latest: Mapping[str, int]) -> str | None:
    name, version = named.workflow
    if name not in latest:
        return f"there is no workflow '{name}'; declare it first, by POST /v1/workflows"
    if version is not None and version > latest[name]:
        return f"there is no version {version} of the workflow '{name}'; the latest is {latest[name]}"
    return None


def _distinct(named: Sequence[Named], kind: NamedKind) -> list[str]:
    return list(dict.fromkeys(each.name for each in named if each.kind is kind))


def _refuse(faults: Mapping[str, str]) -> None:
    if faults:
        shown = dict(list(faults.items())[:MOST_FAULTS])
        raise InvalidWorkflow("; ".join(f"{at}: {fault}" for at, fault in list(shown.items())[:10]), fields=shown)
