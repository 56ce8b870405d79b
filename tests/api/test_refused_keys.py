"""A key that the provider refuses is not tried again by tasks: nothing gets better by itself. Over HTTP."""

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from tests.api.agent_stage import Stage, a_stage_for, run_of
from tests.conftest import Run
from tests.upstream import Say

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[Stage]:
    stack = AsyncExitStack()
    yield run(a_stage_for(stack, settings, lambda _: Say(status=401)))
    run(stack.aclose())


async def test_a_task_whose_provider_refuses_our_key_fails_at_once_with_that_problem(stage: Stage) -> None:
    run, [task] = await run_of(stage.client, "locked", {"kind": "agent", "input": {"instructions": "Say hello."}})

    assert run["status"] == "failed"
    assert run["error"]["type"] == "/problems/provider-key-refused", str(run["error"])
    assert "does not accept our key" in run["error"]["detail"]
    assert len(stage.upstream.calls) == 1, str(task)
