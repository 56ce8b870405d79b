"""Shares of the workers: one tenant's thousands do not starve another's one, limits hold, weights count."""

import asyncio
import json
import subprocess
import time
from collections import Counter
from uuid import UUID

import pytest
from tests.fakes.planning_engine import Bench, a_principal, running_loops
from tests.stacks import clean_environment, command
from tests.waiting import eventually

from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec
from cognitionos.planning.infrastructure.share_store import BadShare, Share, Shares
from cognitionos.platform.config import Settings

TASK_S = 0.02


def a_tenant() -> UUID:
    return a_principal().tenant_id


def steps(number: int) -> list[TaskSpec]:
    return [TaskSpec(key=f"t{each}", kind="step") for each in range(number)]


class Work:
    """Notes who runs, and how many of each at once."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.started: list[tuple[UUID, float]] = []
        self.running: Counter[UUID] = Counter()
        self.most: Counter[UUID] = Counter()

    async def __call__(self, task: ClaimedTask, _report: Report) -> Succeeded:
        self.started.append((task.tenant_id, time.perf_counter()))
        self.running[task.tenant_id] += 1
        self.most[task.tenant_id] = max(self.most[task.tenant_id], self.running[task.tenant_id])
        await asyncio.sleep(TASK_S)
        await self.may_end.wait()
        self.running[task.tenant_id] -= 1
        return Succeeded(output=None)

    def number(self, tenant: UUID) -> int:
        return sum(each == tenant for each, _ in self.started)


async def test_a_tenant_never_runs_more_than_it_may_and_the_rest_is_others(bench: Bench) -> None:
    work, limited, free = Work(), a_tenant(), a_tenant()
    shares = Shares(database=bench.base.database)
    await shares.set(limited, Share(most_running=3))
    for tenant in (limited, free):
        await bench.runs.start(a_principal(tenant_id=tenant), steps(60))

    work.may_end.clear()
    async with running_loops(bench.engine({"step": work}, slots=8), bench.engine({"step": work}, slots=8)):
        await eventually(lambda: work.running == {limited: 3, free: 13}, timeout_s=40)
        work.may_end.set()
        await eventually(lambda: len(work.started) == 120, timeout_s=40)

    assert await shares.of(limited) == Share(most_running=3, weight=1.0)
    assert await shares.of(free) == Share()
    assert work.most[limited] == 3


async def test_a_tenant_that_weighs_more_gets_more_while_both_wait(bench: Bench) -> None:
    work, heavy, light = Work(), a_tenant(), a_tenant()
    await Shares(database=bench.base.database).set(heavy, Share(weight=4))
    for tenant in (heavy, light):
        await bench.runs.start(a_principal(tenant_id=tenant), steps(200))

    async with running_loops(bench.engine({"step": work}, slots=10)):
        await eventually(lambda: len(work.started) > 150, timeout_s=40)

    counted = Counter(tenant for tenant, _ in work.started[:150])
    assert counted[heavy] > 2 * counted[light] > 0


def cognitionos(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment(
        DATABASE_URL=settings.database_url.get_secret_value(), REDIS_URL=settings.redis_url.get_secret_value()
    )
    return subprocess.run(
        command("tenants", *arguments), env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_operator_sets_a_tenant_s_share_from_the_terminal(settings: Settings) -> None:
    cognitionos(settings, "create", "acme")

    set_ = cognitionos(settings, "share", "acme", "--most-running", "16", "--weight", "2")
    shown = cognitionos(settings, "share", "acme", "--json")
    lifted = cognitionos(settings, "share", "acme", "--most-running", "0")
    refused = cognitionos(settings, "share", "acme", "--weight", "0")
    unknown = cognitionos(settings, "share", "nobody")

    assert set_.stdout == "acme: at most 16 tasks at once, weight 2\n"
    assert json.loads(shown.stdout) == {"most_running": 16, "weight": 2.0}
    assert lifted.stdout == "acme: at most any number of tasks at once, weight 2\n"
    assert (refused.returncode, unknown.returncode) == (1, 1)
    assert "no tenant 'nobody'" in unknown.stderr


@pytest.mark.parametrize(("most", "weight"), [(0, 1.0), (-1, 1.0), (1, 0.0), (None, 101.0), (None, float("nan"))])
def test_a_share_that_no_tenant_can_have_is_refused(most: int | None, weight: float) -> None:
    with pytest.raises(BadShare):
        Share(most_running=most, weight=weight)


async def test_one_task_waits_no_longer_than_a_moment_behind_ten_thousand_of_another(bench: Bench) -> None:
    work, many, single = Work(), a_tenant(), a_tenant()
    await bench.runs.start(a_principal(tenant_id=many), steps(10_000))
    async with running_loops(bench.engine({"step": work}, slots=8)):
        await eventually(lambda: work.number(many) > 50, timeout_s=30)
        asked = time.perf_counter()
        await bench.runs.start(a_principal(tenant_id=single), steps(1))
        await bench.base.signals.send("tasks")
        await eventually(lambda: work.number(single) == 1, timeout_s=30)
        before = work.number(many)

    waited = next(at for tenant, at in work.started if tenant == single) - asked
    print(f"waited {waited * 1000:.0f} ms behind {10_000 - before} tasks")
    assert before < 5_000
    assert waited < 3
