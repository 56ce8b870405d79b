"""What the error of a call that reached a provider says: which call it was, and never with which key of ours."""

import asyncio
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
