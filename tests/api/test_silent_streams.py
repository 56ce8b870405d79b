"""Streams whose provider is silent before its first word: signs of life, late errors, and clients that leave."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
PING = {CHAT: ": ping", MESSAGES: "event: ping", RESPONSES: ": ping"}
LAST = {CHAT: "data: [DONE]", MESSAGES: "event: message_stop", RESPONSES: "event: response.completed"}
ERROR = {CHAT: 'data: {"error":{"message":', MESSAGES: "event: error", RESPONSES: "event: error"}


@pytest.fixture
def client(url: str, caller: Caller, run: Any, upstream: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    price = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
    run(made.put("/v1/prices/m", json=price)).raise_for_status()
    yield made
    run(made.aclose())


def asking(path: str, text: str) -> dict[str, Any]:
    said = {"input": text} if path == RESPONSES else {"messages": [{"role": "user", "content": text}]}
    limit = "max_output_tokens" if path == RESPONSES else "max_tokens"
    return said | {"model": "m", limit: 100, "stream": True}


@dataclass
class Heard:
    """A stream as its client hears it; `pinged` once it heard a sign of life."""

    path: str
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    lines: list[str] = field(default_factory=list)
    pinged: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, client: httpx.AsyncClient, text: str) -> None:
        async with client.stream("POST", self.path, json=asking(self.path, text)) as answer:
            assert answer.status_code == 200
            self.headers = answer.headers
            async for line in answer.aiter_lines():
                self.lines.append(line)
                if line == PING[self.path]:
                    self.pinged.set()


async def test_before_its_first_word_a_stream_begins_with_signs_of_life_and_says_what_comes_of_it(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    """Takes the ten seconds after which the first one is sent."""
    gate = asyncio.Event()
    well = {path: Heard(path) for path in PING}
    badly = {path: Heard(path) for path in PING}

    def speak(body: dict[str, Any]) -> Say:
        fails = "badly" in str(body["messages"])
        return Say(text="one two", status=400 if fails else 200, gates={0: gate})

    upstream.speak = speak
    try:
        async with asyncio.TaskGroup() as group:
            for path in PING:
                group.create_task(well[path].listen(client, f"well {path}"))
                group.create_task(badly[path].listen(client, f"badly {path}"))
            for heard in (*well.values(), *badly.values()):
                await heard.pinged.wait()
            gate.set()
    finally:
        upstream.speak = None

    for path in PING:
        assert well[path].headers["x-cognitionos-cache"] == "pending"
        assert well[path].headers["x-cognitionos-route"].endswith("openai/m=awaited")
        assert LAST[path] in well[path].lines
        assert "one " in "".join(well[path].lines)
        assert any(line.startswith(ERROR[path]) for line in badly[path].lines), badly[path].lines
        assert LAST[path] not in badly[path].lines
        assert "scripted 400" in "".join(badly[path].lines)
    rows = (await client.get("/v1/usage/calls")).json()["items"]
    assert sorted(row["outcome"] for row in rows) == ["error"] * 3 + ["ok"] * 3


@pytest.mark.parametrize("path", PING)
async def test_a_client_that_leaves_before_the_first_word_stops_the_provider_and_leaves_nothing_held(
    client: httpx.AsyncClient, upstream: Upstream, caller: Caller, path: str
) -> None:
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "1", "period": "day"}
    made = (await client.post("/v1/budgets", json=budget)).raise_for_status().json()
    upstream.then(Say(text="never heard", gates={0: asyncio.Event()}))
    asked = asyncio.create_task(Heard(path).listen(client, "leave"))
    await eventually(lambda: upstream.open_streams == 1)

    asked.cancel()
    await eventually(lambda: upstream.abandoned_streams == 1)

    async def booked() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await client.get("/v1/usage/calls")).json()["items"]
        return found

    (row,) = await eventually(booked)
    assert (row["outcome"], row["estimated"], row["completion_tokens"]) == ("aborted", True, 0)
    assert row["prompt_tokens"] > 0
    assert (await client.get(f"/v1/budgets/{made['id']}")).json()["held_usd"] == "0"
