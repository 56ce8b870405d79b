"""One open platform per module, with planning's stores on it."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_engine import Bench, bench_on

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def bench(settings: Settings, run: Any) -> Iterator[Bench]:
    """See `bench_on`."""
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(bench_on(settings)))
    run(stack.aclose())
