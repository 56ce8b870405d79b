"""A circuit over HTTP, from its opening to its healing, through two API processes: settings, probes, history."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import httpx
import pytest
from tests.api_process import api_process
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream
from tests.waiting import eventually

from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def clients(settings: Settings, upstream: Upstream, run: Run) -> Iterator[list[httpx.AsyncClient]]:
    caller: Caller = run(a_caller(settings, f"healing-{uuid4()}"))
    environment = {
        "OPENAI_BASE_URL": upstream.base_url,
        "OPENAI_API_KEY": upstream.api_key or "",
        "COGNITIONOS_CIRCUIT_FAILURES": "3",
        "COGNITIONOS_CIRCUIT_OPEN_S": "3",
        "COGNITIONOS_CIRCUIT_SUCCESSES": "2",
    }
    with ExitStack() as stack:
        urls = [stack.enter_context(api_process(settings, environment)) for _ in range(2)]
        made = [httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) for url in urls]
        yield made
        for each in made:
            run(each.aclose())


async def ask(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(CHAT, json={"model": "m", "messages": [{"role": "user", "content": str(uuid4())}]})


async def test_a_circuit_that_one_process_opened_is_open_in_the_other_and_probes_close_it_in_both(
    clients: list[httpx.AsyncClient], upstream: Upstream
) -> None:
    one, other = clients
    upstream.then(*(Say(status=401) for _ in range(3)))

    failed = [(await ask(one)).status_code for _ in range(3)]

    async def is_left_alone() -> bool:
        before = len(upstream.calls)
        return (await ask(other)).status_code == 503 and len(upstream.calls) == before

    async def is_well(client: httpx.AsyncClient) -> bool:
        return (await ask(client)).status_code == 200

    assert failed == [503] * 3
    assert await eventually(is_left_alone, timeout_s=2.9)
    assert await eventually(lambda: is_well(other))
    assert await eventually(lambda: is_well(other))
    assert await eventually(lambda: is_well(one))

    async def is_closed() -> bool:
        return (await one.get("/v1/circuits")).json()["circuits"] == []

    async def history() -> list[tuple[str, str]]:
        found = (await other.get("/v1/circuits/history", params={"deployment": "openai/m"})).json()["items"]
        return [(each["state_before"], each["state_after"]) for each in reversed(found)]

    assert await eventually(is_closed)
    assert await eventually(lambda: _ends_closed(history))
    assert (await history())[0] == ("closed", "open")


async def _ends_closed(history: Callable[[], Awaitable[list[tuple[str, str]]]]) -> bool:
    return (await history())[-1:] == [("half_open", "closed")]
