"""The files of runs over HTTP: which there are, who wrote them, their bytes. Tools, agents and database are real."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.api.agent_stage import fields_wanted, goal_of
from tests.api.test_forked_files import runs, writes
from tests.api.test_forked_nested_runs import forked
from tests.api.test_retried_effects import World, a_world
from tests.conftest import Run
from tests.upstream import Say

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def world(settings: Settings, run: Run) -> Iterator[World]:
    stack = AsyncExitStack()
    yield run(a_world(stack, settings))
    run(stack.aclose())


async def files_of(world: World, href: str) -> dict[str, tuple[str | None, str | None, int]]:
    """The run's files: who wrote each, how that task stands, its bytes."""
    answer = await world.client.get(f"{href}/files?limit=200")
    assert answer.status_code == 200, answer.text
    return {file["name"]: (file["task"], file["task_status"], file["bytes"]) for file in answer.json()["items"]}


async def test_a_run_s_files_are_listed_with_who_wrote_them_and_can_be_saved(world: World) -> None:
    both = runs("open('a.txt', 'w').write('b wrote'); open('out/x.csv', 'w').write('1;2')", "a")
    tasks = {"a": writes("a.txt", "a"), "dir": writes("out/ä b.md", "dir"), "b": both}
    tasks["b"]["depends_on"] = ["a", "dir"]
    href = await world.started("listed", **tasks)
    run = await world.until(href, "succeeded", "failed")
    assert run["status"] == "succeeded", run

    assert run["files_href"] == f"{href}/files"
    assert await files_of(world, href) == {
        "a.txt": ("b", "succeeded", 7),
        "out/x.csv": ("b", "succeeded", 3),
        "out/ä b.md": ("dir", "succeeded", 3),
    }
    first = (await world.client.get(f"{href}/files?limit=2")).json()
    [last] = (await world.client.get(f"{href}/files?limit=2&cursor={first['next_cursor']}")).json()["items"]
    assert ([file["name"] for file in first["items"]], last["name"]) == (["a.txt", "out/x.csv"], "out/ä b.md")
    assert (last["origin"], last["media_type"]) == ("output", "text/markdown")
    assert run["started_at"] <= last["changed_at"] <= run["finished_at"]
    saved = await world.client.get(last["href"])
    assert (saved.content, saved.headers["content-type"]) == (b"dir", "text/markdown")
    assert saved.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A4%20b.md"
    assert saved.headers["x-content-type-options"] == "nosniff"
    assert saved.headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_what_is_no_file_of_the_run_is_not_found(world: World) -> None:
    href = await world.started("one-file", a=writes("a.txt", "a"))
    await world.until(href, "succeeded")

    answers = {
        name: (await world.client.get(f"{href}/files/{name}")).status_code
        for name in ("a.txt", "./a.txt", "b.txt", "a.txt/b", "..%2Fa.txt", "%2Fetc%2Fpasswd", "a%00.txt", "a" * 300)
    }
    nobody = "/v1/runs/00000000-0000-7000-8000-000000000000/files"
    theirs = await world.stage.another_tenant(stack := AsyncExitStack())
    foreign = [(await theirs.get(path)).status_code for path in (f"{href}/files", f"{href}/files/a.txt")]
    await stack.aclose()

    assert answers == {
        "a.txt": 200,
        "./a.txt": 200,
        "b.txt": 404,
        "a.txt/b": 404,
        "..%2Fa.txt": 422,
        "%2Fetc%2Fpasswd": 404,
        "a%00.txt": 422,
        "a" * 300: 422,
    }
    assert [(await world.client.get(path)).status_code for path in (nobody, f"{nobody}/a.txt")] == [404, 404]
    assert foreign == [404, 404]
    refused = await world.client.get(f"{href}/files?cursor=x")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "cursor")


async def test_a_fork_has_files_of_its_own_and_a_failed_task_s_say_so(world: World) -> None:
    fails = runs("open('f', 'w').write('half'); assert False", "b")
    href = await world.started("own", a=writes("f", "one"), b=writes("g", "two", "a"), c=fails)
    original = await world.until(href, "succeeded", "failed")
    left = await files_of(world, href)

    fork = await forked(world, href, **{"from": "b"})
    await world.asked(f"{href}/retry")
    again = await world.until(href, "failed")

    assert [run["status"] for run in (original, fork, again)] == ["failed"] * 3
    assert left == {"f": ("c", "failed", 4), "g": ("b", "succeeded", 3)}
    assert await files_of(world, f"/v1/runs/{fork['id']}") == left
    assert await files_of(world, href) == left
    assert (await world.client.get(f"/v1/runs/{fork['id']}/files/f")).text == "half"


def plans_anew(body: dict[str, Any]) -> Say:
    """Plans a task that writes a file and that no critic accepts; planned anew, another file is written."""
    wanted, said = fields_wanted(body), json.dumps(body["messages"])
    answered = any(message["role"] == "tool" for message in body["messages"])
    if "t1" in wanted or "n1" in wanted:
        key, review = ("t1", True) if "t1" in wanted else ("n1", False)
        task = {"title": key, "instructions": f"Write {key}.md.", "review": review}
        return Say(text=json.dumps({**dict.fromkeys(wanted), key: task}))
    if "accepted" in wanted:
        return Say(text=json.dumps({"accepted": False, "reasons": ["it is half"]}))
    if answered:
        return Say(text="It is written.")
    name = "n1.md" if "Write n1.md." in said else "t1.md"
    arguments = json.dumps({"name": name, "text": "some words"})
    return Say(
        tool_calls=[{"id": "c1", "type": "function", "function": {"name": "write_file", "arguments": arguments}}]
    )


async def test_a_goal_s_artifacts_say_which_of_them_a_failed_task_left(world: World) -> None:
    world.stage.upstream.speak = plans_anew
    given = [{"name": "data.csv", "media_type": "text/csv", "content_base64": "YSxi"}]

    goal = await goal_of(world.client, "Write something", replans=1, inputs=given)

    assert goal["status"] == "succeeded", goal["error"]
    artifacts = {file["name"]: (file["task"], file["task_status"]) for file in goal["result"]["artifacts"]}
    assert artifacts == {"n1.md": ("t1.n1", "succeeded"), "t1.md": ("t1", "failed")}
    [source] = goal["inputs"]
    assert (source["task"], source["task_status"]) == (None, None)
    assert await files_of(world, goal["run_href"]) == {
        "data.csv": (None, None, 3),
        "n1.md": ("t1.n1", "succeeded", 10),
        "t1.md": ("t1", "failed", 10),
    }
