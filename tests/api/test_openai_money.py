"""Calls over HTTP when something goes wrong or costs money: fallback, retry, cache, budgets, streams that end early."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.api_process import api_process
from tests.conftest import Run, TestDatabase
from tests.edge import Caller
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
COST = Decimal("0.0012")
"""Of USAGE at 1 dollar per million prompt tokens and 2 per million completion tokens."""


@pytest.fixture(scope="module")
def second(run: Run) -> Iterator[Upstream]:
    context = running_upstream(api_key="second-key")
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def environment(upstream: Upstream, second: Upstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    providers = Path(tmp_path_factory.mktemp("providers")) / "providers.json"
    entry = {"name": "second", "base_url": second.base_url, "api_key_env": "SECOND_KEY", "models": ["backup"]}
    price = {"input_usd_per_million": 1, "output_usd_per_million": 2}
    dear = entry | {"name": "dear", "models": ["nobody-knows"]}
    providers.write_text(json.dumps([entry | {"price": price}, dear]))
    return {
        "OPENAI_BASE_URL": upstream.base_url,
        "OPENAI_API_KEY": upstream.api_key or "",
        "SECOND_KEY": "second-key",
        "COGNITIONOS_PROVIDERS_FILE": str(providers),
        "COGNITIONOS_FALLBACK_MODELS": "second/backup",
    }


@pytest.fixture
def client(url: str, caller: Caller, run: Run, upstream: Upstream, second: Upstream) -> Iterator[httpx.AsyncClient]:
    upstream.reset()
    second.reset()
    limits = httpx.Limits(max_connections=300)
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60, limits=limits)
    run(_set_price(made, "m"))
    yield made
    run(made.aclose())


def asking(text: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 100} | fields


async def test_a_failing_provider_is_replaced_by_the_next_of_the_route(
    client: httpx.AsyncClient, upstream: Upstream, second: Upstream
) -> None:
    upstream.then(Say(status=500))
    second.then(Say(text="backup here", usage=USAGE))

    answer = await client.post(CHAT, json=asking("fail over"))

    assert answer.json()["choices"][0]["message"]["content"] == "backup here"
    assert answer.headers["x-cognitionos-provider"] == "second"
    assert answer.headers["x-cognitionos-model"] == "second/backup"
    assert answer.headers["x-cognitionos-attempts"] == "2"
    assert Decimal(answer.headers["x-cognitionos-cost-usd"]) == COST


async def test_a_stream_falls_back_before_its_first_byte(
    client: httpx.AsyncClient, upstream: Upstream, second: Upstream
) -> None:
    upstream.then(Say(status=429, headers={"retry-after": "30"}))
    second.then(Say(text="one two", usage=USAGE))

    answer = await client.post(CHAT, json=asking("fail over streamed", stream=True))

    assert answer.headers["x-cognitionos-provider"] == "second"
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_when_everything_fails_the_answer_is_503_and_nothing_is_invented(
    client: httpx.AsyncClient, upstream: Upstream, second: Upstream
) -> None:
    upstream.then(*(Say(status=401) for _ in range(3)))
    second.then(*(Say(status=503, headers={"retry-after": "400"}) for _ in range(3)))

    answer = await client.post(CHAT, json=asking("everything is down"))

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "provider-unavailable"
    assert answer.headers["retry-after"] == "400"


async def test_an_identical_request_is_answered_from_the_cache_and_costs_nothing(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.then(Say(text="remember me", usage=USAGE))
    first = await client.post(CHAT, json=asking("cache me"))

    async def hit() -> httpx.Response | None:
        answer = await client.post(CHAT, json=asking("cache me"))
        return answer if answer.headers["x-cognitionos-cache"] == "exact" else None

    again = await eventually(hit)
    streamed = await client.post(CHAT, json=asking("cache me", stream=True))
    other = await client.post(CHAT, json=asking("cache me", temperature=0.5))

    assert first.headers["x-cognitionos-cache"] == "none"
    assert again.json() == first.json()
    assert again.headers["x-cognitionos-cost-usd"] == "0"
    assert streamed.headers["x-cognitionos-cache"] == "exact"
    assert "remember me" in streamed.text
    assert other.headers["x-cognitionos-cache"] == "none"
    usage = (await client.get("/v1/usage")).json()["groups"][0]
    assert Decimal(usage["saved_usd"]) >= 2 * COST


async def test_a_finished_stream_is_cached_for_plain_calls_too(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.then(Say(text="streamed once", usage=USAGE))
    await client.post(CHAT, json=asking("cache the stream", stream=True))

    async def hit() -> httpx.Response | None:
        answer = await client.post(CHAT, json=asking("cache the stream"))
        return answer if answer.headers["x-cognitionos-cache"] == "exact" else None

    answer = await eventually(hit)

    assert answer.json()["choices"][0]["message"]["content"] == "streamed once"
    assert answer.json()["object"] == "chat.completion"


async def test_cut_answers_and_tool_calls_are_never_cached(client: httpx.AsyncClient, upstream: Upstream) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    upstream.then(Say(text="cut", finish_reason="length"), Say(tool_calls=[call]), Say(text="fresh"))

    answers = [await client.post(CHAT, json=asking("not for keeps")) for _ in range(3)]

    assert [answer.headers["x-cognitionos-cache"] for answer in answers] == ["none"] * 3


async def test_a_budget_worth_ten_answers_ten_of_two_hundred_calls_at_once(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await _free_prompt(client, "ten")
    await _open_budget(client, f"api_key:{caller.api_key_id}", COST_OF_TEN)
    upstream.then(*(Say(text="x", usage={**USAGE, "prompt_tokens": 1}) for _ in range(200)))

    async def one(number: int) -> httpx.Response:
        return await client.post(CHAT, json=asking(f"number {number}", model="ten", stream=number % 2 == 0))

    answers = await asyncio.gather(*(one(number) for number in range(200)))

    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    assert sum(answer.status_code == 200 for answer in answers) == 10
    (budget,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (Decimal(budget["spent_usd"]), Decimal(budget["held_usd"])) == (COST_OF_TEN, 0)


async def test_a_refusal_for_money_names_the_budget_and_says_not_to_try_again(
    client: httpx.AsyncClient, caller: Caller
) -> None:
    await _open_budget(client, f"project:{caller.project_id}", Decimal("0.0000001"))

    answer = await client.post(CHAT, json=asking("too dear"))

    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "false"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "budget-exhausted")
    assert f"project:{caller.project_id}" in error["message"]


async def test_what_is_left_of_a_budget_lowers_the_completion_limit(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream
) -> None:
    await _free_prompt(client, "ten")
    await _open_budget(client, f"api_key:{caller.api_key_id}", Decimal("0.0001"))

    answer = await client.post(CHAT, json=asking("short, please", model="ten"))

    assert answer.headers["x-cognitionos-limit-lowered"] == "true"
    assert upstream.calls[-1]["max_tokens"] == 50


@pytest.mark.parametrize("choices", [[1, 2], [{"message": "words"}], [{"message": {"tool_calls": 5}}], {"0": {}}])
async def test_an_answer_that_cannot_be_read_is_a_failure_of_its_provider_and_costs_nothing(
    client: httpx.AsyncClient, upstream: Upstream, second: Upstream, choices: object
) -> None:
    upstream.then(Say(fields={"choices": choices}))
    second.then(Say(text="backup here", usage=USAGE))

    answer = await client.post(CHAT, json=asking(f"odd {choices}"))

    assert (answer.status_code, answer.headers["x-cognitionos-provider"]) == (200, "second")
    assert Decimal(answer.headers["x-cognitionos-cost-usd"]) == COST


async def test_an_unpriced_model_is_refused_under_a_budget_and_free_to_use_without(
    client: httpx.AsyncClient, caller: Caller
) -> None:
    without = await client.post(CHAT, json=asking("unpriced", model="dear/nobody-knows"))
    await _open_budget(client, f"api_key:{caller.api_key_id}", Decimal(1))
    under = await client.post(CHAT, json=asking("unpriced, again", model="dear/nobody-knows"))

    assert without.status_code == 200
    assert without.headers["x-cognitionos-cost-usd"] == "unknown"
    assert (await client.get("/v1/usage")).json()["groups"][0]["unpriced_calls"] == 1
    assert under.status_code == 400
    assert under.json()["error"]["code"] == "price-unknown"
    assert "PUT /v1/prices/dear/nobody-knows" in under.json()["error"]["message"]
    assert "cognitionos prices set dear/nobody-knows --input USD --output USD" in under.json()["error"]["message"]


async def test_a_model_without_a_price_at_ones_own_base_url_is_free_with_or_without_a_key(
    client: httpx.AsyncClient, caller: Caller
) -> None:
    await _open_budget(client, f"api_key:{caller.api_key_id}", Decimal(1))

    answer = await client.post(CHAT, json=asking("mine", model="b-own"))

    assert (answer.status_code, answer.headers["x-cognitionos-cost-usd"]) == (200, "0")
    assert (await client.get("/v1/prices/openai/b-own")).json()["source"] == "free"
    assert (await client.get("/v1/prices/openai/gpt-4o-mini")).json()["source"] == "public"


async def test_a_client_that_goes_away_is_billed_for_what_was_produced(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, database: TestDatabase
) -> None:
    upstream.then(Say(text="one two three four five six", pause_s=0.02))

    async with client.stream("POST", CHAT, json=asking("leave early", stream=True)) as answer:
        lines = answer.aiter_lines()
        while "two" not in await anext(lines):
            pass

    row = await eventually(lambda: _last_call(database, caller))
    assert row["outcome"] == "aborted"
    assert row["estimated"] is True
    assert 2 <= row["completion_tokens"] < 7
    assert row["cost_nanousd"] > 0
    await eventually(lambda: upstream.abandoned_streams == 1)


async def test_a_stream_cut_by_the_provider_is_billed_from_what_came_and_asked_of_nobody_again(
    client: httpx.AsyncClient, caller: Caller, upstream: Upstream, second: Upstream, database: TestDatabase
) -> None:
    upstream.then(Say(text="one two three four", cut_after=3))

    answer = await client.post(CHAT, json=asking("cut", stream=True))

    assert "stream-broken" in answer.text
    assert "[DONE]" not in answer.text
    row = await eventually(lambda: _last_call(database, caller))
    assert (row["outcome"], row["estimated"], row["completion_tokens"]) == ("error", True, 2)
    assert (len(upstream.calls), second.calls) == (1, [])


async def test_a_process_killed_after_the_provider_answered_loses_no_money(
    settings: Settings, environment: dict[str, str], caller: Caller, client: httpx.AsyncClient, database: TestDatabase
) -> None:
    await _open_budget(client, f"api_key:{caller.api_key_id}", Decimal(1))
    with api_process(settings, environment | {"COGNITIONOS_CRASH_POINT": "llm_gateway.before_settle"}) as doomed:
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient(base_url=doomed, headers=caller.headers, timeout=10) as to_doomed:
                await to_doomed.post(CHAT, json=asking("die"))
        with psycopg.connect(database.admin_url) as admin:
            ago = "now() - interval '40 seconds'"
            admin.execute(f"UPDATE budget_holds SET created_at = {ago}".encode())
            admin.execute(f"UPDATE budgets SET window_start = {ago}".encode())
            admin.execute(f"UPDATE llm_processes SET seen_at = {ago}".encode())

    row = await eventually(lambda: _last_call(database, caller))  # the living process sweeps every 5 s
    assert (row["outcome"], row["estimated"]) == ("lost", True)
    (budget,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert Decimal(budget["held_usd"]) == 0
    assert Decimal(budget["spent_usd"]) == Decimal(row["cost_nanousd"]) / 10**9 > 0


COST_OF_TEN = Decimal("0.002")
"""Ten times 100 completion tokens at 2 dollars per million, the prompt being free."""


async def _set_price(client: httpx.AsyncClient, model: str, *, prompt: str = "1") -> None:
    price = {"input_usd_per_million": prompt, "output_usd_per_million": "2"}
    (await client.put(f"/v1/prices/{model}", json=price)).raise_for_status()


async def _free_prompt(client: httpx.AsyncClient, model: str) -> None:
    await _set_price(client, model, prompt="0")
    await _set_price(client, "second/backup", prompt="0")


async def _open_budget(client: httpx.AsyncClient, subject: str, limit_usd: Decimal) -> None:
    answer = await client.post("/v1/budgets", json={"subject": subject, "limit_usd": str(limit_usd)})
    assert answer.status_code == 201, answer.text


def _last_call(database: TestDatabase, caller: Caller) -> dict[str, object] | None:
    query = "SELECT * FROM calls WHERE tenant_id = %s ORDER BY settled_at DESC LIMIT 1"
    with psycopg.connect(database.admin_url, row_factory=psycopg.rows.dict_row) as admin:
        return admin.execute(query, [caller.tenant_id]).fetchone()
