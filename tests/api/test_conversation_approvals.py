"""What an agent may not do unasked in a conversation: asked, decided once, gone on with the very arguments."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import connected, speaking
from tests.api.streams import Frame, all_of, streaming
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, running_app
from tests.upstream import Upstream, running_upstream
from tests.waiting import eventually

from cognitionos import composition
from cognitionos.composition import Services
from cognitionos.platform.config import Settings

NOTE = {"name": "write_file", "arguments": {"name": "note.md", "text": "Sea."}}
OTHER = {"name": "write_file", "arguments": {"name": "other.md", "text": "Land."}}
RULES: list[dict[str, Any]] = [
    {"contains": ["both of them"], "tool_results": 0, "call": [NOTE, OTHER]},
    {"contains": ["write it down"], "tool_results": 0, "call": [NOTE]},
    {"contains": ["both of them"], "say": "Done: {{tool:0}} and {{tool:1}}"},
    {"contains": ["write it down"], "say": "Done: {{tool:0}}"},
    {"contains": ["hello"], "say": "Hello to you."},
]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The API, and the services of a worker beside it."""

    app: Any
    caller: Caller
    client: httpx.AsyncClient
    upstream: Upstream
    worker: Services

    async def talk(self, **rule: Any) -> str:
        asking = {"allowed": True, "approval": "always", **rule}
        ruled = await self.client.put("/v1/tools/rules/write_file", json=asking)
        assert ruled.status_code == 200, ruled.text
        made = await self.client.post("/v1/conversations", json={})
        return f"/v1/conversations/{made.json()['id']}"

    async def waiting(self, href: str, content: str = "Write it down.") -> dict[str, Any]:
        answer = await self.client.post(f"{href}/messages", json={"content": content})
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "waiting", answer.text
        return (await self.asked(href))[0]

    async def asked(self, href: str, status: str = "pending") -> list[dict[str, Any]]:
        page = await self.client.get(f"/v1/approvals?status={status}&conversation_id={href.rpartition('/')[2]}")
        found: list[dict[str, Any]] = page.json()["items"]
        return found

    async def decide(self, approval: str, verdict: str, **body: Any) -> httpx.Response:
        return await self.client.post(f"/v1/approvals/{approval}/{verdict}", json=body)

    async def ended(self, href: str) -> dict[str, Any]:
        """The last turn, once the worker's sweep has gone on with it."""

        async def look() -> dict[str, Any] | None:
            await self.worker.agents.conversing.conversations.sweep()
            turn: dict[str, Any] = (await self.client.get(f"{href}/messages")).json()["items"][-1]
            return turn if turn["status"] in {"succeeded", "failed"} else None

        turn: dict[str, Any] = await eventually(look, timeout_s=30)
        return turn


async def a_scene(stack: AsyncExitStack, settings: Settings) -> Scene:
    upstream = await stack.enter_async_context(running_upstream(speak=speaking(RULES)))
    told = connected(settings, upstream)
    app = await stack.enter_async_context(running_app(told))
    caller = await a_caller(told, "approvals")
    client = await stack.enter_async_context(client_of(app, caller))
    worker = composition.build(told)
    await worker.open()
    stack.push_async_callback(worker.close)
    return Scene(app=app, caller=caller, client=client, upstream=upstream, worker=worker)


@pytest.fixture(scope="module")
def scene(settings: Settings, run: Run) -> Iterator[Scene]:
    stack = AsyncExitStack()
    yield run(a_scene(stack, settings))
    run(stack.aclose())


async def until(frames: AsyncIterator[Frame], event: str) -> Frame:
    async for frame in frames:
        if frame.event == event:
            return frame
    raise AssertionError(f"the stream ended without {event}")


async def test_the_stream_asks_waits_and_goes_on_with_the_decision(scene: Scene) -> None:
    href = await scene.talk()
    body = {"content": "Write it down.", "stream": True}

    async with streaming(scene.app, scene.caller, f"{href}/messages", body=body) as frames:
        asked = await until(frames, "approval.requested")
        decided = await scene.decide(asked.data["approval_id"], "approve", comment="go ahead")
        rest = await all_of(frames)

    assert asked.data["details"]["arguments"] == NOTE["arguments"]
    assert (decided.status_code, decided.json()["conversation_id"]) == (200, href.rpartition("/")[2])
    told = [frame for frame in rest if frame.event in {"approval.decided", "agent.tool_called", "message"}]
    assert sorted(frame.event for frame in told) == ["agent.tool_called", "approval.decided", "message"]
    assert rest[-1].data["files"] == ["note.md"]
    assert len(scene.upstream.calls) == 2


