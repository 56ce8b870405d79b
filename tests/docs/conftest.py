"""One stack for every document about a running one."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.servers import scratch_dir
from tests.stacks import RunningStack, running_stack

from cognitionos.cli.listening import free_port


@dataclass(frozen=True, slots=True)
class Observed:
    """A stack whose worker serves its metrics too."""

    stack: RunningStack
    worker_url: str


@pytest.fixture(scope="session")
def observed() -> Iterator[Observed]:
    port = free_port("127.0.0.1", 0)
    settings = {"COGNITIONOS_METRICS_PORT": str(port)}
    with scratch_dir() as folder, running_stack(folder / "data", settings=settings) as stack:
        yield Observed(stack, f"http://127.0.0.1:{port}")


@pytest.fixture
def stack(observed: Observed) -> RunningStack:
    return observed.stack
