"""What a task is told when its code or its tool fails, and which failures are tried again by themselves."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import mcp_peer
from tests.api.agent_stage import a_stage, run_of
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.agents.domain.tool import MAX_ARGUMENT_CHARACTERS
from cognitionos.agents.infrastructure import python_tool
from cognitionos.platform.config import Settings

FLOOD = "print('x' * 50_000_000)"
QUICK = {"max_attempts": 2, "backoff_s": 0.05}


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings.model_copy(update={"mcp_stdio": True}), []))
    run(stack.aclose())


def code(text: str, **more: Any) -> dict[str, Any]:
    return {"kind": "python", "input": {"code": text}, "retry": QUICK, **more}


async def a_peer(client: httpx.AsyncClient, name: str, script: Path) -> None:
    """A server that is this script, asked what it offers, its tools open."""
    await asyncio.to_thread(shutil.copyfile, mcp_peer.__file__, script)
    body = {"name": name, "transport": "stdio", "command": sys.executable, "args": [str(script), "stdio"]}
    made = await client.post("/v1/tools/servers", json=body)
    assert made.status_code == 201, made.text
    opened = await client.put(f"/v1/tools/rules/{name}.*", json={"allowed": True})
    assert opened.status_code == 200, opened.text


async def test_code_that_prints_too_much_is_told_the_limit_and_how_much_came(client: httpx.AsyncClient) -> None:
    run, _ = await run_of(client, "floods", code(FLOOD))

    assert run["status"] == "failed", run
    assert "the program printed more than 16777216 bytes and was stopped after " in run["error"]["detail"]
    assert "Write what is large to a file" in run["error"]["detail"]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("raises", code("raise ValueError('no')")),
        ("misfit", {"kind": "tool", "retry": QUICK, "input": {"tool": "read_file", "arguments": {"nam": "a"}}}),
        ("missing", {"kind": "tool", "retry": QUICK, "input": {"tool": "read_file", "arguments": {"name": "a"}}}),
    ],
)
async def test_a_fault_of_the_call_is_not_tried_again(client: httpx.AsyncClient, name: str, task: Any) -> None:
    run, [tried] = await run_of(client, name, task)

    assert (run["error"]["type"], tried["attempt"]) == ("/problems/tool-failed", 1)


@pytest.mark.parametrize("word", ["agent-failed", "tool-failed"])
async def test_a_policy_that_names_it_tries_it_again_also_by_its_former_name(
    client: httpx.AsyncClient, word: str
) -> None:
    task = code("raise ValueError('no')", retry={**QUICK, "only": [word]})

    run, [tried] = await run_of(client, f"named_{word}", task)

    assert (run["error"]["type"], tried["attempt"]) == ("/problems/tool-failed", 2)


async def test_a_server_that_is_down_is_called_again_and_its_call_is_made_once(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    script = tmp_path / "down.py"
    await a_peer(client, "down", script)
    up, retry = script.read_text(), {"max_attempts": 50, "backoff_s": 0.05}
    script.write_text("raise SystemExit('out for lunch')")
    ordered = {"tool": "down.order", "arguments": {"item": "tea", "amount": 1}}
    made = await client.post(
        "/v1/workflows", json={"name": "down", "tasks": {"t": {"kind": "tool", "retry": retry, "input": ordered}}}
    )
    assert made.status_code == 201, made.text
    href = f"/v1/runs/{(await client.post('/v1/runs', json={'workflow': 'down'})).json()['id']}"

    async def is_retrying() -> Any:
        events = (await client.get(f"{href}/events", params={"limit": 200})).json()["items"]
        return [event for event in events if event["kind"] == "task.retrying"]

    [first, *_] = await eventually(is_retrying)
    script.write_text(up)

    async def has_ended() -> Any:
        run = (await client.get(href)).json()
        return run if run["finished_at"] else None

    run = await eventually(has_ended)
    assert run["status"] == "succeeded", run
    assert "tool-unavailable" in str(first)
    task = (await client.get(f"{href}/tasks/t")).json()
    assert "order 1" in str(task["output"])


async def test_a_call_that_may_have_happened_is_not_made_again_by_itself(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await a_peer(client, "cut", tmp_path / "cut.py")

    run, [tried] = await run_of(client, "cut", {"kind": "tool", "retry": QUICK, "input": {"tool": "cut.crash"}})

    assert (run["error"]["type"], tried["attempt"]) == ("/problems/tool-failed", 1)


async def test_code_has_its_task_s_time_and_no_other(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_tool, "RUN_TIMEOUT_S", 0.01)
    late = code("import time\ntime.sleep(3600)", timeout_s=0.5, retry={"max_attempts": 1})

    well, _ = await run_of(
        client, "slow_code", code("import time\ntime.sleep(0.2)\nprint(1)", retry={"max_attempts": 1})
    )
    timed_out, _ = await run_of(client, "late_code", late)

    assert well["status"] == "succeeded", well
    assert timed_out["error"]["type"] == "/problems/task-timed-out"


async def test_code_with_an_input_that_its_journal_shortens_is_replayed(client: httpx.AsyncClient) -> None:
    large = {"kind": "python", "input": {"code": "print(len(data))", "input": "x" * 2 * MAX_ARGUMENT_CHARACTERS}}

    run, [done] = await run_of(client, "large", large)
    replayed = (await client.post(f"{run['href']}/replay")).json()

    assert done["output"]["output"] == 2 * MAX_ARGUMENT_CHARACTERS
    assert (replayed["divergence"], replayed["model_calls"]) == (None, 0)
