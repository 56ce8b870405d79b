"""What the error of a call that reached a provider says: which call it was, and never with which key of ours."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.edge import Caller
from tests.upstream import Say, Upstream

from cognitionos.llm_gateway.infrastructure.redaction import INSTEAD, Redaction

ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {},
    "/v1/messages": {"max_tokens": 9},
    "/v1/responses": {},
}


def asking(path: str, **fields: object) -> dict[str, object]:
    said = f"hi {uuid4()}"
    words = {"input": said} if path == "/v1/responses" else {"messages": [{"role": "user", "content": said}]}
    return {"model": f"m-{uuid4()}"} | words | ROUTES[path] | fields


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("status", "answered"), [(400, 400), (404, 404), (402, 503)])
@pytest.mark.parametrize("path", ROUTES)
async def test_an_error_names_its_call_and_keeps_our_key(
    url: str, caller: Caller, upstream: Upstream, *, path: str, status: int, answered: int, streamed: bool
) -> None:
    upstream.reset()
    key = upstream.api_key or ""
    said = {"message": f"Incorrect API key provided: {key}, or {key[:-2]}***", "type": "invalid", "param": None}
    upstream.then(Say(status=status, error=said))
    async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
        answer = await client.post(path, json=asking(path, stream=streamed))

        assert answer.status_code == answered
        assert key[:8] not in answer.text
        assert f"provided: {INSTEAD}, or {INSTEAD}***" in answer.text
        calls = (await client.get("/v1/usage/calls")).json()["items"]
        assert answer.headers["x-cognitionos-call-id"] == calls[0]["call_id"]
        assert (answer.headers["x-cognitionos-attempts"], calls[0]["outcome"]) == ("1", "error")
        assert answer.headers["x-cognitionos-route"].startswith("reason=named, openai/m-")


async def test_errors_of_embeddings_each_name_their_own_call(url: str, caller: Caller, upstream: Upstream) -> None:
    upstream.reset()
    async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
        body = {"model": "openai/m", "input": ""}
        answers = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for _ in range(6)))
        calls = (await client.get("/v1/usage/calls?kind=embedding")).json()["items"]

    assert {answer.status_code for answer in answers} == {400}
    assert {answer.headers["x-cognitionos-call-id"] for answer in answers} == {call["call_id"] for call in calls}
    assert len(calls) == 6
    for answer in answers:
        assert answer.headers["x-cognitionos-provider"] == "openai"
        assert int(answer.headers["x-cognitionos-attempts"]) >= 1
        assert answer.headers["x-cognitionos-route"] == "reason=named, openai/m=refused"


NOTHING = ("none", "0", "0")


def spent(answer: httpx.Response) -> tuple[str, str, str]:
    cache, attempts, cost = (answer.headers[f"x-cognitionos-{name}"] for name in ("cache", "attempts", "cost-usd"))
    return cache, attempts, cost


@pytest.mark.parametrize(("path", "streamed"), [*((path, False) for path in ROUTES), ("/v1/chat/completions", True)])
async def test_an_error_says_what_the_answers_cost_that_were_lost(
    url: str, caller: Caller, upstream: Upstream, *, path: str, streamed: bool
) -> None:
    upstream.reset()
    upstream.then(*[Say(raw=b"{oops") for _ in range(3)])
    body = asking(path, stream=streamed)
    async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
        price = {"input_usd_per_million": "1000", "output_usd_per_million": "1000"}
        (await client.put(f"/v1/prices/{body['model']}", json=price)).raise_for_status()
        answer = await client.post(path, json=body)
        (row,) = (await client.get("/v1/usage/calls")).json()["items"]

    assert (answer.status_code, row["outcome"]) == (503, "error")
    assert Decimal(row["cost_usd"]) > 0
    assert spent(answer) == ("none", str(row["attempts"]), row["cost_usd"])


@pytest.mark.parametrize("path", [*ROUTES, "/v1/embeddings"])
async def test_a_refusal_that_reached_nobody_cost_nothing(
    url: str, caller: Caller, upstream: Upstream, path: str
) -> None:
    upstream.reset()
    body = asking(path) if path in ROUTES else {"model": f"m-{uuid4()}", "input": "hi"}
    async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
        wrong = await client.post(path, json=[])
        nowhere = await client.post(path, json=body | {"model": "nobody/x"})
        limit = {"subject": f"tenant:{caller.tenant_id}", "limit_usd": "0.000001"}
        (await client.post("/v1/budgets", json=limit)).raise_for_status()
        price = {"input_usd_per_million": "100000", "output_usd_per_million": "1"}
        (await client.put(f"/v1/prices/{body['model']}", json=price)).raise_for_status()
        poor = await client.post(path, json=body)

    answers = (wrong, nowhere, poor)
    assert [answer.status_code for answer in answers] == [400, 404, 429]
    assert [spent(answer) for answer in answers] == [NOTHING] * 3
    assert not any("x-cognitionos-call-id" in answer.headers for answer in answers)
    assert poor.headers["x-cognitionos-provider"] == "openai"
    assert poor.headers["x-cognitionos-model"] == f"openai/{body['model']}"
    assert upstream.calls == []


async def test_a_request_that_reaches_nobody_names_no_call(url: str, caller: Caller) -> None:
    async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
        answer = await client.post("/v1/chat/completions", json={"model": "m", "messages": []})

    assert answer.status_code == 400
    assert "x-cognitionos-call-id" not in answer.headers


@pytest.mark.parametrize(
    ("key", "said", "left"),
    [
        ("sk-provider-secret", "bad: sk-provider-secret.", f"bad: {INSTEAD}."),
        ("sk-provider-secret", "sk-provi****cret sk-prov", f"{INSTEAD}****cret sk-prov"),
        ("sk-provider-secret", "sk-provider-sk-provider-secret", f"{INSTEAD}{INSTEAD}"),
        ("[our key]", "[our key] [our key]", f"{INSTEAD} {INSTEAD}"),
        ("EMPTY", "EMPTY", "EMPTY"),
        (None, "sk-provider-secret", "sk-provider-secret"),
    ],
)
def test_a_key_and_its_beginnings_are_taken_out_of_what_others_say(key: str | None, said: str, left: str) -> None:
    assert Redaction(key)(said) == left
