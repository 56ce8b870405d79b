"""Two API processes whose Redis hangs: it takes connections and answers nothing. Changes still get around."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from tests.api_process import api_process
from tests.conftest import Run
from tests.edge import Caller
from tests.servers import scratch_dir
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.llm_gateway.infrastructure.exact_cache import REST_S
from cognitionos.llm_gateway.infrastructure.prices import FRESH_S
from cognitionos.platform.config import Settings
from cognitionos.platform.embedded import EmbeddedServers
from cognitionos.platform.rate_limit import RETRY_REDIS_AFTER_S
from cognitionos.platform.redis import ANSWER_TIMEOUT_S

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}


@pytest.fixture(scope="module")
def redis() -> Iterator[EmbeddedServers]:
    with scratch_dir() as folder:
        server = EmbeddedServers(folder, postgres=None, valkey=True)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def urls(
    settings: Settings, openai_only: dict[str, str], upstream: Upstream, redis: EmbeddedServers
) -> Iterator[list[str]]:
    environment = openai_only | {
        "REDIS_URL": redis.urls.redis or "",
        "COGNITIONOS_PROVIDER_ALLOW": urlsplit(upstream.base_url).netloc,
    }
    with ExitStack() as stack:
        yield [stack.enter_context(api_process(settings, environment)) for _ in range(2)]


@pytest.fixture
def hung(redis: EmbeddedServers) -> Iterator[None]:
    process = redis.valkey and redis.valkey.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    yield
    process.send_signal(signal.SIGCONT)


@pytest.fixture
def clients(urls: list[str], caller: Caller, run: Run, upstream: Upstream) -> Iterator[list[httpx.AsyncClient]]:
    upstream.reset()
    upstream.speak = lambda _: Say(text="x", usage=USAGE)
    made = [httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60) for url in urls]
    yield made
    for each in made:
        run(each.aclose())


async def ask(client: httpx.AsyncClient, model: str) -> httpx.Response:
    message = {"role": "user", "content": str(uuid4())}
    return await client.post(CHAT, json={"model": model, "messages": [message], "max_tokens": 1})


def a_price(usd: int) -> dict[str, str]:
    return {"input_usd_per_million": f"{usd}000000", "output_usd_per_million": "0"}


async def changed(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> float:
    """Change something; when that was answered."""
    (await client.put(path, json=body)).raise_for_status()
    return time.monotonic()


async def test_prices_providers_and_routes_reach_the_other_process_long_before_a_copy_is_old(
    clients: list[httpx.AsyncClient], upstream: Upstream, hung: None
) -> None:
    one, other = clients
    provider = {"base_url": upstream.base_url, "api_key": upstream.api_key, "free": True, "models": ["mine"]}
    took: dict[str, float] = {}
    asked = time.monotonic()
    answered = await changed(one, "/v1/prices/m", a_price(1))
    took["answer"] = answered - asked

    async def costs(usd: str) -> bool:
        return (await ask(other, "m")).headers["x-cognitionos-cost-usd"] == usd

    async def answers(model: str) -> bool:
        return (await ask(other, model)).status_code == 200

    assert await eventually(lambda: costs("1"))
    answered = await changed(one, "/v1/prices/m", a_price(2))
    assert await eventually(lambda: costs("2"))
    took["price"] = time.monotonic() - answered
    for path, body, model in (
        ("/v1/providers/acme", provider, "acme/mine"),
        ("/v1/routes/fast", {"candidates": [{"model": "acme/mine"}]}, "fast"),
    ):
        answered = await changed(one, path, body)
        assert await eventually(lambda model=model: answers(model))
        took[model] = time.monotonic() - answered

    assert all(each < FRESH_S - 2 for each in took.values()), took


async def test_calls_wait_for_it_once_and_then_go_on_without_it(clients: list[httpx.AsyncClient], hung: None) -> None:
    one, _ = clients
    (await ask(one, "m")).raise_for_status()
    began, waited = time.monotonic(), 0
    while time.monotonic() - began < RETRY_REDIS_AFTER_S + 2 * REST_S:
        answer = await ask(one, "m")
        answer.raise_for_status()
        waited += answer.elapsed.total_seconds() >= ANSWER_TIMEOUT_S

    assert waited <= 1, "and that one because the machine is busy"