async def test_nobody_who_follows_is_needed_the_worker_goes_on(scene: Scene) -> None:
    href = await scene.talk()
    asked = await scene.waiting(href)
    busy = await scene.client.post(f"{href}/messages", json={"content": "hello"})

    assert (asked["run_id"], asked["conversation_href"], asked["task"]) == (None, href, "turn 1")
    assert (busy.status_code, "approve" in busy.json()["detail"]) == (409, True)
    assert await scene.worker.agents.conversing.conversations.sweep() == 0

    await scene.decide(asked["id"], "approve")
    turn = await scene.ended(href)

    assert (turn["status"], turn["files"]) == ("succeeded", ["note.md"])
    assert (await scene.client.post(f"{href}/messages", json={"content": "hello"})).status_code == 200


async def test_a_rejected_call_is_not_made_and_the_agent_knows_why(scene: Scene) -> None:
    href = await scene.talk()
    asked = await scene.waiting(href)

    await scene.decide(asked["id"], "reject", comment="not today")
    turn = await scene.ended(href)

    assert (turn["status"], turn["files"]) == ("succeeded", [])
    assert "not today" in turn["answer"]


async def test_a_decision_counts_once_and_for_one_call(scene: Scene) -> None:
    href = await scene.talk()
    first = await scene.waiting(href)

    await scene.decide(first["id"], "approve")
    otherwise = await scene.decide(first["id"], "reject")
    await scene.ended(href)
    again = await scene.waiting(href)  # the same call in the next turn is another one

    assert otherwise.status_code == 409
    assert again["id"] != first["id"]
    assert again["task"] == "turn 2"


async def test_of_two_calls_each_is_decided_by_itself(scene: Scene) -> None:
    href = await scene.talk()
    await scene.waiting(href, "Please both of them.")
    by_name = {each["details"]["arguments"]["name"]: each["id"] for each in await scene.asked(href)}

    await scene.decide(by_name["note.md"], "approve")

    async def waits_for_the_other() -> bool:
        await scene.worker.agents.conversing.conversations.sweep()
        steps = (await scene.client.get(f"{href}/steps")).json()["items"]
        turn = (await scene.client.get(f"{href}/messages")).json()["items"][-1]
        return [step["kind"] for step in steps] == ["model", "tool"] and turn["status"] == "waiting"

    await eventually(waits_for_the_other, timeout_s=30)
    await scene.decide(by_name["other.md"], "reject")
    turn = await scene.ended(href)

    assert (turn["status"], turn["files"]) == ("succeeded", ["note.md"])


@pytest.mark.parametrize(
    ("default", "status", "files"),
    [("approve", "succeeded", ["note.md"]), ("reject", "succeeded", []), ("fail", "failed", [])],
)
async def test_the_default_counts_when_the_deadline_has_passed(
    scene: Scene, default: str, status: str, files: list[str]
) -> None:
    href = await scene.talk(deadline_s=1, default=default)
    asked = await scene.waiting(href)

    turn = await scene.ended(href)
    late = await scene.decide(asked["id"], "approve")

    assert (turn["status"], turn["files"], late.status_code) == (status, files, 409)
    if default == "fail":
        assert turn["error"]["type"] == "approval-expired"


async def test_a_link_decides_without_a_key(scene: Scene) -> None:
    href = await scene.talk()
    asked = await scene.waiting(href)
    link = (await scene.client.post(f"/v1/approvals/{asked['id']}/link", json={"person": "Ada"})).json()

    shown = await scene.client.get(link["href"], headers={"authorization": ""})
    await scene.client.post(link["href"], json={"decision": "approve"}, headers={"authorization": ""})
    turn = await scene.ended(href)

    assert shown.json()["details"]["arguments"] == NOTE["arguments"]
    assert turn["files"] == ["note.md"]
    assert (await scene.asked(href, "approved"))[0]["decided_by"] == "Ada"


async def test_cancelling_the_turn_or_deleting_the_conversation_ends_what_was_asked(scene: Scene) -> None:
    cancelled, deleted = await scene.talk(), await scene.talk()
    first, second = await scene.waiting(cancelled), await scene.waiting(deleted)

    assert (await scene.client.post(f"{cancelled}/cancel", json={})).json()["status"] == "cancelled"
    assert (await scene.client.delete(deleted)).status_code == 204

    assert (await scene.decide(first["id"], "approve")).status_code == 409
    assert (await scene.decide(second["id"], "approve")).status_code == 404
    assert await scene.asked(cancelled, "cancelled") != []
