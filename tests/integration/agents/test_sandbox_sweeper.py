"""What the sandbox leaves on a machine goes while its worker stays up."""

import asyncio
import os
import time
from pathlib import Path

import pytest
from tests.waiting import eventually

from cognitionos import composition
from cognitionos.agents.infrastructure import sandbox_sweeper
from cognitionos.agents.infrastructure.python_tool import LEFT_BEHIND_S
from cognitionos.agents.infrastructure.sandbox_sweeper import SandboxSweeper
from cognitionos.platform.config import Settings


async def test_what_killed_workers_left_goes_while_a_worker_stays_up(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_sweeper, "SWEEP_S", 0.01)
    services = composition.build(settings.model_copy(update={"data_dir": tmp_path}))
    [sweeper] = [each for each in services.background if isinstance(each, SandboxSweeper)]
    root = tmp_path / "workspaces"

    def left(name: str, *, age_s: float) -> Path:
        place = root / name
        place.mkdir(parents=True)
        (place / "f.txt").write_text("left")
        os.utime(place, (time.time() - age_s,) * 2)
        return place

    sweeping = asyncio.create_task(sweeper.run())
    try:
        at_work = left("call-now", age_s=0)
        for number in range(2):  # the second one comes when the first has been swept
            left(f"call-{number}", age_s=2 * LEFT_BEHIND_S)
            await eventually(lambda: [*root.iterdir()] == [at_work])
    finally:
        sweeping.cancel()
