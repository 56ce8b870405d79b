"""A rule on a URL goes for every way to write it, and for where a redirect leads: over HTTP."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.api.agent_stage import a_stage_beside
from tests.conftest import Run
from tests.outside import Outside, running_outside
from tests.waiting import eventually

from cognitionos.platform.config import Settings

ENDED = {"succeeded", "failed", "waiting"}


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Where `/e/pay` waits for a person."""

    client: httpx.AsyncClient
    outside: Outside

    async def called(self, url: str) -> dict[str, Any]:
        """The run of a task that posts to the URL, at its end or where it waits."""
        name = f"w{uuid4().hex[:8]}"
        task = {
            "kind": "tool",
            "retry": {"max_attempts": 1},
            "input": {"tool": "http_request", "arguments": {"method": "POST", "url": url}},
        }
        made = await self.client.post("/v1/workflows", json={"name": name, "tasks": {"t": task}})
        assert made.status_code == 201, made.text
        href = (await self.client.post("/v1/runs", json={"workflow": name})).json()["href"]

        async def look() -> dict[str, Any]:
            found: dict[str, Any] = (await self.client.get(href)).json()
            return found if found["status"] in ENDED else {}

        run: dict[str, Any] = await eventually(look, timeout_s=30)
        return run


async def a_shop(stack: AsyncExitStack, settings: Settings) -> Shop:
    stage, outside = await a_stage_beside(stack, settings, running_outside())
    rule = {
        "allowed": True,
        "approval": "when",
        "conditions": [{"path": "url", "op": "starts_with", "value": outside.url("/e/pay")}],
        "deadline_s": 600,
        "default": "reject",
    }
    set_ = await stage.client.put("/v1/tools/rules/http_request", json=rule)
    assert set_.is_success, set_.text
    return Shop(client=stage.client, outside=outside)


@pytest.fixture(scope="module")
def shop(settings: Settings, run: Run) -> Iterator[Shop]:
    stack = AsyncExitStack()
    yield run(a_shop(stack, settings))
    run(stack.aclose())


@pytest.mark.parametrize(
    "spelled",
    [
        "http://{address}/e/pay",
        "HTTP://{address}/e/pay",
        "http://{address}/e/../e/pay",
        "http://{address}/e/%70ay",
        "http://{address}/e//pay",
        "http://{address}/e%2Fpay",
        "http://{host}:0{port}/e/pay",
    ],
)
async def test_a_rule_on_a_url_goes_for_every_way_to_write_it(shop: Shop, spelled: str) -> None:
    host, _, port = shop.outside.address.partition(":")

    run = await shop.called(spelled.format(address=shop.outside.address, host=host, port=port))

    assert run["status"] == "waiting"
    assert not any("pay" in path for path in shop.outside.keys)


async def test_other_urls_are_called_at_once(shop: Shop) -> None:
    run = await shop.called(shop.outside.url("/e/list"))

    assert run["status"] == "succeeded"
    assert len(shop.outside.keys["/e/list"]) == 1


async def test_a_redirect_to_what_waits_for_a_person_is_not_followed(shop: Shop) -> None:
    shop.outside.leads["/old"] = "/e/./pay"

    run = await shop.called(shop.outside.url("/old"))

    assert run["status"] == "failed"
    assert "wants a person to approve a call of that address" in run["error"]["detail"]
    assert "/e/pay" not in shop.outside.keys
