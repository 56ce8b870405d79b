"""A model of a small window, over HTTP: long work and long conversations keep under it, what was summed up is shown."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from tests.api.agent_stage import Stage, a_stage_for, run_of, steps_of
from tests.conftest import Run
from tests.upstream import Say

from cognitionos.platform.config import Settings

WINDOW = 4_096
SUMMARY = "The file was read some times; it says seven."


def speak(body: dict[str, Any]) -> Say:
    """Reads a long file nine times, then is done; sums up in one sentence."""
    if "You are the summarizer" in body["messages"][0]["content"]:
        return Say(text=SUMMARY)
    if "talk" in json.dumps(body["messages"][-1]):
        return Say(text="word " * 400)
    if body.get("tool_choice") == "none" or not body.get("tools"):
        return Say(text="done")
    wrote = "long.txt" in json.dumps(body["messages"])
    if not wrote:
        return call_of("write_file", {"name": "long.txt", "text": "seven " * 300})
    return call_of("read_file", {"name": "long.txt"})


def call_of(name: str, arguments: dict[str, Any]) -> Say:
    call = {
        "id": f"call_{uuid4().hex[:8]}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)},
    }
    return Say(tool_calls=[call])


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Run) -> Iterator[Stage]:
    stack = AsyncExitStack()
    made: Stage = run(a_stage_for(stack, settings, speak))
    run(a_small_window(made))
    yield made
    run(stack.aclose())


async def a_small_window(stage: Stage) -> None:
    price = {"input_usd_per_million": "0.1", "output_usd_per_million": "0.1", "max_input_tokens": WINDOW}
    answer = await stage.client.put("/v1/prices/openai/gpt-4o-mini", json=price)
    assert answer.is_success, answer.text


def size_of(body: dict[str, Any]) -> int:
    """By four characters a token, which is about what a tokenizer gives for English."""
    told = [body["messages"], body.get("tools") or "", body.get("response_format") or ""]
    return len(json.dumps(told)) // 4 + int(body.get("max_tokens") or body.get("max_completion_tokens") or 0)


async def test_long_work_keeps_under_the_window_and_its_summaries_are_shown_and_replayed(stage: Stage) -> None:
    task = {"kind": "agent", "input": {"instructions": "Read it often."}, "timeout_s": 60}

    run, tasks = await run_of(stage.client, "often", task)

    assert run["status"] == "succeeded", str(tasks)
    asked = list(stage.upstream.calls)
    assert max(size_of(body) for body in asked) <= WINDOW
    steps = await steps_of(stage.client, run)
    summed = [step for step in steps if step["step"].startswith("summarizer/")]
    assert {(step["role"], step["kind"], step["text"]) for step in summed} == {("summarizer", "model", SUMMARY)}
    assert [step["text"] for step in steps if step["step"] == "window/executor"] == [
        f"The model of the executor reads {WINDOW} tokens."
    ]
    explained = (await stage.client.get(f"/v1/runs/{run['id']}/explain")).json()
    assert SUMMARY in json.dumps(explained)
    assert "summarizer@2" in json.dumps(explained)
    report = (await stage.client.post(f"/v1/runs/{run['id']}/replay")).json()
    assert (report["replayed"], report["divergence"], len(stage.upstream.calls)) == (1, None, len(asked))


async def test_a_long_conversation_keeps_under_the_window_and_goes_on_from_its_last_summary(stage: Stage) -> None:
    made = (await stage.client.post("/v1/conversations", json={"title": "Long"})).json()
    href = f"/v1/conversations/{made['id']}"
    stage.upstream.reset()

    turns = [
        (await stage.client.post(f"{href}/messages", json={"content": f"Let us talk about {number}."})).json()
        for number in range(9)
    ]

    assert {turn["status"] for turn in turns} == {"succeeded"}, turns
    assert max(size_of(body) for body in stage.upstream.calls) <= WINDOW
    summing = [body for body in stage.upstream.calls if "You are the summarizer" in body["messages"][0]["content"]]
    assert 1 <= len(summing) <= 5  # not at every turn
    assert SUMMARY in json.dumps(summing[-1]["messages"]) or len(summing) == 1
    last = stage.upstream.calls[-1]["messages"]
    assert SUMMARY in last[0]["content"]
    assert [message["role"] for message in last[:2]] == ["system", "user"]
    assert last[-1]["content"].startswith("Let us talk about 8.")
