"""The ledger and the prices over HTTP: what a call leaves behind, sums by any of it, CSV, prices of every kind."""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.conftest import Run, TestDatabase
from tests.edge import Caller
from tests.upstream import Say, Upstream

from cognitionos.llm_gateway.infrastructure.usage_queries import GROUPS

CHAT = "/v1/chat/completions"
PLAIN = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 50, "cache_write_tokens": 200},
    "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 10},
    "cache_creation": {"ephemeral_1h_input_tokens": 150},
}


@pytest.fixture
def client(url: str, caller: Caller, run: Run, upstream: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    run(made.put("/v1/prices/m", json=PLAIN)).raise_for_status()
    yield made
    run(made.aclose())


async def ask(client: httpx.AsyncClient, text: str, **fields: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields
    answer = await client.post(CHAT, json=body)
    answer.raise_for_status()
    return answer


@pytest.mark.parametrize("stream", [False, True])
async def test_every_column_of_a_call_is_filled(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, *, stream: bool
) -> None:
    upstream.then(Say(text="all of it", usage=USAGE, fields={"service_tier": "flex"}))

    answer = await ask(client, f"every column {stream}", user="ada", stream=stream)
    call = (await client.get(f"/v1/usage/calls/{answer.headers['x-cognitionos-call-id']}")).json()

    first_token_ms, settled_at = call.pop("first_token_ms"), call.pop("settled_at")
    assert isinstance(first_token_ms, int) if stream else first_token_ms is None
    assert settled_at
    assert call.pop("latency_ms") >= 0
    assert call == {
        "call_id": answer.headers["x-cognitionos-call-id"],
        "kind": "chat",
        "outcome": "ok",
        "project": str(caller.project_id),
        "api_key": call["api_key"],
        "user": "ada",
        "goal": None,
        "workflow": None,
        "run": None,
        "task": None,
        "agent_run": None,
        "provider": "openai",
        "model": "m",
        "model_asked": "m",
        "route_reason": call["route_reason"],
        "cache": "none",
        "prompt_tokens": 1000,
        "cached_tokens": 300,
        "cache_write_tokens": 200,
        "cache_write_1h_tokens": 150,
        "completion_tokens": 100,
        "reasoning_tokens": 40,
        "audio_input_tokens": 50,
        "audio_output_tokens": 10,
        "image_input_tokens": 0,
        "image_output_tokens": 0,
        "cached_audio_tokens": 0,
        "searches": 0,
        "service_tier": "flex",
        "cost_usd": "0.0012",
        "saved_usd": "0",
        "estimated": False,
        "attempts": 1,
        "finish_reason": "stop",
        "streamed": stream,
        "simulated": False,
        "limit_lowered": False,
    }
    assert call["api_key"]
    assert call["route_reason"]


async def test_a_price_of_every_kind_is_kept_and_billed(client: httpx.AsyncClient, upstream: Upstream) -> None:
    rates = {
        "input_usd_per_million": "1",
        "output_usd_per_million": "2",
        "cached_input_usd_per_million": "0.1",
        "cache_write_usd_per_million": "1.25",
        "cache_write_1h_usd_per_million": "2",
        "reasoning_usd_per_million": "3",
        "audio_input_usd_per_million": "40",
        "audio_output_usd_per_million": "80",
        "image_input_usd_per_million": "5",
        "image_output_usd_per_million": "6",
    }
    sheet = rates | {
        "max_input_tokens": 128_000,
        "max_output_tokens": 4_000,
        "above": [{"prompt_tokens": 2_000, "input_usd_per_million": "10"}],
        "tiers": {"flex": {"input_usd_per_million": "0.5"}},
    }

    put = await client.put("/v1/prices/openai/whole", json=sheet)
    told = (await client.get("/v1/prices/openai/whole")).json()
    costs = []
    for number, (usage, tier) in enumerate([(USAGE, None), (USAGE, "flex"), (USAGE | {"prompt_tokens": 3000}, None)]):
        upstream.then(Say(text="x", usage=usage, fields={"service_tier": tier}))
        answer = await ask(client, f"priced {number}", model="openai/whole")
        costs.append(Decimal(answer.headers["x-cognitionos-cost-usd"]))

    assert put.status_code == 200
    assert put.json()["price"] == sheet
    assert (told["source"], told["model"]) == ("own", "openai/whole")
    assert told["price"]["tiers"]["flex"] == rates | {"input_usd_per_million": "0.5", "above": told["price"]["above"]}
    # 450 plain, 300 cached, 150 and 50 written, 50 of audio; 50 spoken, 40 of reasoning, 10 of audio
    rest = 300 * Decimal("0.1") + 150 * 2 + 50 * Decimal("1.25") + 50 * 40 + 50 * 2 + 40 * 3 + 10 * 80
    assert costs == [(each + rest) / 10**6 for each in (450 * 1, 450 * Decimal("0.5"), 2450 * 10)]


async def test_an_image_goes_through_and_costs_what_an_image_costs(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await client.put("/v1/prices/openai/seeing", json=PLAIN | {"image_input_usd_per_million": "5"})
    await client.post("/v1/budgets", json={"subject": f"tenant:{caller.tenant_id}", "limit_usd": "1"})
    details = {"prompt_tokens": 900, "completion_tokens": 10, "prompt_tokens_details": {"image_tokens": 800}}
    upstream.then(Say(text="a cat", usage=details))
    parts = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    body = {"model": "openai/seeing", "max_tokens": 20, "messages": [{"role": "user", "content": parts}]}

    answer = await client.post(CHAT, json=body)
    call = (await client.get(f"/v1/usage/calls/{answer.headers['x-cognitionos-call-id']}")).json()

    assert upstream.calls[-1]["messages"][0]["content"] == parts
    assert call["image_input_tokens"] == 800
    assert Decimal(call["cost_usd"]) == (100 * 1 + 800 * 5 + 10 * 2) / Decimal(10**6)


async def test_every_roll_up_is_the_sum_of_the_ledger(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    subject = f"tenant:{caller.tenant_id}"
    await client.post("/v1/budgets", json={"subject": subject, "limit_usd": "1"})
    for number, user in enumerate((None, "ada", "bob", "ada")):
        upstream.then(Say(text="x", usage=USAGE | {"prompt_tokens": 1001 + number}))
        await ask(client, f"rolled up {number}", stream=number == 1, **({"user": user} if user else {}))

    rows = (await client.get("/v1/usage/calls")).json()["items"]
    sums = [(await client.get("/v1/usage", params={"group_by": name})).json() for name in GROUPS]
    (budget,) = (await client.get("/v1/budgets")).json()["budgets"]

    total = sum(Decimal(row["cost_usd"]) for row in rows)
    assert total == Decimal("0.00481")
    for told in sums:
        assert Decimal(told["total_usd"]) == sum(Decimal(each["cost_usd"]) for each in told["groups"]) == total
        assert told["total_calls"] == sum(each["calls"] for each in told["groups"]) == 4
    assert (Decimal(budget["spent_usd"]), budget["calls"]) == (total, 4)


async def test_prices_are_versioned_listed_and_have_a_history(client: httpx.AsyncClient) -> None:
    for amount in ("3", "4", "5"):
        await client.put("/v1/prices/openai/gpt-x", json=PLAIN | {"input_usd_per_million": amount})

    first = (await client.get("/v1/prices", params={"limit": 1})).json()
    second = (await client.get("/v1/prices", params={"limit": 1, "cursor": first["next_cursor"]})).json()
    history = (await client.get("/v1/prices", params={"model": "openai/gpt-x", "limit": 2})).json()
    earlier = await client.get(
        "/v1/prices", params={"model": "openai/gpt-x", "limit": 2, "cursor": history["next_cursor"]}
    )

    assert [each["model"] for each in first["items"] + second["items"]] == ["m", "openai/gpt-x"]
    assert second["next_cursor"] is None
    assert second["items"][0]["version"] == 3
    assert [each["price"]["input_usd_per_million"] for each in history["items"]] == ["5", "4"]
    assert [each["version"] for each in earlier.json()["items"]] == [1]


async def test_the_public_price_and_that_of_ones_own_server_say_so(client: httpx.AsyncClient) -> None:
    public = (await client.get("/v1/prices/openai/gpt-4o-mini")).json()
    own = (await client.get("/v1/prices/openai/nobody-knows-this")).json()

    assert public["source"] == "public"
    assert public["price"]["input_usd_per_million"] == "0.15"
    assert Decimal(public["price"]["tiers"]["priority"]["output_usd_per_million"]) == 1
    assert (own["source"], Decimal(own["price"]["input_usd_per_million"])) == ("free", 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"audio_input_usd_per_million": "-1"}, "audio_input_usd_per_million"),
        ({"output_usd_per_million": "NaN"}, "output_usd_per_million"),
        ({"above": [{"prompt_tokens": 5, "input_usd_per_million": -1}]}, "above.0.input_usd_per_million"),
        ({"tiers": {"flex": {"output_usd_per_million": "1e12"}}}, "tiers.flex.output_usd_per_million"),
    ],
)
async def test_an_amount_that_is_none_is_refused_by_its_field(
    client: httpx.AsyncClient, change: dict[str, Any], field: str
) -> None:
    refused = await client.put("/v1/prices/m", json=PLAIN | change)

    assert refused.status_code == 422
    assert field in str(refused.json()["errors"])


async def test_usage_is_summed_by_several_things_at_once(client: httpx.AsyncClient, upstream: Upstream) -> None:
    for user, calls in (("ada", 2), ("bob", 1)):
        for number in range(calls):
            upstream.then(Say(text="x", usage=USAGE))
            await ask(client, f"{user} {number}", user=user)

    both = (await client.get("/v1/usage", params={"group_by": "user,model"})).json()
    first = (await client.get("/v1/usage", params={"group_by": "user,model", "limit": 1})).json()
    rest = await client.get("/v1/usage", params={"group_by": "user,model", "cursor": first["next_cursor"]})
    only = (await client.get("/v1/usage", params={"group_by": "month,cache", "user": "bob"})).json()

    assert [(each["keys"], each["calls"]) for each in both["groups"]] == [
        ({"user": "ada", "model": "openai/m"}, 2),
        ({"user": "bob", "model": "openai/m"}, 1),
    ]
    assert (both["total_usd"], both["total_calls"], both["next_cursor"]) == ("0.0036", 3, None)
    assert both["groups"][0]["cached_tokens"] == 600
    assert first["groups"] + rest.json()["groups"] == both["groups"]
    assert (first["total_usd"], rest.json()["total_usd"]) == ("0.0036", "0.0036")
    assert [each["keys"]["cache"] for each in only["groups"]] == ["none"]
    assert only["total_calls"] == 1


@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
async def test_time_is_that_of_the_zone_asked_for(client: httpx.AsyncClient, upstream: Upstream, bucket: str) -> None:
    upstream.then(Say(text="x", usage=USAGE))
    await ask(client, f"when {bucket}")

    here = {"group_by": bucket, "timezone": "Pacific/Kiritimati"}
    there = {"group_by": bucket, "timezone": "Pacific/Niue"}
    keys = [(await client.get("/v1/usage", params=params)).json()["groups"][0]["key"] for params in (here, there)]

    assert keys[0] >= keys[1]
    if bucket == "hour":
        assert [key[-6:] for key in keys] == ["+14:00", "-11:00"]
    if bucket == "day":
        assert keys[0] > keys[1]


async def test_hours_are_in_the_order_of_time_where_clocks_are_set_back(
    client: httpx.AsyncClient, caller: Caller, database: TestDatabase
) -> None:
    for number in range(3):
        await ask(client, f"autumn {number}")
    with psycopg.connect(database.admin_url) as admin:
        admin.execute(
            "UPDATE calls c SET settled_at = timestamptz '2026-10-24 23:30Z' + r.n * interval '1 hour'"
            " FROM (SELECT call_id, row_number() OVER () AS n FROM calls WHERE tenant_id = %s) r"
            " WHERE r.call_id = c.call_id",
            [caller.tenant_id],
        )
    asked = {"group_by": "hour", "timezone": "Europe/Berlin"}

    whole = (await client.get("/v1/usage", params=asked)).json()
    keys, cursor = [], None
    for _ in range(3):
        part = (
            await client.get("/v1/usage", params=asked | {"limit": 1} | ({"cursor": cursor} if cursor else {}))
        ).json()
        keys += [group["key"] for group in part["groups"]]
        cursor = part["next_cursor"]

    assert keys == [group["key"] for group in whole["groups"]]
    assert keys == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]


