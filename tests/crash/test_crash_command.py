"""`cognitionos crash-test` as its users run it: on a stack of its own, and on a deployment that is given."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Run
from tests.crash.kit import a_product
from tests.edge import a_caller

from cognitionos.cli.crash_test.own_stack import api_on
from cognitionos.cli.crash_test.points import POINTS
from cognitionos.cli.crash_test.processes import Processes, clean_environment
from cognitionos.cli.listening import free_port
from cognitionos.platform.config import Settings

WITHIN_S = 590.0
Ended = tuple[int | None, str, str]
"""Status, stdout and stderr."""


async def crash_test(*arguments: str) -> Ended:
    """Run the command."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cognitionos", "crash-test", *arguments),
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WITHIN_S):
        out, said = await process.communicate()
    return process.returncode, out.decode(), said.decode()


@asynccontextmanager
async def supervised(product: Processes, pid_file: Path) -> AsyncIterator[None]:
    """A worker that is started again whenever it dies, its process id in the file."""

    async def forever() -> None:
        while True:
            worker = await product.worker()
            await asyncio.to_thread(pid_file.write_text, str(worker.pid))
            await worker.wait()

    supervisor = asyncio.create_task(forever())
    try:
        yield
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)


def has_kept_its_promises(told: dict[str, Any], *, kills: int) -> bool:
    """Whether all was well, and something was tried."""
    tried = told["kills"] == kills and told["effects"]["wanted"] > 0 and told["runs"]["ended"] > 0
    return tried and told["ok"] and told["faults"] == []


def test_a_stack_of_its_own_loses_and_doubles_nothing(run: Run) -> None:
    arguments = ("--moments", "2", "--runs", "3", "--every", "0.4", "--seed", "1", "--lease", "1", "--json")
    status, out, said = run(crash_test(*arguments))

    assert status == 0, said
    told = json.loads(out)
    assert has_kept_its_promises(told, kills=2), told
    assert (told["seed"], told["workers"], told["take_over_s"]["limit"]) == (1, 2, 3.0)


def test_a_given_deployment_is_tested_by_killing_what_its_supervisor_starts_again(
    settings: Settings, run: Run, tmp_path: Path
) -> None:
    pid_file = tmp_path / "worker.pid"

    async def tested() -> tuple[Ended, Ended]:
        caller, sink = await a_caller(settings, "given"), f"127.0.0.1:{free_port('127.0.0.1', 0)}"
        async with a_product(settings, COGNITIONOS_HTTP_ALLOW=sink) as product, supervised(product, pid_file):
            url = await api_on(product, free_port("127.0.0.1", 0))
            there = ("--url", url, "--api-key", caller.key, "--pid-file", str(pid_file), "--runs", "2")
            few = ("--moments", "2", "--every", "0.4", "--lease", "1", "--take-over", "30")
            return await crash_test(*there, *few, "--listen", sink), await crash_test(*there, "--listen", "127.0.0.1:0")

    (status, out, said), refused = run(tested())

    assert status == 0, said
    assert "every promise was kept" in out
    assert refused[0] == 1
    assert "COGNITIONOS_HTTP_ALLOW=127.0.0.1:" in refused[2]


async def test_a_url_without_a_way_to_kill_is_refused() -> None:
    status, _, said = await crash_test("--url", "http://127.0.0.1:9", "--api-key", "cog_x")

    assert status == 1
    assert "--kill COMMAND" in said


@pytest.mark.long
async def test_nothing_is_lost_at_the_named_points() -> None:
    status, out, said = await crash_test("--points", "--lease", "1", "--json")

    assert status == 0, said
    assert has_kept_its_promises(json.loads(out), kills=len(POINTS))


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
async def test_nothing_is_lost_at_200_random_moments(workers: int) -> None:
    status, out, said = await crash_test("--workers", str(workers), "--seed", "20", "--json")

    assert status == 0, said
    assert has_kept_its_promises(json.loads(out), kills=200)
