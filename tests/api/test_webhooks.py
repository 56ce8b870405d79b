"""Webhooks over HTTP: real messages to a real endpoint on the loopback, by the real outbox."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from aiohttp import web
from tests.fakes.planning_app import PlanningApp, planning_app
from tests.serving import serving
from tests.waiting import eventually

from cognitionos.kernel.clock import utc_now
from cognitionos.planning.infrastructure.webhook_client import WebhookClient
from cognitionos.platform.config import Settings
from cognitionos.platform.http import HttpClient
from cognitionos.platform.http_address import AllowedHosts

FINAL = ["run.succeeded", "run.failed"]


@dataclass(kw_only=True)
class Endpoint:
    """Keeps what it is sent; answers with `answers` in order, then 200."""

    port: int = 0
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Until it is set nothing is answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def of_type(self, kind: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
        return [(headers, json.loads(body)) for headers, body in self.got if json.loads(body)["type"] == kind]


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    here = Endpoint()
    here.open.set()

    async def take(request: web.Request) -> web.Response:
        here.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.text()))
        await here.open.wait()
        status = here.answers.pop(0) if here.answers else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 302 else {})

    app = web.Application()
    app.router.add_post("/hook", take)
    async with serving(app) as address:
        here.port = int(address.rpartition(":")[2])
        yield here


async def deliver_what_is_due(app: PlanningApp) -> None:
    """What a worker's sweep and its jobs do, without the queue in between."""
    base = app.base
    async with asyncio.TaskGroup() as jobs:
        while True:
            async with base.database.connection() as connection:
                due = await (await connection.execute("SELECT delivery_id, tenant FROM due_deliveries(50)")).fetchall()
            for row in due:
                jobs.create_task(base.outbox.deliver(*row))
            await asyncio.sleep(0.05)


