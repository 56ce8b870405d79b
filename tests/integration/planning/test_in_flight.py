"""Work in flight: a cancellation reaches a hanging model call, a restart of the servers loses nothing."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.fakes.planning_engine import a_principal, bench_on, running_loops
from tests.servers import TestServers, create_database, scratch_dir
from tests.upstream import Say, running_upstream
from tests.waiting import eventually

from cognitionos.composition import build
from cognitionos.planning.application.runs import StartedFrom
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec
from cognitionos.platform import migrations
from cognitionos.platform.config import Settings
from cognitionos.platform.embedded import EmbeddedServers
from cognitionos.platform.embedded.postgres import PostgresOptions

ORIGIN = StartedFrom(workflow="in-flight", version=1, input=None, result_key=None)


async def test_a_cancellation_reaches_an_agent_whose_model_does_not_answer_within_a_second(settings: Settings) -> None:
    async with running_upstream() as upstream:
        upstream.then(Say(text="too late", delay_s=60))
        given = {"openai_api_key": "upstream-key", "openai_base_url": upstream.base_url, "model": "gpt-4o-mini"}
        services = build(Settings(**{**settings.model_dump(), **given}))
        await services.open()
        try:
            async with running_loops(*services.planning.background):
                who = a_principal()
                ask = TaskSpec(key="ask", kind="agent", spec={"instructions": "Think for a minute."})
                run_id = await services.planning.runs.start(who, [ask], origin=ORIGIN)
                await eventually(lambda: upstream.calls)

                before = time.perf_counter()
                await services.planning.runs.cancel(who, run_id)
                await eventually(lambda: services.planning.engine.leases.held == 0, timeout_s=5)

                assert time.perf_counter() - before < 1
        finally:
            await services.close()


@pytest.mark.long
async def test_a_restart_of_postgresql_and_redis_in_mid_run_loses_and_doubles_nothing() -> None:
    done: list[str] = []

    async def step(task: ClaimedTask, report: Any) -> Succeeded:
        await report("step.done", {"key": task.key})
        done.append(task.key)
        await asyncio.sleep(0.005)
        return Succeeded(output={"text": task.key})

    with scratch_dir() as folder:
        servers = EmbeddedServers(folder, postgres=PostgresOptions(), valkey=True)
        try:
            urls = servers.start()
            database = create_database(TestServers(urls.admin or "", urls.redis or ""))
            migrations.upgrade(database.owner_url)
            settings = Settings(database_url=database.app_url, redis_url=urls.redis or "", data_dir=folder)
            async with bench_on(settings) as bench:
                who = a_principal()
                run_id = await bench.runs.start(who, _graph(), origin=ORIGIN)
                async with running_loops(bench.engine({"step": step}, lease_s=5.0, sweep_s=0.2)):
                    await eventually(lambda: len(done) > 40)
                    servers.stop()
                    servers.start()
                    assert await eventually(lambda: _ended(bench, who, run_id), timeout_s=40)

                rows = await bench.rows(who.tenant_id, "SELECT key, status, output ->> 'text' FROM tasks")
                seqs = await bench.rows(who.tenant_id, "SELECT seq FROM run_events ORDER BY seq")
        finally:
            servers.stop()

    assert {(status, key == output) for key, status, output in rows} == {("succeeded", True)}
    assert [row[0] for row in seqs] == list(range(1, len(seqs) + 1))


async def _ended(bench: Any, who: Any, run_id: Any) -> bool:
    try:
        return await bench.status(who, run_id) == "succeeded"
    except Exception:  # noqa: BLE001 - the database is starting; asked again
        return False


def _graph() -> list[TaskSpec]:
    """Ten chains of 30."""
    before: Mapping[int, tuple[str, ...]] = {0: ()}
    return [
        TaskSpec(key=f"c{chain}-{n}", kind="step", depends_on=before.get(n, (f"c{chain}-{n - 1}",)))
        for chain in range(10)
        for n in range(30)
    ]
