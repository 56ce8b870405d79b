"""Group commit: together when they come together, at once when alone."""

import asyncio

import pytest
from tests.waiting import eventually

from cognitionos.llm_gateway.infrastructure.batching import GroupCommit


class Flushes:
    """Records each batch; holds flushes back while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        await self.gate.wait()
        if -1 in items:
            raise ValueError("a bad item")
        return [item * 2 for item in items]


async def test_items_submitted_together_share_one_flush_and_get_their_own_results() -> None:
    flushes = Flushes()
    commit = GroupCommit(flushes)

    results = await asyncio.gather(*(commit.submit(item) for item in range(50)))

    assert results == [item * 2 for item in range(50)]
    assert len(flushes.batches) == 1


async def test_what_arrives_during_a_flush_goes_together_after_it_or_after_five_milliseconds() -> None:
    flushes = Flushes()
    commit = GroupCommit(flushes)
    flushes.gate.clear()
    first = commit.submit(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [commit.submit(item) for item in (2, 3)]

    await eventually(lambda: len(flushes.batches) == 2)
    flushes.gate.set()

    assert await asyncio.gather(first, *rest) == [2, 4, 6]
    assert flushes.batches == [[1], [2, 3]]


async def test_a_flush_that_fails_fails_its_batch_and_no_other() -> None:
    commit = GroupCommit(Flushes())
    bad, companion = commit.submit(-1), commit.submit(1)

    for future in (bad, companion):
        with pytest.raises(ValueError, match="a bad item"):
            await future

    assert await commit.submit(2) == 4


async def test_an_item_whose_waiter_is_cancelled_is_flushed_all_the_same() -> None:
    flushes = Flushes()
    commit = GroupCommit(flushes)
    future = commit.submit(1)
    future.cancel()

    await commit.drain()

    assert flushes.batches == [[1]]


async def test_a_large_crowd_is_split_into_batches() -> None:
    flushes = Flushes()
    commit = GroupCommit(flushes)

    await asyncio.gather(*(commit.submit(item) for item in range(450)))

    assert [len(batch) for batch in flushes.batches] == [200, 200, 50]
