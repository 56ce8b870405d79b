"""Runs of `value` tasks on the real engine and real servers: seconds, commits and CPU for each shape.

`python -m tests.bench.engine [sizes ...] [--tasks=SIZE] [--dbos=ENVIRONMENT]`, by default 1000 and 10000. With an
environment, DBOS runs the same shapes on the same servers, ours and theirs in turn.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
from tests.bench import dbos_runs
from tests.fakes.planning_engine import a_principal, bench_on, running_loops
from tests.servers import create_database, redis_database, running_servers
from tests.waiting import eventually

from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.task import ClaimedTask, Succeeded, TaskSpec
from cognitionos.platform import migrations
from cognitionos.platform.config import Settings

MOST_QUEUED = 1000
"""DBOS' queued children: more take minutes."""
DISPATCHES = 200

Shape = Callable[[int], list[TaskSpec]]


def chain(number: int) -> list[TaskSpec]:
    """Each waits for the one before."""
    return [_value(n, (n - 1,) if n else ()) for n in range(number)]


def layers(number: int, width: int = 100) -> list[TaskSpec]:
    """Layers of 100, two edges a task."""
    return [_value(n, {n - width, (n - width) // width * width} if n >= width else ()) for n in range(number)]


def flat(number: int) -> list[TaskSpec]:
    """No edges."""
    return [_value(n, ()) for n in range(number)]


def _value(number: int, parents: object) -> TaskSpec:
    keys = tuple(f"t{parent}" for parent in parents)  # type: ignore[attr-defined]
    return TaskSpec(key=f"t{number}", kind="value", spec={"input": number}, depends_on=keys)


async def measure(settings: Settings, admin_url: str, shape: Shape, number: int) -> None:
    """Print one line of figures."""
    async with bench_on(settings) as bench:
        who = a_principal()
        started = time.perf_counter()
        run_id = await bench.runs.start(who, shape(number))
        accepted_s = time.perf_counter() - started
        before, cpu = _commits(admin_url), time.process_time()
        async with running_loops(bench.engine()):
            started = time.perf_counter()

            async def ended() -> bool:
                return await bench.status(who, run_id) == "succeeded"

            await _until(ended)
            seconds = time.perf_counter() - started
        commits = _commits(admin_url) - before
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{shape.__name__:>7} {number:>6} tasks: accepted {accepted_s:6.2f} s, ran {seconds:6.2f} s, "
            f"cpu {time.process_time() - cpu:5.2f} s, commits per task {commits / number:.4f}, rss {memory_mb:.0f} MB",
            flush=True,
        )


async def _until(ended: Callable[[], object]) -> None:
    for _ in range(1200):
        if await ended():  # type: ignore[misc]
            return
        await asyncio.sleep(0.1)
    raise SystemExit("the run did not end within 120 s")


def _commits(admin_url: str) -> int:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush(), pg_sleep(0.1)")
        row = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        return int(row[0]) if row else 0


async def dispatch(settings: Settings, rounds: int = DISPATCHES) -> None:
    """Print the time from one task's end to its dependent's start, one run at a time."""
    gaps: list[float] = []
    ended_at = 0.0

    async def handle(task: ClaimedTask, _report: Report) -> Succeeded:
        nonlocal ended_at
        if task.key != "t0":
            gaps.append(time.perf_counter() - ended_at)
        ended_at = time.perf_counter()
        return Succeeded(output=None)

    async with bench_on(settings) as bench, running_loops(bench.engine({"step": handle})):
        who = a_principal()
        specs = [TaskSpec(key=f"t{n}", kind="step", depends_on=(f"t{n - 1}",) if n else ()) for n in range(rounds + 1)]
        run_id = await bench.runs.start(who, specs)

        async def ended() -> bool:
            return await bench.status(who, run_id) == "succeeded"

        await eventually(ended, timeout_s=60)
    gaps.sort()
    print(
        f"dispatch: p50 {gaps[len(gaps) // 2] * 1000:.1f} ms, p99 {gaps[int(len(gaps) * 0.99)] * 1000:.1f} ms",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Start servers, measure every shape."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 10_000])
    parser.add_argument("--tasks", type=int, help="this size only")
    parser.add_argument(
        "--dbos", type=lambda given: Path(given).absolute(), help="the environment that DBOS is installed in"
    )
    options = parser.parse_args(arguments)
    with running_servers() as servers, tempfile.TemporaryDirectory() as data:
        database = create_database(servers)
        migrations.upgrade(database.owner_url)
        settings = Settings(
            database_url=database.app_url,
            migration_database_url=database.owner_url,
            redis_url=redis_database(servers, 1),
            data_dir=Path(data),
            detect_local_models=False,
        )
        if options.dbos is not None:
            print(dbos_runs.version(options.dbos))

        def beside(shape: str, number: int) -> None:
            if options.dbos is not None:
                print(_theirs(shape, number, dbos_runs.measure(servers, options.dbos, shape, number)), flush=True)

        for number in [options.tasks] if options.tasks else options.sizes:
            for shape in (chain, layers, flat):
                asyncio.run(measure(settings, database.admin_url, shape, number))
                beside(shape.__name__, number)
            beside("queued", min(number, MOST_QUEUED))
        asyncio.run(dispatch(settings))
        beside("dispatch", DISPATCHES)


def _theirs(shape: str, number: int, found: dict[str, Any]) -> str:
    if shape == "dispatch":
        return f"   DBOS, dispatch: p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms"
    return (
        f"   DBOS, {shape} {number}: ran {found['seconds']:6.2f} s, cpu {found['cpu_s']:5.2f} s, "
        f"commits per task {found['commits'] / number:.2f}, rss {found['memory_mb']:.0f} MB"
    )


if __name__ == "__main__":
    main()