@pytest.mark.parametrize(
    "params",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "abc5"},
        {"timezone": "Berlin1"},
        {"timezone": "2"},
        {"timezone": "UTC+3"},
        {"timezone": "posix/Europe/Berlin"},
        {"group_by": "secrets"},
        {"group_by": "user,model,day,cache,run"},
        {"cursor": "x"},
        {"run": "no-uuid"},
    ],
)
async def test_what_cannot_be_summed_is_refused(client: httpx.AsyncClient, params: dict[str, str]) -> None:
    refused = await client.get("/v1/usage", params=params)

    assert refused.status_code in {400, 422}
    assert refused.headers["content-type"] == "application/problem+json"


async def test_a_wrong_bound_is_named_as_it_was_sent(client: httpx.AsyncClient) -> None:
    refused = await client.get("/v1/usage", params={"from": "yesterday"})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "from")


async def test_calls_are_listed_newest_first_by_page(client: httpx.AsyncClient, upstream: Upstream) -> None:
    ids = []
    for number in range(3):
        upstream.then(Say(text="x", usage=USAGE))
        ids.append((await ask(client, f"listed {number}")).headers["x-cognitionos-call-id"])

    first = (await client.get("/v1/usage/calls", params={"limit": 2})).json()
    second = (await client.get("/v1/usage/calls", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    since = (await client.get("/v1/usage/calls", params={"from": first["items"][0]["settled_at"]})).json()
    before = (await client.get("/v1/usage/calls", params={"to": second["items"][0]["settled_at"]})).json()
    nobody = await client.get(f"/v1/usage/calls/{uuid4()}")

    assert [each["call_id"] for each in first["items"] + second["items"]] == ids[::-1]
    assert [each["call_id"] for each in since["items"]] == ids[-1:]
    assert before["items"] == []
    assert nobody.status_code == 404


async def test_the_csv_has_every_column_and_nothing_that_a_spreadsheet_runs(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    for user in ("=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", 'a "quoted", one'):
        upstream.then(Say(text="x", usage=USAGE))
        await ask(client, f"csv {user}", user=user)

    answer = await client.get("/v1/usage.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    listed = (await client.get("/v1/usage/calls")).json()["items"]

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["user"] for row in rows] == [
        "'=cmd|' /C calc'!A0", "'+1", "'-1", "'@x", "'\tx", 'a "quoted", one'
    ]  # fmt: skip
    assert set(rows[0]) == set(listed[0])
    assert {row["cost_usd"] for row in rows} == {"0.0012"}
    assert [row["call_id"] for row in rows] == [each["call_id"] for each in listed][::-1]


async def test_the_csv_is_whole_beyond_one_batch(client: httpx.AsyncClient, caller: Caller, run: Run) -> None:
    only = await client.get("/v1/usage.csv", params={"user": "nobody"})

    assert len(only.text.splitlines()) == 1


ASKED = [{"role": "user", "content": "who"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "m", "messages": ASKED, "user": "ada"}),
        (CHAT, {"model": "m", "messages": ASKED, "user": "ada", "stream": True}),
        ("/v1/responses", {"model": "m", "input": "who", "user": "ada"}),
        ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": ASKED, "metadata": {"user_id": "ada"}}),
        ("/v1/embeddings", {"model": "e", "input": "who", "user": "ada"}),
    ],
)
async def test_the_user_that_a_call_names_is_the_ledgers_in_every_format(
    client: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    answer = await client.post(path, json=body, headers={"cache-control": "no-cache"})
    call = await client.get(f"/v1/usage/calls/{answer.headers['x-cognitionos-call-id']}")

    assert (answer.status_code, call.json()["user"]) == (200, "ada")
