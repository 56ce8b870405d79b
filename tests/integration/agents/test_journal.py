"""One suite for the journal and the runs' files: PostgreSQL and the in-memory twin answer alike."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from tests.conftest import Run
from tests.fakes.agents_journal import JournalInMemory

from cognitionos.agents.application.ports import EffectStart, Files, Journal
from cognitionos.agents.domain.agent_run import (
    AgentRunStart,
    AgentRunState,
    AgentRunStatus,
    LeaseLost,
    Place,
    Step,
    StepKind,
)
from cognitionos.agents.domain.tool import Effect
from cognitionos.agents.domain.workspace import FileChanges, FileNotFound, InputIsReadOnly, NewFile, WorkspaceLimit
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.kernel.ids import new_id
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
NOTHING = FileChanges()


class Store(Protocol):
    """Both ports."""

    journal: Journal
    files: Files


class _Both:
    def __init__(self, journal: Journal, files: Files) -> None:
        self.journal, self.files = journal, files


@pytest.fixture(scope="module", params=["postgresql", "memory"])
def store(request: pytest.FixtureRequest, settings: Settings, run: Run) -> Iterator[Store]:
    if request.param == "memory":
        memory = JournalInMemory()
        yield _Both(memory, memory)
        return
    database = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(database.open())
    yield _Both(PostgresJournal(database), PostgresFiles(database))
    run(database.close())


def a_start(**changes: Any) -> AgentRunStart:
    """The begin of an agent run of a task of its own."""
    given: dict[str, Any] = {
        "agent_run_id": new_id(),
        "tenant_id": new_id(),
        "run_id": new_id(),
        "task_id": new_id(),
        "task_key": "t1",
        "fence": 1,
        "role": "executor",
        "prompts": {"executor": "executor@1"},
        "opening": ({"role": "system", "content": "You are."},),
        "started_at": NOON,
    }
    return AgentRunStart(**{**given, **changes})


def again(start: AgentRunStart, *, fence: int) -> AgentRunStart:
    """A later attempt at the same task, by a process that knows nothing of the first."""
    return a_start(
        tenant_id=start.tenant_id,
        run_id=start.run_id,
        task_id=start.task_id,
        fence=fence,
        prompts={"executor": "executor@2"},
        opening=({"role": "system", "content": "Something newer."},),
    )


def place_of(start: AgentRunStart, state: AgentRunState) -> Place:
    """Where a worker with this start writes to."""
    return Place(
        tenant_id=start.tenant_id,
        run_id=start.run_id,
        agent_run_id=state.agent_run_id,
        task_id=start.task_id,
        fence=start.fence,
    )


def a_step(key: str, **changes: Any) -> Step:
    """A model's answer."""
    given: dict[str, Any] = {
        "key": key,
        "role": "executor",
        "kind": StepKind.MODEL,
        "content": {"text": "hm", "tool_calls": []},
        "started_at": NOON,
        "ended_at": NOON,
        "model": "scripted/model",
        "cost_nanousd": 7,
        "prompt_tokens": 100,
        "completion_tokens": 10,
    }
    return Step(**{**given, **changes})


async def opened(store: Store, start: AgentRunStart) -> Place:
    """The place to write to after opening."""
    return place_of(start, await store.journal.open(start))


async def test_a_step_comes_back_as_it_was_written_types_and_all(store: Store) -> None:
    start = a_start()
    place = await opened(store, start)
    step = a_step("executor/0/0", simulated=True)
    await store.journal.record(place, step, changes=NOTHING)

    state = await store.journal.open(again(start, fence=2))

    assert state.agent_run_id == place.agent_run_id
    assert state.steps == {"executor/0/0": step}
    assert isinstance(state.steps["executor/0/0"].kind, StepKind)


async def test_a_later_attempt_goes_on_with_the_prompt_and_opening_of_the_first(store: Store) -> None:
    start = a_start()
    await store.journal.open(start)

    state = await store.journal.open(again(start, fence=2))

    assert state.prompts == start.prompts
    assert state.opening == start.opening


async def test_steps_come_back_in_the_order_they_were_written(store: Store) -> None:
    start = a_start()
    place = await opened(store, start)
    keys = ["executor/0/0", "executor/0/0.1", "executor/0/0.0", "critic/0/0"]
    for key in keys:
        await store.journal.record(place, a_step(key), changes=NOTHING)

    state = await store.journal.open(again(start, fence=2))

    assert list(state.steps) == keys


