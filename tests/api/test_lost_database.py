"""PostgreSQL goes away while models answer, and comes back: every answer is booked, and nothing stays held."""

import asyncio
from uuid import uuid4

import httpx
import psycopg
from tests.conftest import TestDatabase
from tests.edge import Caller
from tests.lost_database import lost
from tests.upstream import Say, Upstream
from tests.waiting import eventually

CHAT = "/v1/chat/completions"
GONE_S = 3.0


def asking(text: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": f"{text} {uuid4()}"}], "max_tokens": 100} | fields


async def test_answers_that_come_while_the_database_is_gone_are_given_and_booked_once_it_is_back(
    url: str, upstream: Upstream, caller: Caller, database: TestDatabase
) -> None:
    client = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30)
    price = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
    (await client.put("/v1/prices/m", json=price)).raise_for_status()
    budget = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": "1"}
    (await client.post("/v1/budgets", json=budget)).raise_for_status()
    answer = asyncio.Event()
    upstream.then(*(Say(text="well said", gates={0: answer}) for _ in range(4)))
    calls = [asyncio.create_task(client.post(CHAT, json=asking("wait", stream=n % 2 == 0))) for n in range(3)]
    left = asyncio.create_task(client.post(CHAT, json=asking("leave", stream=True)))
    await eventually(lambda: len(upstream.calls) == 4)

    with lost(database):
        left.cancel()
        answer.set()
        await asyncio.sleep(GONE_S)
        assert not any(call.done() for call in calls)
    answers = await asyncio.gather(*calls)

    assert [each.status_code for each in answers] == [200] * 3
    assert all("well said" in each.text or '"said"' in each.text for each in answers)
    assert all("error" not in each.text for each in answers)
    await eventually(lambda: _holds(database, caller) == 0, timeout_s=30)
    rows = _rows(database, caller)
    assert sorted(outcome for outcome, _, _ in rows) in (["aborted", "ok", "ok", "ok"], ["ok"] * 4)
    assert all(priced and cost > 0 for _, cost, priced in rows)
    await eventually(lambda: _is_ready(client), timeout_s=30)
    (told,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (told["held_usd"], told["calls"]) == ("0", 4)
    assert (await client.post("/v1/budgets/recount", json={})).json()["miscounts"] == []
    await client.aclose()


async def _is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/budgets")).status_code == 200


def _holds(database: TestDatabase, caller: Caller) -> int:
    with psycopg.connect(database.admin_url) as admin:
        query = "SELECT count(*)::int FROM budget_holds WHERE tenant_id = %s"
        return int(admin.execute(query, [caller.tenant_id]).fetchall()[0][0])


def _rows(database: TestDatabase, caller: Caller) -> list[tuple[str, int, bool]]:
    with psycopg.connect(database.admin_url) as admin:
        query = "SELECT outcome, cost_nanousd, priced FROM calls WHERE tenant_id = %s"
        return admin.execute(query, [caller.tenant_id]).fetchall()
