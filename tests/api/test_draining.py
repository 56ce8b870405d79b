"""The API told to stop while answers are on their way: they go on for a while, are ended in order, and are booked."""

import asyncio
import json
import signal
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.api.spending import budget
from tests.api_process import Served, served_api
from tests.conftest import Run
from tests.edge import Caller
from tests.servers import scratch_dir
from tests.stacks import start_stack
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.cli.listening import answers_ready
from cognitionos.platform.config import Settings

DRAIN_S = 1
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
ERRORS = {CHAT: '"code":"service-restarting"', MESSAGES: "event: error", RESPONSES: "event: error"}
PRICE = {"input_usd_per_million": "0", "output_usd_per_million": "1000"}
MANY = " ".join(f"word{number}" for number in range(300))
"""A minute's stream, at five words a second."""


@pytest.fixture
def served(settings: Settings, environment: dict[str, str]) -> Iterator[Served]:
    """A process of its own for each test: it is stopped."""
    with served_api(settings, environment | {"COGNITIONOS_DRAIN_S": str(DRAIN_S)}) as served:
        yield served


@pytest.fixture
def client(served: Served, caller: Caller, run: Run, upstream: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    made = httpx.AsyncClient(base_url=served.url, headers=caller.headers, timeout=30)
    run(made.put("/v1/prices/m", json=PRICE)).raise_for_status()
    yield made
    run(made.aclose())


def asking(path: str, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"Go on. {uuid4()}"}]
    limit = "max_output_tokens" if path == RESPONSES else "max_tokens"
    return {"model": "m", "input" if path == RESPONSES else "messages": turns, limit: 4000} | fields


async def stop(served: Served) -> int:
    """SIGTERM; its exit status."""
    served.process.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(served.process.wait, DRAIN_S + 20)


async def the_rows(settings: Settings, environment: dict[str, str], caller: Caller) -> list[dict[str, Any]]:
    """What the next process says that was booked; nothing is held any more."""

    def read() -> list[dict[str, Any]]:
        with served_api(settings, environment) as other, httpx.Client(base_url=other.url) as asking:
            asking.headers.update(caller.headers)
            rows: list[dict[str, Any]] = asking.get("/v1/usage/calls").raise_for_status().json()["items"]
            (its_budget,) = asking.get("/v1/budgets").raise_for_status().json()["budgets"]
            assert its_budget["held_usd"] == "0"
            return rows

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_a_stream_that_outlasts_the_drain_ends_with_an_error_and_is_booked_at_what_was_said(
    settings: Settings,
    environment: dict[str, str],
    served: Served,
    client: httpx.AsyncClient,
    upstream: Upstream,
    caller: Caller,
    path: str,
) -> None:
    await budget(client, caller, "100")
    upstream.then(Say(text=MANY, pause_s=0.2))
    lines: list[str] = []
    stopping: asyncio.Task[int] | None = None

    async with client.stream("POST", path, json=asking(path, stream=True)) as answer:
        async for line in answer.aiter_lines():
            lines.append(line)
            if stopping is None and "word1" in line:
                stopping = asyncio.create_task(stop(served))

    assert stopping is not None
    assert await stopping == 0
    assert "The service is restarting" in "".join(lines[-4:])
    assert ERRORS[path] in "".join(lines[-4:])
    words = sum(f"word{number}" in "".join(lines) for number in range(300))
    assert 3 < words < 250  # it went on for the drain, and not to its end
    (row,) = await the_rows(settings, environment, caller)
    assert (row["outcome"], row["estimated"]) == ("aborted", True)
    assert 0 < Decimal(row["cost_usd"]) == row["completion_tokens"] * Decimal("0.001")
    assert words - 1 <= row["completion_tokens"] <= 3 * words


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_a_whole_answer_under_way_is_a_503_in_its_callers_format_and_booked_as_one_given_up(
    settings: Settings,
    environment: dict[str, str],
    served: Served,
    client: httpx.AsyncClient,
    upstream: Upstream,
    caller: Caller,
    path: str,
) -> None:
    await budget(client, caller, "100")
    upstream.then(Say(text="never", gates={0: asyncio.Event()}))
    asked = asyncio.create_task(client.post(path, json=asking(path)))
    await eventually(lambda: len(upstream.calls) == 1)

    status = await stop(served)

    answer = await asked
    assert (status, answer.status_code) == (0, 503)
    assert answer.headers["retry-after"]
    assert "The service is restarting" in json.dumps(answer.json()["error"])
    (row,) = await the_rows(settings, environment, caller)
    assert (row["outcome"], row["completion_tokens"], row["estimated"]) == ("aborted", 0, True)


async def test_a_stream_that_ends_within_the_drain_is_whole_and_nothing_new_is_taken(
    served: Served, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    rest = asyncio.Event()
    upstream.then(Say(text="one two three", gates={2: rest}))
    heard = ""

    async with client.stream("POST", CHAT, json=asking(CHAT, stream=True)) as answer:
        async for line in answer.aiter_lines():
            heard += line
            if "one" in line:
                served.process.send_signal(signal.SIGTERM)
                await eventually(lambda: not answers_ready(served.url))
                rest.set()

    assert "three" in heard
    assert "[DONE]" in heard
    assert await asyncio.to_thread(served.process.wait, DRAIN_S + 20) == 0


async def test_the_events_of_a_run_end_in_order(served: Served, client: httpx.AsyncClient) -> None:
    submitted = (await client.post("/v1/goals", json={"statement": "Nobody works on it"})).raise_for_status()
    run_id = submitted.json()["run_id"]
    lines: list[str] = []
    stopping: asyncio.Task[int] | None = None

    async with client.stream("GET", f"/v1/runs/{run_id}/events", headers={"accept": "text/event-stream"}) as events:
        async for line in events.aiter_lines():  # raises where the answer is torn
            lines.append(line)
            stopping = stopping or asyncio.create_task(stop(served))

    assert stopping is not None
    assert await stopping == 0
    assert lines


async def test_up_ends_streams_in_order_too(upstream: Upstream, environment: dict[str, str]) -> None:
    settings = environment | {"COGNITIONOS_DRAIN_S": str(DRAIN_S)}
    upstream.reset()
    upstream.then(Say(text=MANY, pause_s=0.2))
    with scratch_dir() as scratch:
        stack = start_stack(scratch / "data", settings=settings)
        headers = {"authorization": f"Bearer {stack.api_key}"}
        lines: list[str] = []
        async with (
            httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30) as client,
            client.stream("POST", CHAT, json=asking(CHAT, stream=True)) as answer,
        ):
            async for line in answer.aiter_lines():
                lines.append(line)
                if "word1 " in line:
                    stack.process.send_signal(signal.SIGTERM)

        assert await asyncio.to_thread(stack.process.wait, 30) == 0
    assert "The service is restarting" in "".join(lines[-4:])
