import asyncio

import pytest

from cognitionos.platform.once import Once


class Source:
    """Counts its loads; each goes on until it is let go."""

    def __init__(self) -> None:
        self.loads = 0
        self.go = asyncio.Event()

    async def load(self) -> int:
        self.loads += 1
        number = self.loads
        await self.go.wait()
        return number


async def _asked(once: Once[str, int], source: Source, times: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(once("key", source.load)) for _ in range(times)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_who_asks_meanwhile_gets_the_same_load() -> None:
    async def scene() -> tuple[list[int], int]:
        once, source = Once[str, int](), Source()
        tasks = await _asked(once, source, 5)
        source.go.set()
        together = await asyncio.gather(*tasks)
        return together, await once("key", source.load)

    assert asyncio.run(scene()) == ([1] * 5, 2)


def test_a_change_is_not_answered_by_a_load_that_began_before_it() -> None:
    async def scene() -> list[int]:
        once, source = Once[str, int](), Source()
        before = await _asked(once, source, 1)
        once.forget()
        after = await _asked(once, source, 2)
        source.go.set()
        return await asyncio.gather(*before, *after)

    assert asyncio.run(scene()) == [1, 2, 2]


def test_who_leaves_takes_nobody_along() -> None:
    async def scene() -> int:
        once, source = Once[str, int](), Source()
        first, second = await _asked(once, source, 2)
        first.cancel()
        source.go.set()
        return await second

    assert asyncio.run(scene()) == 1


def test_everyone_hears_of_a_failure_and_the_next_one_tries_again() -> None:
    async def scene() -> str:
        once = Once[str, str]()

        async def fail() -> str:
            raise ValueError

        async def work() -> str:
            return "worked"

        outcomes = await asyncio.gather(*(once("key", fail) for _ in range(2)), return_exceptions=True)
        assert [type(each) for each in outcomes] == [ValueError, ValueError]
        return await once("key", work)

    assert asyncio.run(scene()) == "worked"


def test_keys_do_not_wait_for_each_other() -> None:
    async def scene() -> int:
        once, source = Once[str, int](), Source()
        await _asked(once, source, 1)

        async def work() -> int:
            return 7

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await once("key", source.load)
        found = await once("other", work)
        source.go.set()
        return found

    assert asyncio.run(scene()) == 7
