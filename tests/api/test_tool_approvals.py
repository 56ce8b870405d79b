"""A tool of a real MCP server, called in a run, waits for a person: API, engine and server together."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import mcp_peer
from tests.conftest import Run
from tests.edge import a_caller, client_of, running_app
from tests.waiting import eventually

from cognitionos import composition
from cognitionos.platform.config import Settings

PEER = str(Path(mcp_peer.__file__))


async def _a_worker(stack: AsyncExitStack, settings: Settings) -> None:
    services = composition.build(settings)
    await services.open()
    stack.push_async_callback(services.close)
    engine = asyncio.create_task(services.planning.engine.run())

    async def stop() -> None:
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)

    stack.push_async_callback(stop)


async def _a_client(stack: AsyncExitStack, settings: Settings) -> httpx.AsyncClient:
    app = await stack.enter_async_context(running_app(settings))
    client = await stack.enter_async_context(client_of(app, await a_caller(settings, "approvals")))
    await _a_worker(stack, settings)
    body = {"name": "shop", "transport": "stdio", "command": sys.executable, "args": [PEER, "stdio"]}
    made = await client.post("/v1/tools/servers", json=body)
    assert made.json()["error"] is None, made.text
    return client


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(_a_client(stack, settings.model_copy(update={"mcp_stdio": True, "rate_limit_per_minute": 100_000})))
    run(stack.aclose())


async def an_order(client: httpx.AsyncClient, name: str, *, amount: int, **rule: Any) -> str:
    """Start a run that orders something under this rule; its URL."""
    waits = {"allowed": True, "approval": "when", "conditions": [{"path": "amount", "op": ">", "value": 10}], **rule}
    assert (await client.put("/v1/tools/rules/shop.order", json=waits)).status_code == 200
    task = {"kind": "tool", "input": {"tool": "shop.order", "arguments": {"item": name, "amount": amount}}}
    assert (await client.post("/v1/workflows", json={"name": name, "tasks": {"order": task}})).status_code == 201
    started = await client.post("/v1/runs", json={"workflow": name})
    assert started.status_code == 202, started.text
    return f"/v1/runs/{started.json()['id']}"


async def ended(client: httpx.AsyncClient, href: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found: dict[str, Any] = (await client.get(href)).json()
        return found if found["status"] in {"succeeded", "failed"} else None

    answer: dict[str, Any] = await eventually(look, timeout_s=30)
    return answer


async def waiting(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = (await client.get("/v1/approvals")).json()["items"]
        return next((each for each in found if name in str(each["details"]) and each["status"] == "pending"), None)

    answer: dict[str, Any] = await eventually(look, timeout_s=30)
    return answer


async def outcome(client: httpx.AsyncClient, href: str) -> str:
    return (await client.get(f"{href}/tasks")).text


async def test_a_call_that_no_condition_meets_is_made_at_once(client: httpx.AsyncClient) -> None:
    href = await an_order(client, "pencils", amount=1)

    run = await ended(client, href)

    assert run["status"] == "succeeded", await outcome(client, href)
    assert "ordered 1 pencils" in await outcome(client, href)


async def test_an_approved_call_is_made_with_the_arguments_that_were_shown(client: httpx.AsyncClient) -> None:
    href = await an_order(client, "desks", amount=50)
    asked = await waiting(client, "desks")

    decided = await client.post(f"/v1/approvals/{asked['id']}/approve", json={})
    again = await client.post(f"/v1/approvals/{asked['id']}/reject", json={})
    run = await ended(client, href)

    assert asked["details"]["arguments"] == {"item": "desks", "amount": 50}
    assert (decided.status_code, again.status_code) == (200, 409)
    assert run["status"] == "succeeded", await outcome(client, href)
    assert "ordered 50 desks" in await outcome(client, href)


async def test_a_rejected_call_is_not_made_and_says_who_and_why(client: httpx.AsyncClient) -> None:
    href = await an_order(client, "planes", amount=50)
    asked = await waiting(client, "planes")

    await client.post(f"/v1/approvals/{asked['id']}/reject", json={"comment": "too many"})
    run = await ended(client, href)

    told = await outcome(client, href)
    assert run["status"] == "failed"
    assert "too many" in told
    assert "ordered 50 planes" not in told


async def test_a_call_that_nobody_decides_on_is_rejected_after_its_deadline(client: httpx.AsyncClient) -> None:
    href = await an_order(client, "boats", amount=50, deadline_s=1)

    run = await ended(client, href)

    told = await outcome(client, href)
    assert run["status"] == "failed"
    assert "nobody approved it in time" in told


async def test_after_a_retry_the_question_that_had_expired_counts_no_longer(client: httpx.AsyncClient) -> None:
    href = await an_order(client, "sofas", amount=50, deadline_s=1, default="fail")
    failed = await ended(client, href)

    await client.put("/v1/tools/rules/shop.order", json={"allowed": True, "approval": "always"})
    retried = await client.post(f"{href}/retry")
    asked = await waiting(client, "sofas")
    await client.post(f"/v1/approvals/{asked['id']}/approve", json={})
    run = await ended(client, href)

    assert (failed["status"], failed["error"]["type"]) == ("failed", "/problems/approval-expired")
    assert retried.status_code == 200, retried.text
    assert run["status"] == "succeeded", await outcome(client, href)


async def test_an_approval_is_for_the_tool_as_it_was_offered_then(client: httpx.AsyncClient) -> None:
    body = {"name": "shop", "transport": "stdio", "command": sys.executable, "args": [PEER, "stdio"]}
    href = await an_order(client, "ships", amount=50)
    asked = await waiting(client, "ships")
    changed = await client.post("/v1/tools/servers", json={**body, "env": {"PEER_ORDER": "Order, and pay at once."}})

    await client.post(f"/v1/approvals/{asked['id']}/approve", json={})

    async def anew() -> dict[str, Any] | None:
        found = (await client.get("/v1/approvals")).json()["items"]
        return next((each for each in found if "ships" in str(each["details"]) and each["id"] != asked["id"]), None)

    assert changed.json()["error"] is None
    again = await eventually(anew, timeout_s=30)
    assert "ordered" not in await outcome(client, href)
    await client.post(f"/v1/approvals/{again['id']}/approve", json={})
    assert (await ended(client, href))["status"] == "succeeded"
    await client.post("/v1/tools/servers", json=body)


async def test_a_rule_on_a_url_goes_for_every_way_to_write_it_to_a_server(client: httpx.AsyncClient) -> None:
    rule = {"path": "url", "op": "starts_with", "value": "https://shop.example/pay"}
    waits = {"allowed": True, "approval": "when", "conditions": [rule]}
    assert (await client.put("/v1/tools/rules/shop.fetch", json=waits)).status_code == 200
    spelled = ["HTTPS://Shop.Example:443/a/../%70ay?n=0", "shop.example/pay?n=1", "https:\\\\shop.example\\pay?n=2"]
    for number, url in enumerate(spelled):
        task = {"kind": "tool", "input": {"tool": "shop.fetch", "arguments": {"url": url}}}
        made = await client.post("/v1/workflows", json={"name": f"fetch-{number}", "tasks": {"fetch": task}})
        assert made.status_code == 201, made.text
        await client.post("/v1/runs", json={"workflow": f"fetch-{number}"})

        await waiting(client, f"n={number}")
