"""A model call repeated under one `Idempotency-Key`: one payment, one answer, with what its headers said."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.edge import Caller
from tests.upstream import Say, Upstream

CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
}
PER_ATTEMPT = {"x-request-id", "date", "content-length", "idempotent-replayed"}


def told(answer: httpx.Response) -> dict[str, str]:
    """Its headers but for those of this one request, and of its rate."""
    names = [name for name in answer.headers if name not in PER_ATTEMPT and "ratelimit" not in name]
    return {name: answer.headers[name] for name in names}


@pytest.mark.parametrize("path", CALLS)
async def test_a_repeated_call_is_answered_as_at_first(url: str, caller: Caller, upstream: Upstream, path: str) -> None:
    upstream.reset()
    upstream.then(Say(text="once"))
    headers = caller.headers | {"idempotency-key": str(uuid4()), "cache-control": "no-store"}
    body = {"model": f"m-{uuid4()}"} | CALLS[path]
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        first, again = [await client.post(path, json=body) for _ in range(2)]
        rows = (await client.get("/v1/usage/calls")).json()["items"]

    assert (first.status_code, again.status_code) == (200, 200), first.text
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content
    assert "x-cognitionos-cost-usd" in again.headers
    assert told(again) == told(first)
    assert [row["call_id"] for row in rows] == [first.headers["x-cognitionos-call-id"]]
