"""Answers to questions that mean the same, over HTTP: off until turned on, guarded, judged, of one tenant only."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from tests.api_process import api_process
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT, RULES, FEEDBACK = "/v1/chat/completions", "/v1/cache/semantic", "/v1/cache/feedback"
ASKED = "How do I reset my password?"
PARAPHRASE = "What is the way to reset my password?"
ALWAYS_SERVED = {"enabled": True, "shadow_rate": 0}
Clients = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture(scope="module")
def upstream(run: Run) -> Iterator[Upstream]:
    context = running_upstream(api_key="acme-key")
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def urls(settings: Settings, upstream: Upstream) -> Iterator[tuple[str, str]]:
    environment = {"COGNITIONOS_PROVIDER_ALLOW": urlsplit(upstream.base_url).netloc}
    with ExitStack() as stack:
        one, other = (stack.enter_context(api_process(settings, environment)) for _ in range(2))
        yield one, other


@pytest.fixture
def clients(settings: Settings, urls: tuple[str, str], upstream: Upstream, run: Run) -> Iterator[Clients]:
    """Two processes, as one tenant with a provider of its own."""
    upstream.reset()
    caller = run(a_caller(settings, f"semantic-{uuid4()}"))
    one, other = (run(_client(url, caller)) for url in urls)
    run(_connect(one, upstream))
    yield one, other
    run(one.aclose())
    run(other.aclose())


async def _client(url: str, caller: Caller) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30)


async def _connect(client: httpx.AsyncClient, upstream: Upstream) -> None:
    provider = {"base_url": upstream.base_url, "api_key": upstream.api_key, "models": ["m"]}
    assert (await client.put("/v1/providers/acme", json=provider)).status_code == 200
    price = {"input_usd_per_million": "1", "output_usd_per_million": "1"}
    assert (await client.put("/v1/prices/acme/m", json=price)).status_code == 200


async def turn_on(client: httpx.AsyncClient, **rules: Any) -> None:
    assert (await client.put(RULES, json=ALWAYS_SERVED | rules)).status_code == 200


async def ask(
    client: httpx.AsyncClient, text: str, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = {"model": "acme/m", "messages": [{"role": "user", "content": text}], **fields}
    answer = await client.post(CHAT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


async def kept(client: httpx.AsyncClient, count: int) -> bool:
    """Whether so many answers are kept: they are in the background."""
    return bool((await client.get(RULES)).json()["answers"] == count)


def layer(answer: httpx.Response) -> str:
    return answer.headers["x-cognitionos-cache"]


async def test_off_until_a_tenant_turns_it_on(clients: Clients, upstream: Upstream) -> None:
    one, _ = clients
    await ask(one, ASKED)

    answer = await ask(one, PARAPHRASE)
    state = (await one.get(RULES)).json()

    assert (layer(answer), len(upstream.calls)) == ("none", 2)
    assert (state["enabled"], state["answers"]) == (False, 0)


async def test_a_paraphrase_is_answered_for_nothing_and_says_how_near_it_was(
    clients: Clients, upstream: Upstream
) -> None:
    one, other = clients
    await turn_on(one)
    first = await ask(one, ASKED)
    assert await eventually(lambda: kept(one, 1))

    near = await ask(other, PARAPHRASE)
    again = await ask(one, PARAPHRASE)
    usage = (await one.get("/v1/usage", params={"group_by": "model"})).json()

    assert (layer(near), layer(again)) == ("semantic", "exact")
    assert near.json()["choices"] == first.json()["choices"]
    assert 0.8 < float(near.headers["x-cognitionos-similarity"]) < 1.0
    assert "x-cognitionos-similarity" not in again.headers
    assert float(near.headers["x-cognitionos-cost-usd"]) == 0
    assert [float(each["saved_usd"]) > 0 for each in usage["groups"]] == [True]
    assert len(upstream.calls) == 1
    assert (await one.get(RULES)).json()["reused"] == 1


async def test_a_stream_is_answered_from_it_too(clients: Clients, upstream: Upstream) -> None:
    one, _ = clients
    await turn_on(one)
    await ask(one, ASKED)
    assert await eventually(lambda: kept(one, 1))

    answer = await ask(one, PARAPHRASE, stream=True)

    assert (layer(answer), len(upstream.calls)) == ("semantic", 1)
    assert answer.headers["x-cognitionos-similarity"]
    assert answer.text.rstrip().endswith("data: [DONE]")


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("Can I return an item after 30 days?", "Can I return an item after 60 days?"),
        ("How do I enable the alarm?", "How do I disable the alarm?"),
        ("What should I eat before a run?", "What should I not eat before a run?"),
        ("How far is it from Paris to London?", "How far is it from London to Paris?"),
        ("What is the capital of Australia?", "What is the capital of Austria?"),
    ],
)
async def test_another_question_is_asked_however_near_it_is(
    clients: Clients, upstream: Upstream, asked: str, near: str
) -> None:
    one, _ = clients
    await turn_on(one, error_bound=0.05)
    await ask(one, asked)
    assert await eventually(lambda: kept(one, 1))

    answer = await ask(one, near)

    assert (layer(answer), len(upstream.calls)) == ("none", 2)


async def test_everything_but_the_question_has_to_be_equal(clients: Clients, upstream: Upstream) -> None:
    one, _ = clients
    await turn_on(one)
    await ask(one, ASKED)
    assert await eventually(lambda: kept(one, 1))

    brief = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PARAPHRASE}]
    answers = [
        await ask(one, PARAPHRASE, temperature=0.7),
        await ask(one, PARAPHRASE, max_tokens=9),
        await ask(one, PARAPHRASE, response_format={"type": "json_object"}),
        await ask(one, PARAPHRASE, messages=brief),
    ]

    assert [layer(answer) for answer in answers] == ["none"] * 4


async def test_another_tenant_gets_nothing_of_it(
    clients: Clients, settings: Settings, urls: tuple[str, str], upstream: Upstream, run: Run
) -> None:
    one, _ = clients
    await turn_on(one)
    served = await _served(one)
    async with await _client(urls[0], await a_caller(settings, f"semantic-{uuid4()}")) as stranger:
        await _connect(stranger, upstream)
        await turn_on(stranger)

        answer = await ask(stranger, PARAPHRASE)
        judged = await stranger.post(FEEDBACK, json={"call_id": served, "correct": False})
        state = (await stranger.get(RULES)).json()

    assert (layer(answer), judged.status_code) == ("none", 404)
    assert (state["reused"], state["judged_by"]["feedback"]) == (0, 0)


async def test_a_reuse_judged_wrong_is_not_repeated_and_raises_the_threshold_in_every_process(
    clients: Clients, upstream: Upstream
) -> None:
    one, other = clients
    await turn_on(one)
    served = await _served(one)
    before = (await one.get(RULES)).json()["calibration"]

    judged = await other.post(FEEDBACK, json={"call_id": served, "correct": False})
    after = (await one.get(RULES)).json()["calibration"]
    again = await ask(one, PARAPHRASE)

    assert (before["state"], after["state"]) == ("shipped", "raised")
    assert judged.json() == after
    assert after["threshold"] > before["threshold"]
    assert (after["levels"][0]["judged"], after["levels"][0]["wrong"]) == (1, 1)
    assert (layer(again), len(upstream.calls)) == ("none", 2)


async def test_a_reuse_judged_right_counts_and_changes_nothing(clients: Clients) -> None:
    one, _ = clients
    await turn_on(one)
    served = await _served(one)

    judged = (await one.post(FEEDBACK, json={"call_id": served, "correct": True})).json()

    assert (judged["state"], judged["wrong"]) == ("shipped", 0)
    assert (await one.get(RULES)).json()["judged_by"] == {"feedback": 1, "shadow": 0, "near": 0}


async def test_everybody_who_was_given_a_reused_answer_can_judge_it(clients: Clients, upstream: Upstream) -> None:
    one, other = clients
    await turn_on(one)
    await ask(one, ASKED)
    assert await eventually(lambda: kept(one, 1))

    at_once = await asyncio.gather(*(ask(clients[number % 2], PARAPHRASE) for number in range(8)))
    later = [await ask(other, PARAPHRASE), await ask(one, PARAPHRASE, stream=True)]
    judged = [
        await one.post(FEEDBACK, json={"call_id": each.headers["x-cognitionos-call-id"], "correct": True})
        for each in (*at_once, *later)
    ]
    state = (await one.get(RULES)).json()

    assert Counter(each.status_code for each in judged) == {200: 10}
    assert {layer(each) for each in later} == {"exact"}
    assert (state["judged_by"]["feedback"], len(upstream.calls)) == (state["reused"], 1)
    changed = await other.post(FEEDBACK, json={"call_id": later[0].headers["x-cognitionos-call-id"], "correct": False})
    assert (changed.json()["wrong"], layer(await ask(one, PARAPHRASE))) == (1, "none")


async def test_a_reused_answer_is_kept_only_as_the_request_wishes(clients: Clients) -> None:
    one, other = clients
    await turn_on(one)
    await ask(one, ASKED)
    assert await eventually(lambda: kept(one, 1))

    unkept = await ask(one, PARAPHRASE, headers={"cache-control": "no-store"})
    short = await ask(other, PARAPHRASE, headers={"x-cognitionos-cache-ttl": "1"})

    async def over() -> bool:
        return layer(await ask(one, PARAPHRASE, headers={"cache-control": "no-store"})) == "semantic"

    assert (layer(unkept), layer(short)) == ("semantic", "semantic")
    assert await eventually(over)


async def test_turned_off_nothing_that_was_reused_is_given_again_and_turned_on_it_is(
    clients: Clients, upstream: Upstream
) -> None:
    one, other = clients
    await turn_on(one)
    await _served(one)
    before = layer(await ask(other, PARAPHRASE))

    await turn_on(other, enabled=False)
    own = [layer(await ask(client, PARAPHRASE, headers={"cache-control": "no-store"})) for client in clients]
    original = layer(await ask(one, ASKED))
    await turn_on(one)
    again = [layer(await ask(client, PARAPHRASE)) for client in (one, other)]

    assert (before, own, original) == ("exact", ["none", "none"], "exact")
    assert (again, len(upstream.calls)) == (["semantic", "exact"], 3)


async def test_a_checked_hit_asks_the_provider_and_its_answer_is_the_judge(
    clients: Clients, upstream: Upstream
) -> None:
    one, _ = clients
    await turn_on(one, shadow_rate=1)
    upstream.then(Say(text="Press the button."), Say(text="Certainly not, that is impossible in Peru."))
    await ask(one, ASKED)
    assert await eventually(lambda: kept(one, 1))

    answer = await ask(one, PARAPHRASE)

    async def judged() -> bool:
        return bool((await one.get(RULES)).json()["judged_by"]["shadow"])

    assert (layer(answer), len(upstream.calls)) == ("none", 2)
    assert await eventually(judged)
    assert (await one.get(RULES)).json()["calibration"]["state"] == "raised"


async def test_cut_answers_and_tool_calls_are_not_kept(clients: Clients, upstream: Upstream) -> None:
    one, _ = clients
    await turn_on(one)
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    upstream.then(Say(text="To reset", finish_reason="length"), Say(tool_calls=[call]))
    await ask(one, ASKED)
    await ask(one, ASKED, tools=[tool])
    await ask(one, "Why is the sky blue?")
    assert await eventually(lambda: kept(one, 1))

    answers = [await ask(one, PARAPHRASE), await ask(one, PARAPHRASE, tools=[tool])]

    assert [layer(answer) for answer in answers] == ["none", "none"]


async def test_an_answer_declared_void_is_not_reused(clients: Clients, upstream: Upstream) -> None:
    one, other = clients
    await turn_on(one)
    await ask(one, ASKED)
    assert await eventually(lambda: kept(one, 1))

    voided = await other.delete("/v1/cache", params={"model": "acme/m"})
    answer = await ask(one, PARAPHRASE)

    assert voided.status_code == 200
    assert (layer(answer), len(upstream.calls)) == ("none", 2)


async def test_rules_are_checked_and_what_is_left_out_stays(clients: Clients) -> None:
    one, other = clients
    await turn_on(one, error_bound=0.02, ttl_s=60)

    refused = [
        await one.put(RULES, json=rules) for rules in ({"error_bound": 0.5}, {"ttl_s": 0}, {"shadow_rate": 2}, {"x": 1})
    ]
    changed = await other.put(RULES, json={"shadow_rate": 0.25})

    assert [each.status_code // 100 for each in refused] == [4] * 4
    assert refused[0].json()["type"].endswith("error-bound-refused")
    rules = {name: changed.json()[name] for name in ("enabled", "error_bound", "ttl_s", "shadow_rate")}
    assert rules == {"enabled": True, "error_bound": 0.02, "ttl_s": 60, "shadow_rate": 0.25}


async def _served(client: httpx.AsyncClient) -> str:
    """The id of a call that was answered for its meaning."""
    await ask(client, ASKED)
    assert await eventually(lambda: kept(client, 1))
    answer = await ask(client, PARAPHRASE)
    assert layer(answer) == "semantic"
    return answer.headers["x-cognitionos-call-id"]
