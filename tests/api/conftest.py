"""What most journeys begin with: a model server, an API process that asks it, a caller of a tenant of its own."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
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
def environment(upstream: Upstream) -> dict[str, str]:
    return {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": upstream.api_key or ""}


@pytest.fixture(scope="module")
def url(settings: Settings, environment: dict[str, str]) -> Iterator[str]:
    with api_process(settings, environment) as url:
        yield url


@pytest.fixture
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, f"tenant-{uuid4()}"))
    return made
