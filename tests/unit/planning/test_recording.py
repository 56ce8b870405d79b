"""The recorder and the leases, when the store fails: nothing is lost, nothing is done that is not ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.fakes.planning_store import InMemoryTaskStore
from tests.unit.planning.builders import a_run
from tests.waiting import eventually

from cognitionos.kernel.errors import Unavailable
from cognitionos.kernel.ids import new_id
from cognitionos.planning.application import recording
from cognitionos.planning.application.leases import Leases
from cognitionos.planning.application.recording import Recorder
from cognitionos.planning.domain.run import Run, RunStatus
from cognitionos.planning.domain.step import Ended, Started
from cognitionos.planning.domain.task import ClaimedTask, LeaseLost, Succeeded, TaskSpec, in_order


async def some_tasks(store: InMemoryTaskStore, number: int) -> tuple[Run, list[ClaimedTask]]:
    run = a_run()
    specs = tuple(TaskSpec(key=f"t{n}", kind="step") for n in range(number))
    run.grow(number)
    store.add(run, in_order(specs, first_position=0, new_id=new_id))
    return run, (await store.claim(worker="w", slots=number, lease_s=10)).tasks


@asynccontextmanager
async def recording_to(store: InMemoryTaskStore) -> AsyncIterator[Recorder]:
    recorder = Recorder(store=store, worker="w", committed=lambda *_: None)
    loop = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop


def well(task: ClaimedTask) -> Ended:
    return Ended(task=task, outcome=Succeeded(output=task.key))


async def test_entries_that_come_together_share_a_commit() -> None:
    store = InMemoryTaskStore()
    run, tasks = await some_tasks(store, 50)

    async with recording_to(store) as recorder:
        await asyncio.gather(*(recorder.put(well(task)) for task in tasks))

    assert run.status is RunStatus.SUCCEEDED
    assert len(store.commits) <= 2


async def test_what_a_lost_database_refuses_is_written_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RETRY_S", 0.001)
    store = InMemoryTaskStore()
    run, tasks = await some_tasks(store, 3)
    store.failures = [Unavailable("gone")] * 3

    async with recording_to(store) as recorder:
        await asyncio.gather(*(recorder.put(well(task)) for task in tasks))
        await recorder.drained()

    assert store.outputs(run) == {"t0": "t0", "t1": "t1", "t2": "t2"}


async def test_one_entry_that_cannot_be_written_does_not_take_the_others_along() -> None:
    store = InMemoryTaskStore()
    run, tasks = await some_tasks(store, 3)
    store.failures = [ValueError("the batch"), ValueError("the first alone")]

    async with recording_to(store) as recorder:
        results = await asyncio.gather(*(recorder.put(well(task)) for task in tasks), return_exceptions=True)

    assert run.status is RunStatus.FAILED
    assert (run.error or {})["type"] == "/problems/unrecordable-output"
    assert results[0] is None
    assert all(isinstance(result, LeaseLost) for result in results[1:])


async def test_a_late_writer_is_told() -> None:
    store = InMemoryTaskStore()
    run, [task] = await some_tasks(store, 1)
    store.cancel(run)

    async with recording_to(store) as recorder:
        with pytest.raises(LeaseLost):
            await recorder.put(Started(task=task))


async def test_a_task_whose_lease_was_revoked_is_stopped_and_others_go_on() -> None:
    store = InMemoryTaskStore()
    cancelled, [gone] = await some_tasks(store, 1)
    _, [ours] = await some_tasks(store, 1)
    store.cancel(cancelled)

    async with leasing(store, lease_s=30) as (leases, revoked):
        works = [hold(leases, task) for task in (gone, ours)]
        revoked.set()
        await eventually(works[0].done)

    assert (works[0].cancelled(), works[1].done()) == (True, False)
    works[1].cancel()


async def test_a_task_whose_lease_cannot_be_shown_to_be_ours_is_stopped_when_it_has_run_out() -> None:
    store = InMemoryTaskStore()
    _, [task] = await some_tasks(store, 1)
    store.failures = [Unavailable("gone")] * 1_000
    now = [0.0]

    async with leasing(store, lease_s=0.03, monotonic=lambda: now[0]) as (leases, _):
        work = hold(leases, task)
        await eventually(lambda: len(store.failures) < 998)
        assert not work.done()
        now[0] = 1.0
        await eventually(work.done)

    assert work.cancelled()


@asynccontextmanager
async def leasing(store: InMemoryTaskStore, **changes: Any) -> AsyncIterator[tuple[Leases, asyncio.Event]]:
    leases, revoked = Leases(store=store, worker="w", **changes), asyncio.Event()
    loop = asyncio.create_task(leases.run(revoked))
    try:
        yield leases, revoked
    finally:
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop


def hold(leases: Leases, task: ClaimedTask) -> "asyncio.Task[None]":
    work = asyncio.create_task(_forever())
    leases.hold(task, work)
    return work


async def _forever() -> None:
    await asyncio.Event().wait()
