"""Budgets over HTTP: opened, changed, told of, acknowledged; what a call sees of them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.api_process import api_process
from tests.conftest import Run, TestDatabase
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1, "completion_tokens": 100, "total_tokens": 101}
BOUND = Decimal("0.0002")
"""100 completion tokens of the model `dear` at 2 dollars per million; its prompts are free."""


@pytest.fixture(scope="module")
def url(settings: Settings, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    providers = Path(tmp_path_factory.mktemp("providers")) / "providers.json"
    entry = {"name": "other", "base_url": upstream.base_url, "api_key_env": "OPENAI_API_KEY", "models": ["small"]}
    providers.write_text(json.dumps([entry]))
    environment = {
        "OPENAI_BASE_URL": upstream.base_url,
        "OPENAI_API_KEY": upstream.api_key or "",
        "ANTHROPIC_BASE_URL": upstream.base_url,
        "ANTHROPIC_API_KEY": "never sent",
        "COGNITIONOS_PROVIDERS_FILE": str(providers),
    }
    with api_process(settings, environment) as url:
        yield url


@pytest.fixture
def client(url: str, caller: Caller, run: Run, upstream: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    run(_price(made, "dear", "2"))
    run(_price(made, "other/small", "1"))
    yield made
    run(made.aclose())


async def _price(client: httpx.AsyncClient, model: str, output: str) -> None:
    price = {"input_usd_per_million": "0", "output_usd_per_million": output}
    (await client.put(f"/v1/prices/{model}", json=price)).raise_for_status()


async def opened(client: httpx.AsyncClient, subject: str, limit_usd: Decimal, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/budgets", json={"subject": subject, "limit_usd": str(limit_usd), **fields})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def asking(text: str, **fields: object) -> dict[str, object]:
    return {"model": "dear", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields


async def spend(client: httpx.AsyncClient, upstream: Upstream, calls: int) -> None:
    for number in range(calls):
        upstream.then(Say(text="spent", usage=USAGE))
        (await client.post(CHAT, json=asking(f"spend {number} {uuid4()}"))).raise_for_status()


async def alerts_of(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get("/v1/budgets/alerts", params=query)).json()["items"]
    return items


@pytest.mark.parametrize(
    "kind", ["tenant", "project", "api_key", "user", "goal", "workflow", "run", "task", "agent_run"]
)
async def test_a_budget_can_be_set_on_whatever_spends(client: httpx.AsyncClient, caller: Caller, kind: str) -> None:
    known = {"tenant": caller.tenant_id, "project": caller.project_id, "api_key": caller.api_key_id}
    subject = f"{kind}:{known.get(kind, uuid4())}"

    budget = await opened(client, subject, Decimal(5), period="week", soft=0.5, halt=None)

    assert (budget["subject"], budget["limit_usd"], budget["period"], budget["soft"]) == (subject, "5", "week", 0.5)
    assert (budget["halt"], budget["left_usd"], budget["time_zone"]) == (None, "5", "UTC")
    assert datetime.fromisoformat(budget["resets_at"]).astimezone(UTC).weekday() == 0


async def test_posting_again_changes_what_it_names_and_keeps_the_rest(
    client: httpx.AsyncClient, upstream: Upstream, caller: Caller
) -> None:
    subject = f"api_key:{caller.api_key_id}"
    first = await opened(client, subject, BOUND * 10, soft=0.5, time_zone="Europe/Berlin", period="day")
    await spend(client, upstream, 1)

    again = await opened(client, subject, BOUND * 20, halt=0.9, period="day")

    assert again["id"] == first["id"]
    assert (again["soft"], again["halt"], again["time_zone"]) == (0.5, 0.9, "Europe/Berlin")
    assert (Decimal(again["spent_usd"]), Decimal(again["limit_usd"]), again["calls"]) == (BOUND, BOUND * 20, 1)


async def test_a_budget_is_changed_read_and_removed_by_its_id(client: httpx.AsyncClient) -> None:
    budget = await opened(client, "user:anna", Decimal(1), period="month")
    path = f"/v1/budgets/{budget['id']}"

    changed = (await client.patch(path, json={"limit_usd": "2", "soft": None, "time_zone": "Asia/Tokyo"})).json()
    read = (await client.get(path)).json()
    removed = await client.delete(path)

    assert (changed["limit_usd"], changed["soft"], changed["halt"], changed["time_zone"]) == (
        "2",
        None,
        0.95,
        "Asia/Tokyo",
    )
    assert read == changed
    assert removed.status_code == 204
    assert (await client.get(path)).json()["type"] == "/problems/budget-not-found"
    assert (await client.patch(path, json={})).status_code == 404


@pytest.mark.parametrize("kind", ["project", "api_key"])
async def test_a_budget_on_what_is_not_the_tenants_is_refused_as_on_another_tenant(
    client: httpx.AsyncClient, settings: Settings, kind: str
) -> None:
    other = await a_caller(settings, f"other-{uuid4()}")
    foreign = other.project_id if kind == "project" else other.api_key_id
    subjects = [f"tenant:{other.tenant_id}", f"{kind}:{foreign}", f"{kind}:{uuid4()}"]

    refused = [await client.post("/v1/budgets", json={"subject": each, "limit_usd": "1"}) for each in subjects]

    assert {answer.status_code for answer in refused} == {422}
    assert len({(answer.json()["type"], answer.json()["errors"][0]["field"]) for answer in refused}) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        *(({"time_zone": name}, "time_zone") for name in ("abc5", "Berlin1", "2", "UTC+3")),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"downgrade_to": "other/nobody-knows-what-it-costs"}, "downgrade_to"),
        ({"limit_usd": "-1"}, "limit_usd"),
        ({"soft": 1.5}, "soft"),
        ({"soft": 0.9, "halt": 0.8}, "soft"),
        ({"soft": 0.99}, "soft"),
        ({"halt": 0.5}, "soft"),
        ({"period": "year"}, "period"),
        ({"subject": "project:default"}, "subject"),
        ({"subject": "api_key:x"}, "subject"),
        ({"subject": "run:0000-1"}, "subject"),
    ],
)
async def test_what_cannot_be_is_refused_naming_the_field(
    client: httpx.AsyncClient, fields: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v1/budgets", json={"subject": "user:x", "limit_usd": "1", **fields})

    assert answer.status_code in {400, 422}
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_soft_share_above_halt_is_refused_whichever_of_them_is_changed_and_says_what_would_do(
    client: httpx.AsyncClient, database: TestDatabase
) -> None:
    made = await opened(client, "user:crossed", Decimal(1), soft=0.5, halt=0.9)
    path = f"/v1/budgets/{made['id']}"

    answers = [
        await client.patch(path, json={"soft": 0.95, "limit_usd": "7"}),
        await client.patch(path, json={"halt": 0.4}),
        await client.post("/v1/budgets", json={"subject": "user:crossed", "limit_usd": "7", "soft": 0.91}),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/shares-crossed")
    assert answers[0].json()["errors"] == [
        {"field": "soft", "message": "name a soft of at most 0.9, a halt of at least 0.95, or null for one of them"}
    ]
    assert (await client.get(path)).json() == made
    assert (await client.patch(path, json={"soft": 0.9})).status_code == 200
    assert (await client.patch(path, json={"soft": 0.95, "halt": None})).status_code == 200
    with psycopg.connect(database.admin_url) as admin:  # one from before this rule
        admin.execute("UPDATE budgets SET halt = 0.2 WHERE id = %s", [made["id"]])
    old = (await client.get(path)).json()
    assert (old["soft"], old["halt"]) == (0.95, 0.2)
    assert (await client.patch(path, json={"limit_usd": "3"})).status_code == 200


async def test_budgets_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    made = [(await opened(client, f"user:{number}", Decimal(1)))["id"] for number in range(5)]
    found: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        page = (await client.get("/v1/budgets", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += [budget["id"] for budget in page["budgets"]]
        cursor = page["next_cursor"]

    assert found == made


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_a_refusal_says_which_budget_and_when_it_starts_anew(
    client: httpx.AsyncClient, caller: Caller, path: str
) -> None:
    budget = await opened(client, f"project:{caller.project_id}", Decimal("0.00000001"), period="day")

    answer = await client.post(path, json=asking("too dear"), headers={"anthropic-version": "2023-06-01"})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["budget"]) == (429, "budget-exhausted", budget["subject"])
    assert error["resets_at"] == budget["resets_at"]
    assert "for a day" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    left_s = (datetime.fromisoformat(budget["resets_at"]) - datetime.now(UTC)).total_seconds()
    assert int(answer.headers["retry-after"]) == pytest.approx(left_s, abs=5)


@pytest.mark.parametrize("streamed", [False, True])
async def test_past_the_soft_share_the_cheaper_model_answers_and_says_so(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, *, streamed: bool
) -> None:
    await opened(client, f"api_key:{caller.api_key_id}", BOUND * 10, soft=0.2, downgrade_to="other/small")
    await spend(client, upstream, 2)
    upstream.then(Say(text="cheaper", usage=USAGE))

    answer = await client.post(CHAT, json=asking(f"now {streamed}", stream=streamed))

    assert answer.headers["x-cognitionos-downgraded"] == "true"
    assert answer.headers["x-cognitionos-model"] == "other/small"
    assert answer.headers["x-cognitionos-route"].startswith("reason=budget, ")
    assert upstream.calls[-1]["model"] == "small"
    (budget,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert Decimal(budget["spent_usd"]) == BOUND * 2 + BOUND / 2
    upstream.then(Say(text="dearer again", usage=USAGE))
    await client.patch(f"/v1/budgets/{budget['id']}", json={"limit_usd": "1"})
    again = await client.post(CHAT, json=asking(f"now {streamed}"))
    assert again.headers["x-cognitionos-model"] == "openai/dear"
    assert again.headers["x-cognitionos-cache"] == "none"  # what the cheaper one said is not the asked one's answer


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("status", "why"), [(400, "refused"), (404, "no-such-model"), (429, "status-429"), (500, "status-500")]
)
async def test_where_the_cheaper_model_cannot_answer_the_one_that_was_asked_for_does(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, *, status: int, why: str, streamed: bool
) -> None:
    budget = await opened(client, f"api_key:{caller.api_key_id}", BOUND * 10, soft=0.2, downgrade_to="other/small")
    await spend(client, upstream, 2)
    upstream.then(Say(status=status), Say(text="as asked", usage=USAGE))

    answer = await client.post(CHAT, json=asking(f"now {uuid4()}", stream=streamed))

    assert answer.status_code == 200
    assert answer.headers["x-cognitionos-model"] == "openai/dear"
    assert "x-cognitionos-downgraded" not in answer.headers
    assert answer.headers["x-cognitionos-route"] == f"reason=budget, other/small={why}, openai/dear=answered"
    after = (await client.get(f"/v1/budgets/{budget['id']}")).json()
    assert (Decimal(after["spent_usd"]), Decimal(after["held_usd"])) == (BOUND * 3, 0)


async def test_a_request_that_the_cheaper_model_cannot_be_told_goes_on_with_the_one_that_was_asked_for(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await _price(client, "anthropic/haiku", "1")
    await opened(client, f"api_key:{caller.api_key_id}", BOUND * 10, soft=0.2, downgrade_to="anthropic/haiku")
    await spend(client, upstream, 2)

    answer = await client.post(CHAT, json=asking("with its chances", logprobs=True))

    assert (answer.status_code, answer.headers["x-cognitionos-model"]) == (200, "openai/dear")
    assert "anthropic/haiku=refused" in answer.headers["x-cognitionos-route"]


async def test_what_both_models_refuse_is_the_callers_mistake(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await opened(client, f"api_key:{caller.api_key_id}", BOUND * 10, soft=0.2, downgrade_to="other/small")
    await spend(client, upstream, 2)
    upstream.then(Say(status=500))

    answer = await client.post(CHAT, json=asking("wrong", refuse_me=True))

    assert answer.status_code == 400


async def test_a_model_that_is_dearer_or_gone_is_not_switched_to(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await client.put("/v1/budgets/settings", json={"downgrade_to": "dear"})
    await opened(client, f"api_key:{caller.api_key_id}", BOUND * 10, soft=0.1)
    await spend(client, upstream, 1)
    upstream.then(Say(text="small", usage=USAGE))

    answer = await client.post(CHAT, json=asking("the small one", model="other/small"))

    assert answer.headers["x-cognitionos-model"] == "other/small"
    assert "x-cognitionos-downgraded" not in answer.headers


async def test_each_share_is_told_of_once_and_an_alert_is_acknowledged(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    subject = f"api_key:{caller.api_key_id}"
    await opened(client, subject, BOUND * 10)
    await spend(client, upstream, 10)
    assert (await client.post(CHAT, json=asking("one too many"))).status_code == 429

    thresholds = [alert["threshold"] for alert in await alerts_of(client)]
    (soft,) = await alerts_of(client, threshold="soft", subject=subject)
    seen = (await client.post(f"/v1/budgets/alerts/{soft['id']}/ack", json={"note": "raised it"})).json()

    assert sorted(thresholds) == ["exhausted", "halt", "soft"]
    assert (Decimal(soft["spent_usd"]), soft["share"], soft["acknowledged_at"]) == (BOUND * 8, 0.8, None)
    assert (seen["acknowledged_by"], seen["note"]) == (f"api_key:{caller.api_key_id}", "raised it")
    assert seen["acknowledged_at"] is not None
    assert [each["id"] for each in await alerts_of(client, acknowledged=True)] == [soft["id"]]
    assert len(await alerts_of(client, acknowledged=False)) == 2
    for alert, said in zip(await alerts_of(client, acknowledged=False), ({}, {"json": {}}), strict=True):
        unsaid = await client.post(f"/v1/budgets/alerts/{alert['id']}/ack", **said)  # type: ignore[arg-type]
        assert (unsaid.status_code, unsaid.json()["note"]) == (200, None)
        assert unsaid.json()["acknowledged_by"] == f"api_key:{caller.api_key_id}"
    assert await alerts_of(client, acknowledged=False) == []
    wrong = await client.post(f"/v1/budgets/alerts/{soft['id']}/ack", json={"notes": "x"})
    assert wrong.status_code == 400

    async def counted() -> bool:
        return 'cognitionos_budget_alerts_total{threshold="soft"}' in (await client.get("/metrics")).text

    await eventually(counted)


async def test_settings_move_the_budgets_that_name_no_time_zone(client: httpx.AsyncClient) -> None:
    await opened(client, "user:a", Decimal(1), period="day")

    put = await client.put("/v1/budgets/settings", json={"time_zone": "Asia/Kathmandu", "downgrade_to": "other/small"})

    assert put.json() == {"time_zone": "Asia/Kathmandu", "downgrade_to": "other/small"}
    assert (await client.get("/v1/budgets/settings")).json() == put.json()
    (budget,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert budget["time_zone"] == "Asia/Kathmandu"
    assert datetime.fromisoformat(budget["resets_at"]).astimezone(UTC).strftime("%H:%M") == "18:15"


async def test_counters_are_what_the_ledger_says(client: httpx.AsyncClient, caller: Caller, upstream: Upstream) -> None:
    await opened(client, f"api_key:{caller.api_key_id}", BOUND * 10)
    await spend(client, upstream, 3)

    assert (await client.post("/v1/budgets/recount", json={})).json() == {"miscounts": [], "corrected": False}


async def test_a_key_that_is_rotated_hands_on_its_budget_with_what_was_spent(
    client: httpx.AsyncClient, url: str, caller: Caller, upstream: Upstream
) -> None:
    budget = await opened(client, f"api_key:{caller.api_key_id}", BOUND * 2, period="month")
    await spend(client, upstream, 1)
    keys, key_id = [caller.key], str(caller.api_key_id)
    for _ in range(2):  # a successor of a successor is of the same line
        issued = (await client.post(f"/v1/api-keys/{key_id}/rotate", json={"overlap_s": 600})).json()
        keys.append(issued["key"])
        key_id = issued["id"]

    async def ask(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        upstream.then(Say(text="paid", usage=USAGE))
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as holder:
            return (await holder.post(CHAT, json=asking(f"of {key} {uuid4()}"))).status_code

    assert await ask(keys[2]) == 200
    upstream.script.clear()
    assert [await ask(key) for key in keys] == [429, 429, 429]
    upstream.script.clear()
    after = (await client.get(f"/v1/budgets/{budget['id']}")).json()
    assert (Decimal(after["spent_usd"]), after["calls"]) == (BOUND * 2, 2)
    assert (await client.post("/v1/budgets/recount", json={})).json()["miscounts"] == []
    listed = (await client.get("/v1/api-keys")).json()["items"]
    assert [each["replaces"] for each in listed] == [listed[1]["id"], listed[2]["id"], None]
