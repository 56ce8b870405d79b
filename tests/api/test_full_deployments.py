"""A deployment that has as many calls as it may have, over HTTP."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.api_process import api_process
from tests.edge import Caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "first"}]}


@pytest.fixture(scope="module")
def url(settings: Settings, environment: dict[str, str]) -> Iterator[str]:
    crowd = {"COGNITIONOS_DEPLOYMENT_CALLS": "1", "COGNITIONOS_DEPLOYMENT_QUEUE": "0"}
    with api_process(settings, environment | crowd) as url:
        yield url


async def test_a_full_deployment_without_another_is_refused_at_once(
    url: str, caller: Caller, upstream: Upstream
) -> None:
    gate, other = asyncio.Event(), ASKED | {"messages": [{"role": "user", "content": "second"}]}
    upstream.then(Say(text="one", gates={0: gate}))
    async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
        first = asyncio.create_task(client.post(CHAT, json=ASKED))
        await eventually(lambda: upstream.open_streams == 1)

        refusals = [await client.post(CHAT, json=other | {"stream": stream}) for stream in (True, False)]
        gate.set()
        answered = await first

    for refused in refusals:
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "as many calls as it may have" in refused.json()["error"]["message"]
        assert refused.elapsed.total_seconds() < 2.5, "two back-offs are longer"
    assert answered.text.endswith("data: [DONE]\n\n")
    assert len(upstream.calls) == 1
