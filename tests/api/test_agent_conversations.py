"""Conversations over HTTP: tools, history, streams, cancelling, budgets; taken up again after a kill -9."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.api.agent_stage import WRITES_A_NOTE, Rules, a_stage, connected, speaking
from tests.api.server import running_server
from tests.conftest import Run
from tests.edge import Caller, a_caller, raw_request, running_app
from tests.upstream import Say, running_upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

RULES: Rules = [
    *WRITES_A_NOTE,
    {"contains": ["what is my name"], "say": "You are {{user:I am (\\w+)}}."},
    {"contains": ["I am"], "say": "Good to know you."},
]


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


async def a_conversation(client: httpx.AsyncClient, **given: Any) -> str:
    made = await client.post("/v1/conversations", json=given)
    assert made.status_code == 201, made.text
    return f"/v1/conversations/{made.json()['id']}"


async def said(client: httpx.AsyncClient, href: str, content: str) -> dict[str, Any]:
    answer = await client.post(f"{href}/messages", json={"content": content})
    assert answer.status_code == 200, answer.text
    turn: dict[str, Any] = answer.json()
    return turn


async def test_an_agent_remembers_what_was_said_before(client: httpx.AsyncClient) -> None:
    href = await a_conversation(client, title="Names")

    first = await said(client, href, "I am Ada.")
    second = await said(client, href, "Now, what is my name?")

    assert (first["answer"], first["number"], first["status"]) == ("Good to know you.", 1, "succeeded")
    assert second["answer"] == "You are Ada."
    listed = (await client.get(f"{href}/messages?limit=1")).json()
    assert [each["message"] for each in listed["items"]] == ["I am Ada."]
    rest = (await client.get(f"{href}/messages?cursor={listed['next_cursor']}")).json()
    assert [each["answer"] for each in rest["items"]] == ["You are Ada."]
    read = (await client.get(href)).json()
    assert (read["title"], read["turns"], read["status"], read["agent"]) == ("Names", 2, "succeeded", "executor")


async def test_an_agent_uses_its_tools_and_the_journal_shows_it(client: httpx.AsyncClient) -> None:
    href = await a_conversation(client)

    turn = await said(client, href, "Write it down, please.")

    assert (turn["answer"], turn["files"], turn["prompts"]) == (
        "It is in note.md.",
        ["note.md"],
        {"executor": "executor@2"},
    )
    steps = (await client.get(f"{href}/steps")).json()["items"]
    assert [step["kind"] for step in steps] == ["model", "tool", "model"]


async def test_a_deleted_conversation_is_gone_with_its_journal(client: httpx.AsyncClient) -> None:
    href = await a_conversation(client)
    await said(client, href, "Write it down, please.")

    gone = await client.delete(href)

    assert gone.status_code == 204
    for path in (href, f"{href}/messages", f"{href}/steps"):
        assert (await client.get(path)).status_code == 404
    assert href.rpartition("/")[2] not in (await client.get("/v1/conversations?limit=200")).text


async def test_what_is_not_there_or_does_not_fit_is_refused(client: httpx.AsyncClient) -> None:
    href = await a_conversation(client)

    nobody = await client.post("/v1/conversations", json={"agent": "nobody"})
    empty = await client.post(f"{href}/messages", json={"content": ""})
    too_long = await client.post(f"{href}/messages", json={"content": "x" * 20_001})
    missing = await client.post(f"/v1/conversations/{uuid4()}/messages", json={"content": "hello"})
    idle = [(await client.post(f"{href}/{verb}", json={})).status_code for verb in ("cancel", "resume")]

    assert (nobody.status_code, empty.status_code, too_long.status_code) == (404, 400, 400)
    assert (missing.status_code, idle) == (404, [409, 409])


async def test_a_stream_tells_what_happens_and_ends_with_the_message(settings: Settings) -> None:
    async with running_upstream(speak=speaking(RULES)) as upstream, running_app(connected(settings, upstream)) as app:
        caller = await a_caller(settings, "streams")
        made = await _post(app, caller, "/v1/conversations", {})
        body = {"content": "Write it down, please.", "stream": True}
        headers = {**caller.headers, "content-type": "application/json"}
        path = f"/v1/conversations/{made['id']}/messages"

        sent = await raw_request(app, path, method="POST", headers=headers, body=json.dumps(body).encode())

    text = b"".join(message.get("body", b"") for message in sent).decode()
    frames = [dict(line.split(": ", 1) for line in frame.splitlines()) for frame in text.strip().split("\n\n")]
    assert [frame["event"] for frame in frames if frame["event"] != "agent.delta"] == [
        "agent.answered",
        "agent.tool_called",
        "agent.answered",
        "message",
    ]
    words = [json.loads(frame["data"])["text"] for frame in frames if frame["event"] == "agent.delta"]
    assert words == ["It ", "is ", "in ", "note.md."]
    assert [frame["id"] for frame in frames if "id" in frame] == ["1.1", "1.2", "1.3", "1.end"]
    assert json.loads(frames[-1]["data"])["answer"] == "It is in note.md."


async def test_a_turn_is_cancelled_while_its_model_hangs_and_the_next_one_goes(settings: Settings) -> None:
    async with running_upstream(speak=speaking(RULES)) as upstream, running_app(connected(settings, upstream)) as app:
        caller = await a_caller(settings, "cancels")
        href = f"/v1/conversations/{(await _post(app, caller, '/v1/conversations', {}))['id']}"
        upstream.then(Say(text="too late", delay_s=60))
        asking = asyncio.create_task(_status(app, caller, f"{href}/messages", {"content": "I am Bob."}))
        await eventually(lambda: bool(upstream.calls))
        busy = await _status(app, caller, f"{href}/messages", {"content": "Hurry."})

        cancelled = await _post(app, caller, f"{href}/cancel", {})
        async with asyncio.timeout(20):
            ended = await asking
        after = await _post(app, caller, f"{href}/messages", {"content": "I am Ada."})

    assert cancelled["status"] == "cancelled"
    assert (busy, ended) == (409, 409)
    assert (after["number"], after["answer"]) == (2, "Good to know you.")


async def test_a_budget_of_the_key_ends_a_turn_and_is_named(client: httpx.AsyncClient) -> None:
    href = await a_conversation(client)
    run = href.rpartition("/")[2]
    price = {"input_usd_per_million": "1", "output_usd_per_million": "1"}
    assert (await client.put("/v1/prices/openai/gpt-4o-mini", json=price)).is_success
    made = await client.post("/v1/budgets", json={"subject": f"run:{run}", "limit_usd": "0.000000001"})
    assert made.status_code == 201, made.text

    answer = await client.post(f"{href}/messages", json={"content": "I am Grace."})

    assert answer.status_code == 429, answer.text
    assert run in answer.json()["detail"]
    [turn] = (await client.get(f"{href}/messages")).json()["items"]
    assert (turn["status"], turn["error"]["type"]) == ("failed", "budget-exhausted")


async def test_a_turn_goes_on_where_its_journal_ends_after_the_process_was_killed(
    settings: Settings, tmp_path: Path
) -> None:
    caller = await a_caller(settings, "killed")
    async with running_upstream(speak=speaking(RULES)) as upstream:
        environment = {
            "OPENAI_BASE_URL": upstream.base_url,
            "OPENAI_API_KEY": upstream.api_key or "",
            "COGNITIONOS_MODEL": "openai/gpt-4o-mini",
            "COGNITIONOS_LEASE_S": "1",
        }
        crashing = {**environment, "COGNITIONOS_CRASH_POINT": "agents.after_tool_effect"}
        with running_server(settings, tmp_path / "first.log", **crashing) as url:
            async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
                href = await a_conversation(client)
                with pytest.raises(httpx.TransportError):
                    await client.post(f"{href}/messages", json={"content": "Write it down, please."})
        asked = len(upstream.calls)
        with running_server(settings, tmp_path / "second.log", **environment) as url:
            async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
                busy = await client.post(f"{href}/messages", json={"content": "I am Ada."})

                async def resumed() -> dict[str, Any]:
                    answer = await client.post(f"{href}/resume")
                    found: dict[str, Any] = answer.json()
                    return found if answer.status_code == 200 else {}

                turn: dict[str, Any] = await eventually(resumed)

    assert busy.status_code == 409
    assert (turn["answer"], turn["files"]) == ("It is in note.md.", ["note.md"])
    assert (asked, len(upstream.calls)) == (1, 2)


async def _post(app: Any, caller: Caller, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://api", headers=caller.headers
    ) as client:
        answer = await client.post(path, json=body)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _status(app: Any, caller: Caller, path: str, body: dict[str, Any]) -> int:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://api", headers=caller.headers
    ) as client:
        return (await client.post(path, json=body)).status_code
