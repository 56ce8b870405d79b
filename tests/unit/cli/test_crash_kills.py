"""What is killed is ours to kill: a worker that had ended by itself is named, not taken for one that was killed."""

import random
import re
import time
from pathlib import Path

import pytest

from cognitionos.cli.crash_test.kills import OwnWorkers
from cognitionos.cli.crash_test.processes import Processes, clean_environment
from cognitionos.cli.program import ProgramFailed


async def test_a_worker_that_ended_by_itself_is_named_with_its_status_and_last_words(tmp_path: Path) -> None:
    processes = Processes(environment=clean_environment(), logs=tmp_path)
    process, _ = await processes.start("worker-1", "no-such-command")
    await process.wait()
    lives = {"worker-1": [(time.monotonic(), float("inf"))]}
    workers = OwnWorkers(processes=processes, count=1, _up={"worker-1": process}, _lives=lives)

    told = re.compile(r"worker-1 ended by itself with status 2; .*no-such", re.DOTALL)
    with pytest.raises(ProgramFailed, match=told):
        await workers.kill(random.Random(0))
