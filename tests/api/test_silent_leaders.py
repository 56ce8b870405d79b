"""An identical call that says nothing is not waited for for ever, over HTTP: one of those who did asks for all."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.api.agent_stage import Stage, a_stage_for
from tests.api.test_asked_anew import an_agent, asked, until_ended
from tests.conftest import Run
from tests.edge import a_caller, client_of, running_app
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.platform.config import Settings

PATIENCE_S = 1.0


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[Stage]:
    stack = AsyncExitStack()
    impatient = settings.model_copy(update={"attempt_timeout_s": PATIENCE_S})
    yield run(a_stage_for(stack, impatient, lambda _: Say(text="Done.")))
    run(stack.aclose())


async def started(stage: Stage, name: str, words: str) -> str:
    """A run of one agent that is told these words."""
    task = an_agent(words, retry={"max_attempts": 1})
    await stage.client.post("/v1/workflows", json={"name": name, "tasks": {"t": task}})
    answer = await stage.client.post("/v1/runs", json={"workflow": name})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_runs_that_joined_a_call_that_hangs_ask_once_for_all_of_them(stage: Stage) -> None:
    words, never = "Hang for whoever asks first.", asyncio.Event()
    stage.upstream.then(Say(text="Late.", gates={0: never}))
    hung = await started(stage, "hangs", words)
    await eventually(lambda: asked(stage, words) == 1, timeout_s=30)

    others = [await started(stage, "hangs", words) for _ in range(4)]
    ended = [await until_ended(stage.client, run_id) for run_id in others]

    assert [run["status"] for run in ended] == ["succeeded"] * 4, ended
    assert {run["result_text"] for run in ended} == {"Done."}
    assert asked(stage, words) == 2
    assert (await stage.client.get(f"/v1/runs/{hung}")).json()["status"] == "running"
    never.set()
    assert (await until_ended(stage.client, hung))["result_text"] == "Late."


async def test_a_call_of_another_process_that_hangs_is_not_waited_for_for_ever(stage: Stage) -> None:
    never, hello = asyncio.Event(), [{"role": "user", "content": "Hang in another process."}]
    body: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": hello}
    stage.upstream.then(Say(text="Late.", gates={0: never}))
    async with running_app(stage.settings) as other, AsyncExitStack() as stack:
        caller = await a_caller(stage.settings, "two-processes")
        here = await stack.enter_async_context(client_of(stage.app, caller))
        there = await stack.enter_async_context(client_of(other, caller))
        hung = asyncio.create_task(there.post("/v1/chat/completions", json=body))
        await eventually(lambda: asked(stage, "Hang in another process.") == 1, timeout_s=30)

        try:
            answers = await asyncio.gather(*(here.post("/v1/chat/completions", json=body) for _ in range(3)))
        finally:
            never.set()

        assert [json.loads(each.content)["choices"][0]["message"]["content"] for each in answers] == ["Done."] * 3
        assert asked(stage, "Hang in another process.") == 2
        assert "Late." in (await hung).text


async def test_a_message_said_again_after_it_failed_asks_on_its_own(stage: Stage) -> None:
    failed, other = [(await stage.client.post("/v1/conversations", json={})).json()["id"] for _ in range(2)]
    never, words = asyncio.Event(), {"content": "Say the same as somebody else."}
    stage.upstream.then(Say(status=400))
    refused = await stage.client.post(f"/v1/conversations/{failed}/messages", json=words)
    stage.upstream.then(Say(text="Late.", gates={0: never}))
    hung = asyncio.create_task(stage.client.post(f"/v1/conversations/{other}/messages", json=words))
    await eventually(lambda: asked(stage, words["content"]) == 2, timeout_s=30)

    again = (await stage.client.post(f"/v1/conversations/{failed}/messages", json=words)).json()

    assert not refused.is_success
    assert (again["status"], again["answer"]) == ("succeeded", "Done.")
    assert asked(stage, words["content"]) == 3
    never.set()
    assert (await hung).json()["answer"] == "Late."
