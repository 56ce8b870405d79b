"""Budgets near their end told to a tenant's webhooks: API and worker as processes, a real endpoint on the loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from aiohttp import web
from tests.crash.kit import a_product
from tests.edge import a_caller
from tests.serving import serving
from tests.waiting import eventually

from cognitionos.cli.listening import answers_ready, free_port
from cognitionos.platform.config import Settings

CHAT = {"model": "simulated/m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


@asynccontextmanager
async def endpoint(got: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Keeps what it is sent; gives its address."""

    async def take(request: web.Request) -> web.Response:
        got.append({"id": request.headers["webhook-id"]} | json.loads(await request.text()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    async with serving(app) as address:
        yield address


async def test_each_threshold_is_told_once_to_who_asked_for_it(settings: Settings) -> None:
    caller, got = await a_caller(settings, "told of budgets"), []
    async with (
        endpoint(got) as address,
        a_product(
            settings,
            COGNITIONOS_SECRET_KEY=settings.secret_key.get_secret_value(),
            COGNITIONOS_WEBHOOK_ALLOW=address,
        ) as product,
    ):
        port = free_port("127.0.0.1", 0)
        await product.api(port)
        await product.worker()
        url = f"http://127.0.0.1:{port}"
        await eventually(lambda: asyncio.to_thread(answers_ready, url), timeout_s=90)
        async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
            price = {"input_usd_per_million": "0", "output_usd_per_million": "100"}
            (await client.put("/v1/prices/simulated/m", json=price)).raise_for_status()
            for events in (["budget.threshold"], ["run.failed"]):
                body = {"url": f"http://{address}/hook", "events": events}
                (await client.post("/v1/webhooks", json=body)).raise_for_status()
            subject = f"api_key:{caller.api_key_id}"
            opened = await client.post(
                "/v1/budgets", json={"subject": subject, "limit_usd": "0.001", "period": "month"}
            )
            while (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200:
                pass

            await eventually(lambda: len(got) >= 3, timeout_s=40)
            alerts = (await client.get("/v1/budgets/alerts")).json()["items"]

    assert sorted(message["data"]["threshold"] for message in got) == ["exhausted", "halt", "soft"]
    assert {message["type"] for message in got} == {"budget.threshold"}
    assert len({message["id"] for message in got}) == 3
    assert {message["data"]["alert_id"] for message in got} == {alert["id"] for alert in alerts}
    [soft] = [message["data"] for message in got if message["data"]["threshold"] == "soft"]
    assert (soft["subject"], soft["limit_usd"], soft["budget_id"]) == (subject, "0.001", opened.json()["id"])
    assert float(soft["spent_usd"]) >= 0.0008
    assert soft["resets_at"]
