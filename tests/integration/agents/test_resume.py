"""A worker dies, another goes on from the journal in PostgreSQL: nothing finished is done again."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from tests.conftest import Run
from tests.fakes.agents_crash import World, assignment_of, crash_bench

from cognitionos.agents.application.ports import EffectStart, Journal, Within
from cognitionos.agents.domain.agent_run import AgentRunStart, AgentRunState, AgentRunStatus, Place, Step
from cognitionos.agents.domain.workspace import Artifact, FileChanges
from cognitionos.agents.facade import LeaseLost
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.kernel.ids import new_id
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database

ROOT = Path(__file__).resolve().parents[3]
STEPS = 7  # an answer, two tool calls, a draft, a verdict, a second draft, a verdict
MODEL_STEPS = 5


@pytest.fixture(scope="module")
def open_database(settings: Settings, run: Run) -> Iterator[Database]:
    opened = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(opened.open())
    yield opened
    run(opened.close())


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "world.log").touch()
    return World(tmp_path / "world.log")


def some_ids() -> dict[str, str]:
    return {name: str(new_id()) for name in ("tenant_id", "project_id", "run_id", "task_id")}


class Killed(BaseException):
    """The process is gone: nothing that handles errors sees this."""


@dataclass
class DyingJournal:
    """A journal whose worker dies right after the commit of step number `last`."""

    journal: Journal
    last: int
    written: int = 0

    async def open(self, start: AgentRunStart) -> AgentRunState:
        return await self.journal.open(start)

    async def record(
        self,
        place: Place,
        step: Step,
        *,
        changes: FileChanges,
        effect_key: str | None = None,
        within: Within | None = None,
    ) -> tuple[Artifact, ...]:
        kept = await self.journal.record(place, step, changes=changes, effect_key=effect_key, within=within)
        self.written += 1
        if self.written >= self.last:
            raise Killed
        return kept

    async def began_with(self, tenant_id: UUID, run_id: UUID, role: str, /) -> int | None:
        return await self.journal.began_with(tenant_id, run_id, role)

    async def begin_effect(self, place: Place, effect: EffectStart) -> bool:
        return await self.journal.begin_effect(place, effect)

    async def finish(self, place: Place, status: AgentRunStatus, *, error: str | None = None) -> None:
        await self.journal.finish(place, status, error=error)


@pytest.mark.parametrize("last", range(1, STEPS + 1))
async def test_a_worker_that_dies_after_any_step_is_replaced_without_asking_the_model_again(
    last: int, open_database: Database, world: World
) -> None:
    ids = some_ids()
    dying = crash_bench(open_database, world, journal=DyingJournal(PostgresJournal(open_database), last))
    with pytest.raises(BaseException) as death:
        await dying.agents.perform(assignment_of(ids, fence=1))
    assert "Killed" in repr(death.value)

    outcome = await crash_bench(open_database, world).agents.perform(assignment_of(ids, fence=2))

    assert (outcome.text, outcome.steps, outcome.rounds) == ("second draft", STEPS, 2)
    assert len(world.lines("model")) == MODEL_STEPS
    assert len({line.split()[1] for line in world.lines("effect")}) == 2


@pytest.mark.parametrize(
    ("point", "model_calls", "effects"),
    [("agents.after_step", 5, 2), ("agents.after_model_answer", 5, 2), ("agents.after_tool_effect", 5, 3)],
)
async def test_sigkill_at_each_crash_point_repeats_a_keyed_effect_only_under_its_key(
    point: str, model_calls: int, effects: int, settings: Settings, open_database: Database, world: World
) -> None:
    ids = some_ids()
    assert killed_at(point, ids, settings, world, tool="double") == -signal.SIGKILL

    outcome = await crash_bench(open_database, world).agents.perform(assignment_of(ids, fence=2))

    done = world.lines("effect")
    assert outcome.text == "second draft"
    assert len(world.lines("model")) == model_calls
    assert 2 <= len(done) <= effects
    assert len({line.split()[1] for line in done}) == 2


async def test_an_unsafe_call_in_flight_at_the_kill_is_not_repeated_and_the_model_is_told(
    settings: Settings, open_database: Database, world: World
) -> None:
    ids = some_ids()
    assert killed_at("agents.after_tool_effect", ids, settings, world, tool="send") == -signal.SIGKILL
    bench = crash_bench(open_database, world, tool="send")

    outcome = await bench.agents.perform(assignment_of(ids, fence=2))

    async with open_database.transaction(assignment_of(ids, fence=2).tenant_id) as connection:
        query = "SELECT content ->> 'outcome' FROM agent_steps WHERE kind = 'tool' ORDER BY key"
        outcomes = [row[0] for row in await (await connection.execute(query)).fetchall()]
    done = [line.split()[1] for line in world.lines("effect")]
    assert outcome.text == "second draft"
    assert "interrupted" in outcomes
    assert len(done) == len(set(done))


async def test_a_worker_that_lost_its_lease_can_write_nothing_more(open_database: Database, world: World) -> None:
    ids = some_ids()
    await crash_bench(open_database, world).agents.perform(assignment_of(ids, fence=2))

    with pytest.raises(LeaseLost):
        await crash_bench(open_database, world).agents.perform(assignment_of(ids, fence=1))


async def test_a_finished_task_performed_again_gives_the_same_outcome_from_the_journal(
    open_database: Database, world: World
) -> None:
    ids = some_ids()
    first = await crash_bench(open_database, world).agents.perform(assignment_of(ids, fence=1))

    again = await crash_bench(open_database, world).agents.perform(assignment_of(ids, fence=2))

    assert again == first
    assert len(world.lines("model")) == MODEL_STEPS


def killed_at(point: str, ids: dict[str, str], settings: Settings, world: World, *, tool: str) -> int:
    """The exit status of a process that worked on the task until the crash point."""
    given = {
        "database_url": settings.database_url.get_secret_value(),
        "crash_point": point,
        "ids": ids,
        "log": str(world.log),
        "tool": tool,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.agents_crash"],
        input=json.dumps(given).encode(),
        cwd=ROOT,
        timeout=120,
        check=False,
        capture_output=True,
    )
    return done.returncode
