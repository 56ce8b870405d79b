"""Forks and retries find the runs' files as they stood where they begin, over HTTP."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.api.agent_stage import fields_wanted, speaking, steps_of
from tests.api.test_forked_nested_runs import forked, tasks_of
from tests.api.test_retried_effects import World, a_world
from tests.conftest import Run
from tests.upstream import Say

from cognitionos.agents.infrastructure import workspace_versions
from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def world(settings: Settings, run: Run) -> Iterator[World]:
    stack = AsyncExitStack()
    yield run(a_world(stack, settings))
    run(stack.aclose())


def writes(name: str, text: str, *depends_on: str) -> dict[str, Any]:
    given = {"tool": "write_file", "arguments": {"name": name, "text": text}}
    return {"kind": "tool", "depends_on": list(depends_on), "input": given}


def runs(code: str, *depends_on: str) -> dict[str, Any]:
    return {"kind": "python", "depends_on": list(depends_on), "retry": {"max_attempts": 1}, "input": {"code": code}}


def sees(*depends_on: str) -> dict[str, Any]:
    code = "import json, os; print(json.dumps({name: open(name).read() for name in os.listdir('.')}))"
    return runs(code, *depends_on)


def an_agent(instructions: str, *depends_on: str) -> dict[str, Any]:
    """An agent asked what no other test asks: an answer that was kept would do."""
    retry = {"max_attempts": 1}
    return {"kind": "agent", "depends_on": list(depends_on), "retry": retry, "input": {"instructions": instructions}}


def improves(world: World, *, then: Say) -> None:
    """From now on the agent reads the report, writes its own and another file, and then says this."""
    rules = [
        {"tool_results": 0, "call": [{"name": "read_file", "arguments": {"name": "report.md"}}]},
        {
            "tool_results": 1,
            "call": [
                {"name": "write_file", "arguments": {"name": "report.md", "text": "better"}},
                {"name": "write_file", "arguments": {"name": "extra.md", "text": "more"}},
            ],
        },
    ]
    first = speaking(rules)

    def speak(body: dict[str, Any]) -> Say:
        results = sum(message["role"] == "tool" for message in body["messages"])
        answer: Say = then if results > 1 else first(body)
        return answer

    world.stage.upstream.speak = speak


async def files_of(world: World, run: dict[str, Any]) -> dict[str, str]:
    """The run's files and what is in them, as its last task saw them."""
    tasks = await tasks_of(world, run)
    found: dict[str, str] = tasks["see"]["output"]["output"]
    return found


async def read_by(world: World, run: dict[str, Any]) -> list[str]:
    """What agents of the run found when they read a file."""
    calls = [step["call"] for step in await steps_of(world.client, run) if step["call"]]
    return [call["result"] for call in calls if call["tool"] == "read_file"]


@pytest.mark.parametrize(
    ("change", "left"), [("open('f', 'w').write('two')", "two"), ("import os; os.remove('f')", None)]
)
async def test_a_fork_finds_a_file_that_the_task_done_again_replaced_or_removed(
    world: World, change: str, left: str | None
) -> None:
    code = f"print(open('f').read()); {change}"
    tasks = {"a": writes("f", "one"), "b": runs(code, "a"), "c": writes("g", "g", "b"), "see": sees("c")}
    href = await world.started(f"leaves-{left}", **tasks)
    original = await world.until(href, "succeeded", "failed")

    fork = await forked(world, href, **{"from": "b"})
    later = await forked(world, f"/v1/runs/{fork['id']}", **{"from": "c"})
    again = await forked(world, f"/v1/runs/{later['id']}", **{"from": "b"})

    expected = {"f": left, "g": "g"} if left else {"g": "g"}
    assert [run["status"] for run in (original, fork, later, again)] == ["succeeded"] * 4, fork
    assert [await files_of(world, run) for run in (original, fork, later, again)] == [expected] * 4


def speaks_a_goal(body: dict[str, Any]) -> Say:
    """Plans a draft and its improvement, and does both."""
    wanted = fields_wanted(body)
    if "t1" in wanted:
        tasks = {key: {"title": key, "capability": "general", "review": False} for key in ("t1", "t2")}
        tasks["t1"]["instructions"], tasks["t2"]["instructions"] = "Write it.", "Improve it."
        tasks["t2"]["depends_on"] = ["t1"]
        return Say(text=json.dumps({**dict.fromkeys(wanted), **tasks}))
    said: Say = IMPROVES(body)
    return said


