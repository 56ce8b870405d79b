"""Everything at once that can go wrong with money, through three API processes, and what has to be true afterwards."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from redis.asyncio import Redis
from tests.api.test_budgets_processes import SHORT, Pair, a_pair, client_of, kill
from tests.conftest import TestDatabase
from tests.edge import Caller, a_caller
from tests.upstream import Say
from tests.waiting import eventually

from cognitionos.cli.listening import answers_ready, free_port
from cognitionos.platform.config import Settings

BOUND = Decimal("0.0003")
"""About what one call holds: 100 completion tokens at 2 dollars per million, and its prompt at 1."""
CLOSED_WITHIN_S = 60


@dataclass(kw_only=True)
class Storm:
    """Calls of one caller at three processes. Each has a user of its own, whom provider and ledger are told too."""

    chance: random.Random
    pair: Pair
    clients: list[httpx.AsyncClient]
    heard: dict[str, httpx.Response] = field(default_factory=dict)
    ended: int = 0

    def speak(self, body: dict[str, Any]) -> Say:
        """What the provider does: it honours the limit it is given."""
        said = self.chance.randint(1, 100)
        tokens = min(said, body.get("max_completion_tokens") or body.get("max_tokens") or said)
        say = Say(
            text="some words " * self.chance.randint(1, 8),
            usage={"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens},
            delay_s=self.chance.choice((0.0, 0.01, 0.05, 0.2)),
            pause_s=self.chance.choice((0.0, 0.0, 0.02)),
        )
        wrong = self.chance.random()
        if wrong < 0.06:
            say.status = self.chance.choice((400, 429, 500))
        elif wrong < 0.12:
            say.cut_after = self.chance.randint(0, 3)
        elif wrong < 0.16:
            say.raw = self.chance.choice((b"not json", b"[1]", b'{"error": {"message": "no"}}', b'{"choices": 7}'))
        elif wrong < 0.22:
            say.usage = self.chance.choice(({}, {"prompt_tokens": -5}, {"prompt_tokens": "ten"}))
        return say

    async def call(self, number: int) -> None:
        """One client, who may leave at any moment."""
        user, client = f"storm-{number}", self.clients[number % len(self.clients)]
        path, body = _asking(self.chance, user)
        asking = asyncio.create_task(client.post(path, json=body))
        patience_s = self.chance.choice((None, None, None, self.chance.random() * 0.3))
        done, _ = await asyncio.wait({asking}, timeout=patience_s)
        self.ended += 1
        if not done:
            asking.cancel()
            await asyncio.wait({asking})
            return
        with suppress(httpx.TransportError):  # the process was killed
            self.heard[user] = asking.result()

    async def blow(self, calls: int, *, at_once: int, kill_at: int, pid: int, caller: Caller, redis_url: str) -> None:
        """All calls, while a process is killed, Redis loses all it has, and a budget starts anew."""
        places = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with places:
                await self.call(number)

        running = [asyncio.create_task(one(number)) for number in range(calls)]
        async with Redis.from_url(redis_url) as redis:
            while not all(each.done() for each in running):
                if pid and sum(each.done() for each in running) >= kill_at:
                    kill(pid)
                    pid = 0
                await redis.flushdb()
                await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await asyncio.wait(running, timeout=0.3)
        await asyncio.gather(*running)


def _asking(chance: random.Random, user: str) -> tuple[str, dict[str, object]]:
    turns = [{"role": "user", "content": f"{user} {uuid4()}"}]
    streamed = chance.random() < 0.5
    kind = chance.choice(("chat", "chat", "messages", "responses", "embeddings"))
    if kind == "messages":
        body = {"model": "m", "messages": turns, "max_tokens": 100, "stream": streamed, "metadata": {"user_id": user}}
        return "/v1/messages", body
    if kind == "responses":
        return "/v1/responses", {
            "model": "m", "input": turns, "max_output_tokens": 100, "stream": streamed, "user": user
        }  # fmt: skip
    if kind == "embeddings":
        return "/v1/embeddings", {"model": "openai/m", "input": [f"{user} text", "another"], "user": user}
    body = {"model": "m", "messages": turns, "max_tokens": 100, "stream": streamed, "user": user}
    return "/v1/chat/completions", body


@pytest.mark.parametrize(
    ("seed", "calls"),
    [(1, 60), *(pytest.param(seed, 500, marks=pytest.mark.long) for seed in range(2, 6))],
)
async def test_after_a_storm_no_hold_is_open_no_budget_overspent_and_every_answer_booked_once(
    settings: Settings, database: TestDatabase, redis_url: str, seed: int, calls: int
) -> None:
    caller = await a_caller(settings, f"storm-{uuid4()}")
    async with a_pair(settings, **SHORT, COGNITIONOS_CIRCUIT_FAILURES="1000000") as pair:
        port = free_port("127.0.0.1", 0)
        doomed = await pair.product.api(port)
        urls = [*pair.urls, f"http://127.0.0.1:{port}"]
        await eventually(lambda: asyncio.to_thread(answers_ready, urls[-1]), timeout_s=90)
        clients = [client_of(url, caller) for url in urls]
        await _priced_and_limited(clients[0], caller, calls)
        storm = Storm(chance=random.Random(seed), pair=pair, clients=clients)
        pair.upstream.speak = storm.speak
        starting_anew = asyncio.create_task(_starts_anew(database, caller, storm, calls // 2))

        await storm.blow(calls, at_once=24, kill_at=calls // 3, pid=doomed.pid, caller=caller, redis_url=redis_url)
        await starting_anew

        await eventually(lambda: _holds(database, caller) == 0, timeout_s=CLOSED_WITHIN_S)
        assert (await clients[0].post("/v1/budgets/recount", json={})).json()["miscounts"] == []
        budgets = (await clients[1].get("/v1/budgets")).json()["budgets"]
        rows = _rows(database, caller)
        for client in clients:
            await client.aclose()
        _check_budgets(budgets, rows)
        _check_calls(storm, rows)


async def _priced_and_limited(client: httpx.AsyncClient, caller: Caller, calls: int) -> None:
    price = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
    (await client.put("/v1/prices/m", json=price)).raise_for_status()
    limits = {
        f"tenant:{caller.tenant_id}": (calls * BOUND / 12, "total"),
        f"project:{caller.project_id}": (calls * BOUND / 11, "month"),
        f"api_key:{caller.api_key_id}": (calls * BOUND / 20, "day"),
    }
    for subject, (limit_usd, period) in limits.items():
        body = {"subject": subject, "limit_usd": str(limit_usd), "period": period}
        (await client.post("/v1/budgets", json=body)).raise_for_status()


async def _starts_anew(database: TestDatabase, caller: Caller, storm: Storm, after: int) -> None:
    """A day passes in the middle of it, twice: all that was done is moved into the day before."""
    ago = "- interval '1 day'"
    for share in (after, after + after // 2):
        await eventually(lambda share=share: storm.ended >= share, timeout_s=120)
        with psycopg.connect(database.admin_url) as admin:
            for change in (
                "SELECT FROM budgets WHERE tenant_id = %s ORDER BY id FOR UPDATE",
                f"UPDATE budgets SET window_start = window_start {ago} WHERE tenant_id = %s",
                f"UPDATE budgets SET resets_at = resets_at {ago} WHERE tenant_id = %s",
                f"UPDATE budget_holds SET created_at = created_at {ago} WHERE tenant_id = %s",
                f"UPDATE calls SET held_at = held_at {ago}, settled_at = settled_at {ago} WHERE tenant_id = %s",
            ):
                admin.execute(change.encode(), [caller.tenant_id])


def _check_budgets(budgets: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    assert len(budgets) == 3
    for budget in budgets:
        assert Decimal(budget["held_usd"]) == 0, budget
        assert Decimal(budget["spent_usd"]) <= Decimal(budget["limit_usd"]), budget
    (total,) = (budget for budget in budgets if budget["subject"].startswith("tenant:"))
    assert Decimal(total["spent_usd"]) * 10**9 == sum(row["cost_nanousd"] for row in rows)


def _check_calls(storm: Storm, rows: list[dict[str, Any]]) -> None:
    """Row by row against what the provider and the clients know."""
    upstream = storm.pair.upstream
    asked = Counter(body["user"] for body in upstream.calls)
    answered = Counter(body["user"] for body in upstream.answered)
    by_user = {row["user_id"]: row for row in rows}
    assert len(by_user) == len(rows), "somebody is booked twice"
    assert asked.keys() <= by_user.keys(), "a call that reached the provider has no row"
    for user, row in by_user.items():
        assert row["attempts"] <= asked[user] + (row["outcome"] == "aborted"), row
        if row["outcome"] == "ok":
            assert answered[user] == 1, row
        heard = storm.heard.get(user)
        if heard is not None and heard.status_code == 200 and row["outcome"] != "error":
            assert row["outcome"] == "ok", (row, heard.text[-300:])
        if heard is not None and "x-cognitionos-cost-usd" in heard.headers:
            assert Decimal(heard.headers["x-cognitionos-cost-usd"]) * 10**9 == row["cost_nanousd"]
        if answered[user] and row["outcome"] == "error":
            raise AssertionError(f"answered, but booked as an error: {row}")
    outcomes = Counter(row["outcome"] for row in rows)
    assert outcomes["ok"] > 0, outcomes
    statuses = Counter(heard.status_code for heard in storm.heard.values())
    assert statuses[429] > 0, statuses


def _holds(database: TestDatabase, caller: Caller) -> int:
    with psycopg.connect(database.admin_url) as admin:
        query = "SELECT count(*)::int FROM budget_holds WHERE tenant_id = %s"
        return int(admin.execute(query, [caller.tenant_id]).fetchall()[0][0])


def _rows(database: TestDatabase, caller: Caller) -> list[dict[str, Any]]:
    query = (
        "SELECT user_id, kind, outcome, attempts, cost_nanousd, completion_tokens, estimated, streamed, limit_lowered"
        " FROM calls WHERE tenant_id = %s"
    )
    with psycopg.connect(database.admin_url, row_factory=dict_row) as admin:
        return admin.execute(query, [caller.tenant_id]).fetchall()
