"""Own providers, routes and role defaults over HTTP, and circuits, through two API processes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.api_process import api_process
from tests.conftest import Run, TestDatabase
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
Clients = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture(scope="module")
def upstream(run: Run) -> Iterator[Upstream]:
    context = running_upstream(api_key="acme-key")
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def second(run: Run) -> Iterator[Upstream]:
    context = running_upstream(api_key="second-key")
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def urls(settings: Settings, upstream: Upstream, second: Upstream) -> Iterator[tuple[str, str]]:
    allowed = ",".join(urlsplit(each.base_url).netloc for each in (upstream, second))
    with ExitStack() as stack:
        environment = {"COGNITIONOS_PROVIDER_ALLOW": allowed}
        yield (
            stack.enter_context(api_process(settings, environment)),
            stack.enter_context(api_process(settings, environment)),
        )


@pytest.fixture
def clients(urls: tuple[str, str], caller: Caller, run: Run, upstream: Upstream, second: Upstream) -> Iterator[Clients]:
    upstream.reset()
    second.reset()
    one, other = (httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) for url in urls)
    run(one.put("/v1/providers/acme", json=a_provider(upstream)))
    run(one.put("/v1/providers/second", json=a_provider(second)))
    yield one, other
    run(one.aclose())
    run(other.aclose())


def a_provider(upstream: Upstream, **changes: Any) -> dict[str, Any]:
    return {"base_url": upstream.base_url, "api_key": upstream.api_key, "models": ["m"], "free": True} | changes


def asking(model: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": str(uuid4())}], **({"model": model} if model else {}), **fields}


async def test_an_own_provider_answers_at_once_in_every_process_and_its_key_is_never_shown(
    clients: Clients, database: TestDatabase
) -> None:
    one, _ = clients

    answers = [await client.post(CHAT, json=asking("acme/m")) for client in clients]
    shown = [await one.get("/v1/providers"), await one.get("/v1/providers/acme")]
    with psycopg.connect(database.admin_url) as admin:
        stored = str(admin.execute("SELECT * FROM model_providers").fetchall())

    assert [answer.headers["x-cognitionos-route"] for answer in answers] == ["reason=named, acme/m=answered"] * 2
    assert shown[1].json() | {"changed_at": ""} == {
        "name": "acme",
        "kind": "openai",
        "base_url": shown[1].json()["base_url"],
        "has_key": True,
        "key_readable": True,
        "models": ["m"],
        "free": True,
        "recover_tool_calls": False,
        "limit_field": "max_tokens",
        "changed_at": "",
    }
    assert "acme-key" not in stored + "".join(each.text for each in shown)


async def test_a_change_in_one_process_is_used_by_the_other_and_a_deleted_provider_is_gone(
    clients: Clients, second: Upstream
) -> None:
    one, other = clients
    await other.post(CHAT, json=asking("acme/m"))

    await one.put("/v1/providers/acme", json=a_provider(second))

    async def moved() -> bool:
        await other.post(CHAT, json=asking("acme/m"))
        return bool(second.calls)

    assert await eventually(moved)
    assert (await one.delete("/v1/providers/acme")).status_code == 204
    assert (await one.delete("/v1/providers/acme")).status_code == 404
    assert (await one.get("/v1/providers/acme")).status_code == 404


async def test_an_own_model_has_its_own_price_at_once_in_every_process(clients: Clients, upstream: Upstream) -> None:
    one, other = clients
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    upstream.speak = lambda _: Say(text="x", usage=usage)
    await one.put("/v1/providers/acme", json=a_provider(upstream, free=False, models=["tuned-7b-q4"]))
    unpriced = await other.post(CHAT, json=asking("acme/tuned-7b-q4"))

    await one.put("/v1/prices/acme/tuned-7b-q4", json={"input_usd_per_million": "0.1", "output_usd_per_million": "0.3"})

    async def cost(client: httpx.AsyncClient) -> str:
        return str((await client.post(CHAT, json=asking("acme/tuned-7b-q4"))).headers["x-cognitionos-cost-usd"])

    async def priced() -> bool:
        return await cost(other) == "0.00013"

    assert unpriced.headers["x-cognitionos-cost-usd"] == "unknown"
    assert await cost(one) == "0.00013"
    assert await eventually(priced)
    upstream.speak = None


async def test_a_route_is_tried_in_its_order_and_says_what_happened(clients: Clients, upstream: Upstream) -> None:
    one, _ = clients
    route = {"candidates": [{"model": "acme/m"}, {"model": "second/m"}]}
    assert (await one.put("/v1/routes/fast", json=route)).status_code == 200
    assert (await one.put("/v1/routes/default", json=route)).status_code == 200
    upstream.then(Say(status=500), Say(status=429))

    named = await one.post(CHAT, json=asking("fast"))
    unnamed = await one.post(CHAT, json=asking(stream=True))

    assert named.headers["x-cognitionos-route"] == "reason=route, acme/m=status-500, second/m=answered"
    assert (named.headers["x-cognitionos-provider"], named.headers["x-cognitionos-attempts"]) == ("second", "2")
    assert unnamed.headers["x-cognitionos-route"] == "reason=route, acme/m=status-429, second/m=answered"
    listed = (await one.get("/v1/routes")).json()["routes"]
    assert [each["name"] for each in listed] == ["default", "fast"]


async def test_own_models_and_routes_are_listed_among_the_models(clients: Clients) -> None:
    one, _ = clients
    await one.put("/v1/routes/fast", json={"candidates": [{"model": "acme/m"}]})

    listed = {each["id"] for each in (await one.get("/v1/models")).json()["data"]}

    assert listed >= {"acme/m", "second/m", "fast", "simulated/scenarios"}
    assert (await one.get("/v1/models/acme/m")).json()["owned_by"] == "acme"


async def test_weights_share_the_calls_out(clients: Clients, upstream: Upstream, second: Upstream) -> None:
    one, _ = clients
    candidates = [{"model": "acme/m", "weight": 0}, {"model": "second/m", "weight": 1}]
    await one.put("/v1/routes/mostly", json={"candidates": candidates})

    answers = [await one.post(CHAT, json=asking("mostly")) for _ in range(5)]

    assert {answer.headers["x-cognitionos-provider"] for answer in answers} == {"second"}
    assert upstream.calls == []


async def test_identical_calls_of_a_weighted_route_are_paid_once_and_others_keep_the_weights(
    clients: Clients, upstream: Upstream, second: Upstream
) -> None:
    candidates = [{"model": "acme/m", "weight": 1}, {"model": "second/m", "weight": 1}]
    await clients[0].put("/v1/routes/half", json={"candidates": candidates})
    bodies = [asking("half") for _ in range(24)]

    for number in range(48):
        (await clients[number % 2].post(CHAT, json=bodies[number % 24])).raise_for_status()

    async def all_kept() -> bool:
        answers = [await clients[0].post(CHAT, json=body) for body in bodies]
        return all(answer.headers["x-cognitionos-cache"] != "none" for answer in answers)

    assert await eventually(all_kept)
    asked = Counter(str(call["messages"]) for each in (upstream, second) for call in each.calls)
    assert len(asked) == 24
    assert min(len(upstream.calls), len(second.calls)) > 2
    for each in (upstream, second):
        each.reset()
    for _ in range(30):
        await clients[0].post(CHAT, json=bodies[0], headers={"cache-control": "no-cache, no-store"})
    assert (len(upstream.calls) > 0, len(second.calls) > 0) == (True, True)


async def test_a_provider_that_was_replaced_gives_none_of_the_old_ones_answers(
    clients: Clients, upstream: Upstream, second: Upstream
) -> None:
    one, other = clients
    body = asking("acme/m")
    upstream.then(Say(text="the old one"))
    second.then(Say(text="the new one"))
    first = await one.post(CHAT, json=body)

    async def kept() -> bool:
        return (await other.post(CHAT, json=body)).headers["x-cognitionos-cache"] != "none"

    assert await eventually(kept)
    await one.put("/v1/providers/acme", json=a_provider(second))

    async def fresh() -> httpx.Response | None:
        answer = await other.post(CHAT, json=body)
        return answer if "old" not in answer.text else None

    assert "the old one" in first.text
    assert "the new one" in (await eventually(fresh)).text
    assert "the new one" in (await one.post(CHAT, json=body)).text
    assert len(second.calls) == 1


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/embeddings"])
async def test_after_a_provider_is_deleted_its_models_are_nobody_elses(clients: Clients, path: str) -> None:
    one, _ = clients
    body = {"input": "x", "model": "acme/m"} if "emb" in path else asking("acme/m", max_tokens=9)
    before = await one.post(path, json=body)

    await one.delete("/v1/providers/acme")
    after = await one.post(path, json=body)

    assert before.status_code == 200
    assert after.status_code == 404
    assert "There is no provider 'acme'" in after.text


async def test_a_circuit_that_failures_in_both_processes_opened_is_skipped_by_both(
    clients: Clients, upstream: Upstream, urls: tuple[str, str]
) -> None:
    model = f"m-{uuid4().hex[:8]}"
    candidates = [{"model": f"acme/{model}"}, {"model": f"second/{model}"}]
    for client in clients:
        await client.put("/v1/routes/guarded", json={"candidates": candidates})
    upstream.then(*(Say(status=500) for _ in range(5)))
    for number in range(5):
        await clients[number % 2].post(CHAT, json=asking("guarded"))
    asked = len(upstream.calls)

    async def skips(client: httpx.AsyncClient) -> bool:
        answer = await client.post(CHAT, json=asking("guarded"))
        return "=circuit-open, second/" in answer.headers["x-cognitionos-route"]

    for client in clients:
        assert await eventually(lambda client=client: skips(client))
    assert asked == len(upstream.calls) == 5
    metrics = (await clients[0].get("/metrics")).text
    assert "cognitionos_llm_circuit_state" in metrics
    assert f"acme/{model}" not in metrics


async def test_when_every_candidate_is_open_the_answer_is_503_with_the_soonest_reopening(
    clients: Clients, upstream: Upstream
) -> None:
    one, _ = clients
    model = f"acme/m-{uuid4().hex[:8]}"
    upstream.then(*(Say(status=401) for _ in range(5)))
    for _ in range(5):
        assert (await one.post(CHAT, json=asking(model))).status_code == 503

    answer = await one.post(CHAT, json=asking(model))

    assert answer.status_code == 503
    assert 50 <= int(answer.headers["retry-after"]) <= 60
    assert len(upstream.calls) == 5


async def test_role_defaults_fill_what_a_call_leaves_open(clients: Clients, upstream: Upstream) -> None:
    one, _ = clients
    await one.put("/v1/role-defaults/default", json={"temperature": 0.25, "max_tokens": 77})

    await one.post(CHAT, json=asking("acme/m"))
    await one.post(CHAT, json=asking("acme/m", temperature=1, max_tokens=5))

    assert [(call["temperature"], call["max_tokens"]) for call in upstream.calls] == [(0.25, 77), (1, 5)]
    assert (await one.get("/v1/role-defaults/default")).json()["max_tokens"] == 77
    assert (await one.delete("/v1/role-defaults/default")).status_code == 204
    assert (await one.get("/v1/role-defaults")).json() == {"role_defaults": []}


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:1/v1",
        "http://localhost:1/v1",
        "http://169.254.169.254/latest",
        "http://[::1]:1/v1",
        "http://10.0.0.1/v1",
        "http://2130706433/v1",
        "http://user:secret@example.com/v1",
        "file:///etc/passwd",
    ],
)
async def test_a_provider_cannot_be_put_inside(clients: Clients, base_url: str) -> None:
    answer = await clients[0].put("/v1/providers/inside", json={"base_url": base_url})

    assert answer.status_code in {403, 422}, answer.text
    assert (await clients[0].get("/v1/providers/inside")).status_code == 404


async def test_a_key_does_not_follow_to_another_address(clients: Clients, upstream: Upstream, second: Upstream) -> None:
    one, _ = clients

    moved = await one.put("/v1/providers/acme", json={"base_url": second.base_url})
    kept = await one.put("/v1/providers/acme", json={"base_url": upstream.base_url, "models": ["n"]})

    assert (moved.status_code, moved.json()["errors"][0]["field"]) == (422, "api_key")
    assert (kept.status_code, kept.json()["has_key"]) == (200, True)
    assert (await one.post(CHAT, json=asking("n"))).headers["x-cognitionos-provider"] == "acme"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/providers/simulated", {"base_url": "http://api.example.com/v1"}, "name"),
        ("/v1/providers/a b", {"base_url": "http://api.example.com/v1"}, "name"),
        ("/v1/routes/x", {"candidates": [{"model": "nobody/m"}]}, "candidates.0.model"),
        ("/v1/role-defaults/a b", {"max_tokens": 1}, "name"),
    ],
)
async def test_what_does_not_fit_is_named(clients: Clients, path: str, body: dict[str, Any], field: str) -> None:
    answer = await clients[0].put(path, json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_another_tenant_sees_and_uses_none_of_it(
    clients: Clients, settings: Settings, urls: tuple[str, str], caller: Caller, upstream: Upstream
) -> None:
    await clients[0].post(CHAT, json=asking("acme/m"))
    upstream.reset()
    stranger = await a_caller(settings, f"stranger-{uuid4()}")

    async with httpx.AsyncClient(base_url=urls[0], headers=stranger.headers, timeout=30) as theirs:
        lists = [await theirs.get(path) for path in ("/v1/providers", "/v1/routes", "/v1/role-defaults")]
        for name in ("acme/m", f"tenant:{caller.tenant_id}/acme/m"):
            await theirs.post(CHAT, json=asking(name))
        models = (await theirs.get("/v1/models")).text

    assert [next(iter(each.json().values())) for each in lists] == [[], [], []]
    assert upstream.calls == []
    assert "acme" not in models


async def test_a_limit_goes_under_the_name_that_the_provider_takes_unless_the_caller_chose_one(
    clients: Clients, upstream: Upstream
) -> None:
    client = clients[0]
    proxy = a_provider(upstream, limit_field="max_completion_tokens")
    said = {"messages": [{"role": "user", "content": "x"}], "model": "proxy/m"}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/messages", said | {"max_tokens": 50}),
        ("/v1/responses", {"model": "proxy/m", "input": "x", "max_output_tokens": 50}),
        (CHAT, said | {"max_tokens": 50}),
    ]

    shown = (await client.put("/v1/providers/proxy", json=proxy)).json()
    for path, body in asked:
        (await client.post(path, json=body, headers={"cache-control": "no-store"})).raise_for_status()
    named = [{name for name in call if name.startswith("max_")} for call in upstream.calls[-3:]]
    by_host = (await client.put("/v1/providers/proxy", json=proxy | {"limit_field": None})).json()
    refused = await client.put("/v1/providers/proxy", json=proxy | {"kind": "anthropic"})

    assert (shown["limit_field"], by_host["limit_field"]) == ("max_completion_tokens", "max_tokens")
    assert named == [{"max_completion_tokens"}, {"max_completion_tokens"}, {"max_tokens"}]
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "limit_field")
    assert (await client.get("/v1/providers/proxy")).json()["limit_field"] == "max_tokens"