IMPROVES = speaking(
    [
        {
            "contains": ["Write it."],
            "tool_results": 0,
            "call": [{"name": "write_file", "arguments": {"name": "report.md", "text": "draft"}}],
        },
        {
            "contains": ["Improve it."],
            "tool_results": 0,
            "call": [{"name": "read_file", "arguments": {"name": "report.md"}}],
        },
        {
            "contains": ["Improve it."],
            "tool_results": 1,
            "call": [{"name": "write_file", "arguments": {"name": "report.md", "text": "better"}}],
        },
        {"say": "Done."},
    ]
)


async def test_the_fork_of_a_goal_reads_the_draft_that_the_task_done_again_had_improved(world: World) -> None:
    world.stage.upstream.speak = speaks_a_goal
    goal = (await world.client.post("/v1/goals", json={"statement": "A report", "budget_usd": "0.9"})).json()
    original = await world.until(goal["run_href"], "succeeded", "failed")

    fork = await forked(world, goal["run_href"], **{"from": "t2"})

    assert (original["status"], fork["status"]) == ("succeeded", "succeeded")
    assert ['"draft"' in result for result in await read_by(world, fork)] == [True], await read_by(world, fork)


async def test_a_failed_run_is_forked_and_retried_with_the_files_as_they_stood_before_what_failed(world: World) -> None:
    improves(world, then=Say(status=400))
    tasks = {"a": writes("report.md", "draft"), "b": an_agent("Make it better.", "a"), "see": sees("b")}
    href = await world.started("improves", **tasks)
    await world.until(href, "failed")

    improves(world, then=Say(text="Improved."))
    fork = await forked(world, href)
    await world.asked(f"{href}/retry")
    retried = await world.until(href, "succeeded", "failed")

    assert (fork["status"], retried["status"]) == ("succeeded", "succeeded")
    assert ['"draft"' in result for result in await read_by(world, fork)] == [True]
    assert ['"draft"' in result for result in await read_by(world, retried)] == [True, True]
    assert await files_of(world, fork) == await files_of(world, retried) == {"report.md": "better", "extra.md": "more"}


async def test_a_retry_takes_away_what_the_failed_task_had_written(world: World) -> None:
    improves(world, then=Say(status=400))
    tasks = {"a": writes("report.md", "draft"), "b": an_agent("Look whether it is good.", "a"), "see": sees("b")}
    href = await world.started("takes-away", **tasks)
    await world.until(href, "failed")

    world.stage.upstream.speak = lambda _: Say(text="It is good as it is.")
    fork = await forked(world, href)
    await world.asked(f"{href}/retry")
    retried = await world.until(href, "succeeded", "failed")

    assert (fork["status"], retried["status"]) == ("succeeded", "succeeded")
    assert await files_of(world, fork) == await files_of(world, retried) == {"report.md": "draft"}


async def test_what_needs_an_earlier_file_that_is_gone_says_so_and_begins_at_an_earlier_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_versions, "MAX_EARLIER_BYTES", 4)
    improves(world, then=Say(text="It is better."))  # what its critic is told, too: no verdict
    improved = an_agent("Improve it where nothing is kept.", "a")
    improved["input"]["review"], improved["retry"] = (
        True,
        {"max_attempts": 3, "backoff_s": 0.05, "only": ["agent-failed"]},
    )

    href = await world.started("gone", a=writes("report.md", "a draft"), b=improved)
    run = await world.until(href, "succeeded", "failed")
    retried = await world.client.post(f"{href}/retry")
    forked_there = await world.client.post(f"{href}/fork", json={"from": "b"})
    earlier = await forked(world, href, **{"from": "a"})

    told = "'report.md' cannot be had as it stood there"
    assert (run["error"]["type"], told in run["error"]["detail"]) == ("/problems/earlier-file-gone", True), run
    assert "critic did not answer as asked" in run["error"]["detail"]
    for refused in (retried, forked_there):
        assert (refused.status_code, told in refused.json()["detail"]) == (409, True), refused.text
    assert earlier["error"]["type"] == "/problems/earlier-file-gone"
