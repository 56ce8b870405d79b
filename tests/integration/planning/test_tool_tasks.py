"""Tasks of kind `tool` and `python` with the product's own tools: the sandbox, the run's files, the journal."""

from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from tests.fakes.planning_engine import a_principal, running_loops
from tests.waiting import eventually

from cognitionos.composition import Services, build
from cognitionos.kernel.principal import Principal
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.planning.infrastructure.views import RunView
from cognitionos.platform.config import Settings


@asynccontextmanager
async def opened(settings: Settings) -> Any:
    services = build(settings)
    await services.open()
    try:
        async with running_loops(*services.planning.background):
            yield services
    finally:
        await services.close()


@pytest.fixture(scope="module")
def services(settings: Settings, run: Any) -> Iterator[Services]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(opened(settings)))
    run(stack.aclose())


async def ended(services: Services, who: Principal, *tasks: TaskSpec) -> tuple[RunView, dict[str, Any]]:
    run_id = await services.planning.runs.start(who, tasks)

    async def final() -> RunView | None:
        view = await services.planning.queries.run(who.tenant_id, run_id)
        return view if view.finished_at else None

    view = await eventually(final, timeout_s=40)
    assert view is not None
    return view, await outputs(services, who, run_id)


async def outputs(services: Services, who: Principal, run_id: UUID) -> dict[str, Any]:
    page = await services.planning.queries.tasks(who.tenant_id, run_id, limit=50, after=None)
    return {task.key: task.output for _, task in page}


def python(key: str, code: str, *after: str, **spec: Any) -> TaskSpec:
    return TaskSpec(key=key, kind="python", spec={"code": code, **spec}, depends_on=after)


async def test_code_computes_on_its_input_and_what_it_writes_is_there_for_the_next_task(services: Services) -> None:
    who = a_principal()
    write = python("write", "open('sum.txt', 'w').write(str(sum(data)))\nprint(len(data))", input=[1, 2, 39])
    read = TaskSpec(
        key="read", kind="tool", depends_on=("write",), spec={"tool": "read_file", "arguments": {"name": "sum.txt"}}
    )

    run, found = await ended(services, who, write, read)

    files = await services.agents.agents.files(who.tenant_id, run.id)
    assert run.status == "succeeded", run.error
    assert found["write"]["output"] == 3
    assert "42" in str(found["read"])
    assert [(file.name, file.origin) for file in files] == [("sum.txt", "output")]


async def test_data_with_quotes_and_other_scripts_reaches_the_code_as_it_is(services: Services) -> None:
    text = "'\"\\ \n 日本 😀"

    run, found = await ended(services, a_principal(), python("echo", "print(json.dumps(data))", input={"t": text}))

    assert run.status == "succeeded", run.error
    assert found["echo"]["output"] == {"t": text}


async def test_code_that_raises_fails_its_task_with_its_own_words_and_is_not_tried_again(services: Services) -> None:
    run, _ = await ended(services, a_principal(), python("bad", "raise ValueError('no such thing')"))

    assert run.status == "failed"
    assert run.error is not None
    assert "no such thing" in run.error.detail


async def test_a_tool_that_is_not_there_fails_its_task(services: Services) -> None:
    run, _ = await ended(services, a_principal(), TaskSpec(key="x", kind="tool", spec={"tool": "nothing.like_this"}))

    assert run.status == "failed"
    assert run.error is not None
    assert "nothing__like_this" in run.error.detail