async def test_an_older_fencing_number_is_refused_everything(store: Store) -> None:
    start = a_start(fence=4)
    late = await opened(store, start)
    await store.journal.open(again(start, fence=5))
    effect = EffectStart(key="k", step_key="s", tool="t", effect=Effect.UNSAFE, arguments="{}")
    change = FileChanges(written=(NewFile(name="a.txt", content=b"late"),))

    with pytest.raises(LeaseLost):
        await store.journal.record(late, a_step("executor/0/0"), changes=change)
    with pytest.raises(LeaseLost):
        await store.journal.begin_effect(late, effect)
    with pytest.raises(LeaseLost):
        await store.journal.finish(late, AgentRunStatus.SUCCEEDED)
    with pytest.raises(LeaseLost):
        await store.journal.open(again(start, fence=4))

    state = await store.journal.open(again(start, fence=5))
    assert state.steps == {}
    assert await store.files.of_run(start.tenant_id, start.run_id) == []


async def test_an_effect_is_first_only_once_whoever_asks(store: Store) -> None:
    start = a_start()
    place = await opened(store, start)
    effect = EffectStart(key=new_id().hex, step_key="s", tool="t", effect=Effect.UNSAFE, arguments="{}")

    first = await store.journal.begin_effect(place, effect)
    later = await store.journal.begin_effect(await opened(store, again(start, fence=2)), effect)

    assert (first, later) == (True, False)


async def test_an_effect_whose_end_was_journaled_may_be_made_again(store: Store) -> None:
    start = a_start()
    place = await opened(store, start)
    effect = EffectStart(key=new_id().hex, step_key="s", tool="t", effect=Effect.UNSAFE, arguments="{}")
    await store.journal.begin_effect(place, effect)
    await store.journal.record(place, a_step("s"), changes=NOTHING, effect_key=effect.key)

    retried = await store.journal.begin_effect(place, effect)
    interrupted = await store.journal.begin_effect(place, effect)

    assert (retried, interrupted) == (True, False)


async def test_files_are_kept_with_their_step_or_not_at_all(store: Store) -> None:
    start = a_start()
    place = await opened(store, start)
    tenant, run = start.tenant_id, start.run_id
    await store.files.put_input(tenant, run, name="in.csv", media_type="text/csv", content=b"1")
    both = FileChanges(written=(NewFile(name="out.md", content=b"hello"), NewFile(name="in.csv", content=b"2")))

    with pytest.raises(InputIsReadOnly):
        await store.journal.record(place, a_step("executor/0/0.0"), changes=both)
    assert [file.name for file in await store.files.of_run(tenant, run)] == ["in.csv"]
    written = await store.journal.record(
        place, a_step("executor/0/0.0"), changes=FileChanges(written=(NewFile(name="./out.md", content=b"hello"),))
    )

    assert [(file.name, file.media_type, file.bytes, file.origin) for file in written] == [
        ("out.md", "text/markdown", 5, "output")
    ]
    assert await store.files.read(tenant, run, "out.md") == (written[0], b"hello")
    assert await store.files.of_agent_run(tenant, place.agent_run_id) == list(written)
    assert (await store.files.read(tenant, run, "in.csv"))[1] == b"1"


async def test_outputs_can_be_removed_and_inputs_cannot(store: Store) -> None:
    start = a_start()
    place = await opened(store, start)
    tenant, run = start.tenant_id, start.run_id
    await store.files.put_input(tenant, run, name="in.csv", media_type="", content=b"1")
    await store.journal.record(place, a_step("a"), changes=FileChanges(written=(NewFile(name="out.md", content=b"x"),)))

    await store.journal.record(place, a_step("b"), changes=FileChanges(removed=("out.md", "in.csv")))

    assert [file.name for file in await store.files.of_run(tenant, run)] == ["in.csv"]


async def test_a_file_that_is_too_large_is_refused(store: Store) -> None:
    place = await opened(store, a_start())
    large = FileChanges(written=(NewFile(name="large.bin", content=bytes(16 * 2**20 + 1)),))

    with pytest.raises(WorkspaceLimit):
        await store.journal.record(place, a_step("a"), changes=large)


async def test_another_tenant_sees_no_file(store: Store) -> None:
    run = new_id()
    await store.files.put_input(new_id(), run, name="in.csv", media_type="", content=b"1")
    stranger = new_id()

    assert await store.files.of_run(stranger, run) == []
    with pytest.raises(FileNotFound):
        await store.files.read(stranger, run, "in.csv")
