"""What most journeys begin with: a model server, an API process that asks it, a caller of a tenant of its own."""

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import httpx
import pytest
from tests.anthropic_upstream import AnthropicUpstream, running_anthropic
from tests.api_process import api_process
from tests.conftest import Run
from tests.edge import Caller, a_caller
from tests.upstream import Upstream, running_upstream

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def upstream(run: Run) -> Iterator[Upstream]:
    context = running_upstream()
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def claude(run: Run) -> Iterator[AnthropicUpstream]:
    context = running_anthropic()
    yield run(context.__aenter__())
    run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def openai_only(upstream: Upstream) -> dict[str, str]:
    return {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": upstream.api_key or ""}


@pytest.fixture(scope="module")
def anthropic_only(claude: AnthropicUpstream) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": claude.base_url, "ANTHROPIC_API_KEY": claude.api_key}


@pytest.fixture(scope="module")
def both_vendors(openai_only: dict[str, str], anthropic_only: dict[str, str]) -> dict[str, str]:
    return openai_only | anthropic_only


@pytest.fixture(scope="module")
def environment(openai_only: dict[str, str]) -> dict[str, str]:
    """What the processes are started with; a module with other wishes has its own."""
    return openai_only


@pytest.fixture(scope="module")
def url(settings: Settings, environment: dict[str, str]) -> Iterator[str]:
    with api_process(settings, environment) as url:
        yield url


@pytest.fixture
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, f"tenant-{uuid4()}"))
    return made


@pytest.fixture
def client(
    url: str, caller: Caller, run: Run, upstream: Upstream, claude: AnthropicUpstream
) -> Iterator[httpx.AsyncClient]:
    """The caller's client; both vendors have forgotten what they were asked and told to say."""
    upstream.reset()
    claude.reset()
    made = httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=60)
    yield made
    run(made.aclose())


@pytest.fixture(scope="module")
def urls(settings: Settings, environment: dict[str, str]) -> Iterator[list[str]]:
    """Two processes of the API."""
    with ExitStack() as stack:
        yield [stack.enter_context(api_process(settings, environment)) for _ in range(2)]


@pytest.fixture
def clients(urls: list[str], caller: Caller, run: Run, upstream: Upstream) -> Iterator[list[httpx.AsyncClient]]:
    """The caller's client of each; a million tokens of the model `m` cost a dollar, or two where they are said."""
    upstream.reset()
    limits = httpx.Limits(max_connections=100)
    made = [httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30, limits=limits) for url in urls]
    price = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
    run(made[0].put("/v1/prices/m", json=price)).raise_for_status()
    yield made
    for each in made:
        run(each.aclose())