@dataclass(kw_only=True)
class Stage:
    app: PlanningApp
    here: Endpoint
    slow: Endpoint

    async def created(self, *events: str, **body: Any) -> dict[str, Any]:
        given = {"url": self.here.url, "events": list(events or FINAL)} | body
        response = await self.app.client.post("/v1/webhooks", json=given)
        assert response.status_code == 201, response.text
        webhook: dict[str, Any] = response.json()
        return webhook

    async def run(self, workflow: str = "greet") -> str:
        response = await self.app.client.post("/v1/runs", json={"workflow": workflow, "input": None})
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    async def deliveries(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        page = (await self.app.client.get(f"{webhook['href']}/deliveries")).json()
        items: list[dict[str, Any]] = page["items"]
        return items

    async def reaches(self, webhook: dict[str, Any], status: str, *, attempts: int = 1) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            found = await self.deliveries(webhook)
            return next((each for each in found if each["status"] == status and each["attempts"] >= attempts), None)

        found = await eventually(there, timeout_s=30)
        assert found is not None
        return found

    async def execute(self, query: str, *values: Any) -> None:
        async with self.app.base.database.transaction(self.app.who.tenant_id) as connection:
            await connection.execute(query.encode(), values)

    async def gone(self, webhook: dict[str, Any]) -> None:
        assert (await self.app.client.delete(webhook["href"])).status_code == 204
        self.here.answers.clear()


@pytest.fixture(scope="module")
def stage(settings: Settings, run: Any) -> Iterator[Stage]:
    stack = AsyncExitStack()

    async def opened() -> Stage:
        here = await stack.enter_async_context(endpoint())
        slow = await stack.enter_async_context(endpoint())
        ports = tuple(f"127.0.0.1:{each.port}" for each in (here, slow))
        allowed = settings.model_copy(update={"webhook_allow": ports})
        app = await stack.enter_async_context(planning_app(allowed))
        tasks = {"a": {"kind": "value", "input": "hello"}}
        await app.client.post("/v1/workflows", json={"name": "greet", "tasks": tasks})
        worker = asyncio.create_task(deliver_what_is_due(app))

        async def stop() -> None:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

        stack.push_async_callback(stop)
        return Stage(app=app, here=here, slow=slow)

    yield run(opened())
    run(stack.aclose())


def is_signed(secret: str, headers: dict[str, str], body: str) -> bool:
    """As a receiver checks it, by the specification."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return expected in headers["webhook-signature"].split(" ")


async def test_a_run_that_ends_is_told_once_signed_and_logged(stage: Stage) -> None:
    webhook = await stage.created(description="ours")

    run_id = await stage.run()
    delivery = await stage.reaches(webhook, "delivered")

    [(headers, message)] = stage.here.of_type("run.succeeded")
    body = stage.here.got[-1][1]
    assert is_signed(webhook["secret"], headers, body)
    assert (headers["webhook-id"], headers["content-type"]) == (delivery["id"], "application/json")
    assert (message["data"]["run_id"], message["data"]["task"]) == (run_id, None)
    assert (delivery["event"], delivery["run_id"], delivery["body"]) == ("run.succeeded", run_id, body)
    assert [each["status"] for each in delivery["log"]] == [200]
    shown = (await stage.app.client.get(webhook["href"])).json()
    assert (shown["enabled"], shown["failing_since"], "secret" in shown) == (True, None, False)
    await stage.gone(webhook)


async def test_the_secret_is_sealed_in_the_database(stage: Stage) -> None:
    webhook = await stage.created()

    async with stage.app.base.database.transaction(stage.app.who.tenant_id) as connection:
        rows = await (await connection.execute("SELECT sealed FROM webhooks")).fetchall()

    assert rows
    assert all(webhook["secret"].encode() not in bytes(row[0]) for row in rows)
    await stage.gone(webhook)


async def test_a_secret_that_cannot_be_read_sends_nothing_and_the_attempt_says_why(stage: Stage) -> None:
    webhook = await stage.created()
    before = len(stage.here.got)
    await stage.execute("UPDATE webhooks SET sealed = decode(repeat('00', 64), 'hex')")

    await stage.run()
    pending = await stage.reaches(webhook, "pending", attempts=1)

    assert "cannot be read" in pending["log"][0]["error"]
    assert len(stage.here.got) == before
    await stage.gone(webhook)


async def test_a_failed_attempt_is_made_again_later_with_the_same_id_and_body(stage: Stage) -> None:
    stage.here.answers[:] = [500, 302]
    webhook = await stage.created()
    before = len(stage.here.got)

    await stage.run()
    pending = await stage.reaches(webhook, "pending", attempts=1)
    await stage.execute("UPDATE outbox SET due_at = now()")
    await stage.reaches(webhook, "pending", attempts=2)
    await stage.execute("UPDATE outbox SET due_at = now()")
    delivery = await stage.reaches(webhook, "delivered", attempts=3)

    assert pending["next_at"] > pending["created_at"]
    assert [each["status"] for each in delivery["log"]] == [500, 302, 200]
    sent = stage.here.got[before:]
    assert len({(headers["webhook-id"], body) for headers, body in sent}) == 1
    await stage.gone(webhook)


async def test_an_endpoint_that_is_gone_is_disabled_others_are_told_and_deliveries_are_replayed(stage: Stage) -> None:
    watching = await stage.created("webhook.disabled")
    webhook = await stage.created()
    stage.here.answers[:] = [410]

    await stage.run()
    delivery = await stage.reaches(webhook, "failed")
    await stage.reaches(watching, "delivered")

    shown = (await stage.app.client.get(webhook["href"])).json()
    assert (shown["enabled"], shown["disabled_because"]) == (False, "it answered 410 Gone")
    [(_, message)] = stage.here.of_type("webhook.disabled")
    assert message["data"]["webhook_id"] == webhook["id"]
    replay = f"{delivery['href']}/replay"
    assert (await stage.app.client.post(replay, json={})).status_code == 409
    assert (await stage.app.client.post(f"{webhook['href']}/ping", json={})).status_code == 409
    enabled = await stage.app.client.patch(webhook["href"], json={"enabled": True})
    assert (enabled.json()["enabled"], enabled.json()["failing_since"]) == (True, None)
    assert (await stage.app.client.post(replay, json={})).status_code == 202
    again = await stage.reaches(webhook, "delivered")
    assert (again["id"], [each["status"] for each in again["log"]]) == (delivery["id"], [410, 200])
    for each in (watching, webhook):
        await stage.gone(each)


async def test_after_five_days_of_failures_a_webhook_is_disabled(stage: Stage) -> None:
    webhook = await stage.created()
    await stage.execute("UPDATE webhooks SET failing_since = now() - interval '6 days' WHERE id = %s", webhook["id"])
    stage.here.answers[:] = [503]

    ping = await stage.app.client.post(f"{webhook['href']}/ping", json={})
    await stage.reaches(webhook, "failed")

    assert ping.status_code == 202
    shown = (await stage.app.client.get(webhook["href"])).json()
    assert shown["enabled"] is False
    assert "every attempt since" in shown["disabled_because"]
    await stage.gone(webhook)


async def test_a_renewed_secret_signs_beside_all_that_receivers_may_still_have(stage: Stage) -> None:
    webhook = await stage.created()
    renewed = [(await stage.app.client.post(f"{webhook['href']}/secret", json={})).json()["secret"] for _ in range(2)]

    await stage.app.client.post(f"{webhook['href']}/ping", json={})
    delivery = await stage.reaches(webhook, "delivered")

    [(headers, body)] = [each for each in stage.here.got if each[0]["webhook-id"] == delivery["id"]]
    assert len({*renewed, webhook["secret"]}) == 3
    assert all(is_signed(secret, headers, body) for secret in (*renewed, webhook["secret"]))
    await stage.gone(webhook)


async def test_what_hangs_gets_four_messages_at_once_and_holds_up_nobody(stage: Stage) -> None:
    slow = stage.slow
    webhook, other = await stage.created(url=slow.url), await stage.created()
    slow.open.clear()
    for _ in range(6):
        await stage.app.client.post(f"{webhook['href']}/ping", json={})
    await got(slow, 4)
    await stage.app.client.post(f"{other['href']}/ping", json={})
    await stage.reaches(other, "delivered")

    before = len(slow.got)
    slow.open.set()
    await got(slow, 6)

    assert before == 4
    for each in (webhook, other):
        await stage.gone(each)


async def test_an_endpoint_that_does_not_answer_in_time_has_failed() -> None:
    async with endpoint() as hanging:
        hanging.open.clear()
        allowed = AllowedHosts.parse([f"127.0.0.1:{hanging.port}"])
        http = HttpClient()
        await http.open()
        client = WebhookClient(http=http, allowed=allowed, now=utc_now, within_s=0.2)

        attempt = await client.post(hanging.url, {}, "{}")

        hanging.open.set()
        await http.close()
    assert (attempt.succeeded, attempt.status, attempt.error) == (False, None, "no answer within 0.2 s")


async def test_what_came_to_lead_inside_is_not_sent_to(stage: Stage) -> None:
    webhook = await stage.created()
    async with endpoint() as inside:
        await stage.execute("UPDATE webhooks SET url = %s WHERE id = %s", inside.url, webhook["id"])
        await stage.app.client.post(f"{webhook['href']}/ping", json={})
        delivery = await stage.reaches(webhook, "pending", attempts=1)

    assert "not public" in delivery["log"][0]["error"]
    assert inside.got == []
    await stage.gone(webhook)


async def got(here: Endpoint, number: int) -> None:
    async def there() -> bool:
        return len(here.got) >= number

    await eventually(there)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://localhost/x",
        "http://2130706433/",
        "http://user:pass@203.0.113.1/",
        "file:///etc/passwd",
        "not a url",
    ],
)
async def test_an_address_inside_is_refused(stage: Stage, url: str) -> None:
    refused = await stage.app.client.post("/v1/webhooks", json={"url": url, "events": FINAL})

    assert refused.status_code in {403, 422}, refused.text


async def test_what_a_webhook_cannot_be_is_named(stage: Stage) -> None:
    url = stage.here.url

    for body, named in (
        ({"url": url, "events": ["task.started"]}, "events.0"),
        ({"url": url, "events": []}, "events"),
        ({"url": url, "events": FINAL, "secret": "whsec_short"}, "secret"),
        ({"url": url + "x" * 2001, "events": FINAL}, "url"),
    ):
        refused = await stage.app.client.post("/v1/webhooks", json=body)
        assert refused.status_code == 422, refused.text
        assert [error["field"] for error in refused.json()["errors"]] == [named]


async def test_a_tenant_has_twenty_webhooks_at_most_and_another_sees_none(stage: Stage) -> None:
    made = await asyncio.gather(
        *(stage.app.client.post("/v1/webhooks", json={"url": stage.here.url, "events": FINAL}) for _ in range(22))
    )

    statuses = sorted(each.status_code for each in made)
    assert statuses == [201] * 20 + [429] * 2
    page = (await stage.app.client.get("/v1/webhooks", params={"limit": 15})).json()
    rest = (await stage.app.client.get("/v1/webhooks", params={"cursor": page["next_cursor"]})).json()
    webhooks = page["items"] + rest["items"]
    assert (len(page["items"]), len(webhooks), rest["next_cursor"]) == (15, 20, None)
    async with stage.app.other_tenant() as stranger:
        assert (await stranger.get("/v1/webhooks")).json()["items"] == []
        assert await statuses_of(stranger, webhooks[0]["href"]) == {404}
    for each in webhooks:
        await stage.gone(each)


async def statuses_of(client: httpx.AsyncClient, href: str) -> set[int]:
    """What a stranger gets who knows the address."""
    return {
        (await client.get(href)).status_code,
        (await client.get(f"{href}/deliveries")).status_code,
        (await client.patch(href, json={"enabled": False})).status_code,
        (await client.post(f"{href}/ping", json={})).status_code,
        (await client.post(f"{href}/secret", json={})).status_code,
        (await client.delete(href)).status_code,
    }
