"""One suite for what runs' files were before: PostgreSQL and the in-memory twin answer alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import pytest
from tests.conftest import Run
from tests.fakes.agents_journal import JournalInMemory
from tests.integration.agents.test_journal import a_start, a_step, place_of

from cognitionos.agents.application.histories import Histories
from cognitionos.agents.application.ports import Files, Journal
from cognitionos.agents.domain.agent_run import LeaseLost, Place
from cognitionos.agents.domain.workspace import EarlierFileGone, FileChanges, NewFile
from cognitionos.agents.infrastructure import workspace_versions
from cognitionos.agents.infrastructure.histories import PostgresHistories
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.kernel.ids import new_id
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database


class Store(Protocol):
    journal: Journal
    files: Files
    histories: Histories


@dataclass
class _All:
    journal: Journal
    files: Files
    histories: Histories


@pytest.fixture(scope="module")
def opened(settings: Settings, run: Run) -> Iterator[Database]:
    database = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(database.open())
    yield database
    run(database.close())


@pytest.fixture(scope="module")
def stored(opened: Database) -> Store:
    return _All(PostgresJournal(opened), PostgresFiles(opened), PostgresHistories(opened))


@pytest.fixture(params=["postgresql", "memory"])
def store(request: pytest.FixtureRequest, stored: Store) -> Store:
    if request.param == "postgresql":
        return stored
    memory = JournalInMemory()
    return _All(memory, memory, memory)


@dataclass
class Work:
    """A run whose tasks `a`, `b` and `c` do this and that, one act after the other."""

    store: Store
    tenant: UUID = field(default_factory=new_id)
    run: UUID = field(default_factory=new_id)
    tasks: dict[str, UUID] = field(default_factory=lambda: {key: new_id() for key in "abc"})
    acts: int = 0

    async def place(self, task: str, *, fence: int = 1) -> Place:
        start = a_start(tenant_id=self.tenant, run_id=self.run, task_id=self.tasks[task], fence=fence)
        return place_of(start, await self.store.journal.open(start))

    async def writes(self, task: str, *, fence: int = 1, **files: str | bytes) -> None:
        new = [
            NewFile(name=name, content=text if isinstance(text, bytes) else text.encode())
            for name, text in files.items()
        ]
        await self._does(await self.place(task, fence=fence), FileChanges(written=tuple(new)))

    async def removes(self, task: str, *names: str) -> None:
        await self._does(await self.place(task), FileChanges(removed=names))

    async def _does(self, place: Place, changes: FileChanges) -> None:
        self.acts += 1
        await self.store.journal.record(place, a_step(f"executor/0/{self.acts}"), changes=changes)

    async def fork(self, reused: Sequence[str]) -> "Work":
        other = Work(self.store, tenant=self.tenant)
        tasks = {self.tasks[key]: other.tasks[key] for key in reused}
        await self.store.histories.copy_files(self.tenant, self.run, to_run=other.run, tasks=tasks)
        return other

    async def set_aside(self, *tasks: str, fence: int = 1) -> None:
        await self.store.histories.set_aside(self.tenant, self.run, [(self.tasks[key], fence) for key in tasks])

    async def shown(self) -> dict[str, str]:
        names = [file.name for file in await self.store.files.of_run(self.tenant, self.run)]
        return {name: (await self.store.files.read(self.tenant, self.run, name))[1].decode() for name in names}


async def test_a_fork_has_each_file_as_the_reused_tasks_left_it(store: Store) -> None:
    work = Work(store)
    await store.files.put_input(work.tenant, work.run, name="in", media_type="", content=b"given")
    await work.writes("a", over="a", gone="a", mine="a")
    await work.writes("b", over="b", extra="b", mine="b")
    await work.removes("b", "gone")
    await work.writes("a", mine="a again")
    await work.writes("c", over="c", gone="c")

    forks = {keys: await (await work.fork(keys)).shown() for keys in ("", "a", "ab", "b", "ac", "abc")}

    assert forks == {
        "": {"in": "given"},
        "a": {"in": "given", "over": "a", "gone": "a", "mine": "a again"},
        "ab": {"in": "given", "over": "b", "extra": "b", "mine": "a again"},
        "b": {"in": "given", "over": "b", "extra": "b", "mine": "b"},
        "ac": {"in": "given", "over": "c", "gone": "c", "mine": "a again"},
        "abc": {"in": "given", "over": "c", "gone": "c", "extra": "b", "mine": "a again"},
    }
    assert await work.shown() == forks["abc"]


async def test_a_fork_of_a_fork_goes_back_as_far_as_the_first_one_could(store: Store) -> None:
    work = Work(store)
    await work.writes("a", over="a", gone="a")
    await work.writes("b", over="b")
    await work.removes("b", "gone")

    fork = await work.fork("ab")
    await fork.writes("c", over="c", gone="c")
    second = {keys: await (await fork.fork(keys)).shown() for keys in ("", "a", "ab", "abc")}

    assert second == {
        "": {},
        "a": {"over": "a", "gone": "a"},
        "ab": {"over": "b"},
        "abc": {"over": "c", "gone": "c"},
    }


async def test_a_task_that_is_set_aside_leaves_no_trace_in_the_files(store: Store) -> None:
    work = Work(store)
    await work.writes("a", over="a", gone="a", later="a")
    await work.writes("b", over="b", extra="b", later="b")
    await work.removes("b", "gone")
    await work.writes("c", later="c")
    zombie = await work.place("b")

    await work.set_aside("b")

    before = {"over": "a", "gone": "a", "later": "c"}
    assert await work.shown() == before
    with pytest.raises(LeaseLost):
        await work._does(zombie, FileChanges(removed=("over",)))
    await work.writes("b", fence=2, over="anew")
    await work.set_aside("b")  # a second retry that comes late
    assert await work.shown() == {**before, "over": "anew"}
    assert await (await work.fork("ab")).shown() == {"over": "anew", "gone": "a", "later": "a"}


async def test_what_a_task_wrote_and_removed_itself_is_not_there(store: Store) -> None:
    work = Work(store)
    await work.writes("a", draft="a")
    await work.removes("a", "draft")
    await work.writes("b", draft="b")

    assert await (await work.fork("a")).shown() == {}
    await work.set_aside("b")
    assert await work.shown() == {}


async def test_another_tenant_copies_nothing(store: Store) -> None:
    work = Work(store)
    await work.writes("a", over="a")
    await work.writes("b", over="b")
    to_run = new_id()

    await store.histories.copy_files(new_id(), work.run, to_run=to_run, tasks={work.tasks["a"]: new_id()})

    assert await store.files.of_run(work.tenant, to_run) == []


async def test_earlier_files_make_room_for_later_ones_and_are_refused_by_name(
    stored: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_versions, "MAX_EARLIER_BYTES", 64)
    work = Work(stored)
    for task in "abc":
        await work.writes(task, one=task * 16, small=task, two=task * 16)
    await work.writes("a", one="a")

    assert (await (await work.fork("c")).shown())["two"] == "c" * 16
    assert (await (await work.fork("b")).shown())["two"] == "b" * 16
    with pytest.raises(EarlierFileGone, match="'small', 'two' cannot be had"):
        await work.fork("a")
    with pytest.raises(EarlierFileGone):
        await work.set_aside("b", "c")
    assert (await work.shown())["two"] == "c" * 16
