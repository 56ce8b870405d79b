"""A sandbox over each backend that this machine has, and a run's workspace in it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Run
from tests.sandboxes import BACKENDS, a_sandbox

from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request: pytest.FixtureRequest, run: Run) -> Iterator[PythonSandbox]:
    opened = a_sandbox(request.param)
    run(opened.open())
    yield opened
    run(opened.close())


@pytest.fixture
def workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:  # not below pytest's own folder, which other accounts cannot pass
        yield Path(place)
