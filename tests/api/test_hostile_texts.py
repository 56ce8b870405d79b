"""JSON nested beyond reading, numbers that are none, NUL and half characters, from models, tools and hosts."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from tests.api.agent_stage import Stage, a_stage_for, fields_wanted, goal_of, run_of
from tests.conftest import Run
from tests.serving import serving
from tests.upstream import Say

from cognitionos.platform.config import Settings

DEEP = "[" * 3_000 + "]" * 3_000
PLAN = {"t1": {"title": "Look", "instructions": "Look it up."}}
BODIES = {"/deep": DEEP, "/nan": '{"a": NaN}', "/large": '{"a": 1e999}', "/nul": '{"a": "x\\u0000y\\ud800z"}'}


def speak(body: dict[str, Any]) -> Say:
    """Nests its first plan, verdict or arguments too deeply, and does better when told."""
    text, wanted = json.dumps(body["messages"]), fields_wanted(body)
    is_told = "assistant" in {message["role"] for message in body["messages"]}
    if "t1" in wanted:
        return Say(text=json.dumps({**dict.fromkeys(wanted), **PLAN}) if is_told else DEEP)
    if "You are the critic" in text:
        return Say(text='{"accepted": true, "reasons": []}' if is_told else DEEP)
    if "use a tool" in text and not is_told:
        call = {"id": "call_1", "type": "function", "function": {"name": "python", "arguments": DEEP}}
        return Say(tool_calls=[call])
    return Say(text="done")


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[tuple[Stage, str]]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings))
    run(stack.aclose())


async def a_stage(stack: AsyncExitStack, settings: Settings) -> tuple[Stage, str]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=BODIES[request.path], content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    address = await stack.enter_async_context(serving(app))
    opened = settings.model_copy(update={"http_allow": (address,)})
    return await a_stage_for(stack, opened, speak), f"http://{address}"


async def test_a_plan_that_is_nested_too_deeply_gets_its_repair_round(stage: tuple[Stage, str]) -> None:
    goal = await goal_of(stage[0].client, "Look it up")

    assert (goal["status"], goal["result"]["text"]) == ("succeeded", "done")


async def test_a_verdict_and_arguments_that_are_nested_too_deeply_are_asked_for_again(stage: tuple[Stage, str]) -> None:
    task = {"kind": "agent", "input": {"instructions": "Please use a tool.", "review": True}}

    run, tasks = await run_of(stage[0].client, "deep_agent", task)

    assert run["status"] == "succeeded", str(tasks)
    [told] = [m for b in stage[0].upstream.calls for m in b["messages"] if m["role"] == "tool"][:1]
    assert "nested too deeply" in told["content"]


async def test_a_conversation_survives_arguments_that_are_nested_too_deeply(stage: tuple[Stage, str]) -> None:
    client = stage[0].client
    made = (await client.post("/v1/conversations", json={"agent": "executor"})).json()

    answer = await client.post(f"/v1/conversations/{made['id']}/messages", json={"content": "use a tool"})

    assert answer.is_success, answer.text
    assert "done" in answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [("/deep", DEEP), ("/nan", '{"a": NaN}'), ("/large", '{"a": 1e999}'), ("/nul", {"a": "x\ufffdy\ufffdz"})],
)
@pytest.mark.parametrize("kind", ["http", "tool"])
async def test_a_body_that_is_no_json_is_the_text_it_is_and_is_stored(
    stage: tuple[Stage, str], kind: str, path: str, body: Any
) -> None:
    given: dict[str, Any] = {"method": "GET", "url": f"{stage[1]}{path}"}
    if kind == "tool":
        given = {"tool": "http_request", "arguments": given}

    run, [task] = await run_of(stage[0].client, f"{kind}_{path[1:]}", {"kind": kind, "input": given})

    assert run["status"] == "succeeded", str(run)
    output = task["output"] if task.get("output") else (await stage[0].client.get(task["href"])).json()["output"]
    assert output["body"] == body


async def test_python_that_prints_what_is_no_json_gives_its_text(stage: tuple[Stage, str]) -> None:
    code = 'print("["*3000 + "]"*3000)'

    run, [task] = await run_of(stage[0].client, "deep_print", {"kind": "python", "input": {"code": code}})

    assert run["status"] == "succeeded", str(run)
    assert "[[[[" in json.dumps(task)
