"""Remember, recall, consolidate and backfill, on the fakes that pass the real store's suite."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.fakes.memory_embedder import FakeEmbedder
from tests.fakes.memory_store import FakeMemoryStore

from cognitionos.events.memory import MemoryForgotten, MemoryRemembered
from cognitionos.events.planning import RunFinished
from cognitionos.kernel.ids import new_id
from cognitionos.memory.application.backfill import EmbeddingBackfill
from cognitionos.memory.application.consolidate import Consolidate
from cognitionos.memory.application.embedding import Embedder
from cognitionos.memory.application.ports import Scope
from cognitionos.memory.application.recall import Recall
from cognitionos.memory.application.remember import NewMemory, Remember
from cognitionos.memory.domain.item import MemoryInvalid, MemoryItem, MemoryKind, MemoryNotFound
from cognitionos.memory.facade import Memory
from cognitionos.platform.bus import Delivery
from cognitionos.platform.outbox import AlreadyDelivered

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
SCOPE = Scope(tenant_id=uuid4(), project_id=uuid4())


@dataclass
class World:
    store: FakeMemoryStore = field(default_factory=FakeMemoryStore)
    embed: FakeEmbedder = field(default_factory=FakeEmbedder)
    time: datetime = NOON

    @property
    def remember(self) -> Remember:
        embedder = Embedder(embed=self.embed)
        return Remember(begin=self.store.begin, embedder=embedder, new_id=new_id, now=lambda: self.time)

    @property
    def recall(self) -> Recall:
        return Recall(read=self.store.read, embedder=Embedder(embed=self.embed), now=lambda: self.time)

    @property
    def items(self) -> list[MemoryItem]:
        return [item for item, _ in self.store.rows.values()]

    async def find(self, query: str, **how: Any) -> list[str]:
        return [each.item.content for each in (await self.recall.recall(SCOPE, query, **how)).found]


def a_finished_run(**changes: Any) -> RunFinished:
    event = RunFinished(
        tenant_id=SCOPE.tenant_id,
        at=NOON,
        project_id=SCOPE.project_id,
        goal_id=uuid4(),
        run_id=uuid4(),
        status="succeeded",
        statement="Compare the suppliers",
        result_text="Nordwind is the cheapest at 12,400 EUR. That is all.",
    )
    return replace(event, **changes)


def a_delivery() -> Delivery:
    return Delivery(id=uuid4(), tenant_id=SCOPE.tenant_id, attempt=1)


async def test_what_is_remembered_is_recalled_and_announced() -> None:
    world = World()

    kept = await world.remember.remember(SCOPE, NewMemory(content=" The bridge closes at nine ", tags=("city",)))

    assert (kept.created, kept.item.content) == (True, "The bridge closes at nine")
    assert await world.find("when does the bridge close") == ["The bridge closes at nine"]
    assert [(type(e), e.tenant_id) for e in world.store.published] == [(MemoryRemembered, SCOPE.tenant_id)]


async def test_the_same_content_is_neither_stored_nor_embedded_again() -> None:
    world = World()
    first = await world.remember.remember(SCOPE, NewMemory(content="Once is enough"))

    again = await world.remember.remember(SCOPE, NewMemory(content="Once  is enough"))

    assert (again.created, again.item.id) == (False, first.item.id)
    assert world.embed.texts == ["Once is enough"]


async def test_content_that_ran_out_is_renewed_by_saying_it_again() -> None:
    world = World()
    await world.remember.remember(SCOPE, NewMemory(content="Lunch is at noon", valid_until=NOON + timedelta(hours=1)))
    world.time = NOON + timedelta(days=1)
    before = await world.find("lunch")

    await world.remember.remember(SCOPE, NewMemory(content="Lunch is at noon"))

    assert (before, await world.find("lunch")) == ([], ["Lunch is at noon"])


async def test_a_superseding_memory_hides_the_old_one_unless_asked_for() -> None:
    world = World()
    old = await world.remember.remember(SCOPE, NewMemory(content="The office is in Paris"))

    await world.remember.remember(SCOPE, NewMemory(content="The office is in Rome", supersedes=old.item.id))

    assert await world.find("office") == ["The office is in Rome"]
    assert len(await world.find("office", include_superseded=True)) == 2


async def test_superseding_what_is_not_there_is_not_found_and_stores_nothing() -> None:
    world = World()

    with pytest.raises(MemoryNotFound):
        await world.remember.remember(SCOPE, NewMemory(content="New", supersedes=uuid4()))

    assert world.items == []


async def test_without_an_embedder_memory_goes_on_with_words_and_says_so() -> None:
    world = World()
    world.embed.down = True

    kept = await world.remember.remember(SCOPE, NewMemory(content="The heron nests in April"))
    answer = await world.recall.recall(SCOPE, "heron")

    assert not kept.embedded
    assert answer.degraded
    assert [each.item.id for each in answer.found] == [kept.item.id]


async def test_an_embedder_with_other_dimensions_counts_as_none() -> None:
    world = World(embed=FakeEmbedder(dimensions=384))

    assert not (await world.remember.remember(SCOPE, NewMemory(content="Too wide"))).embedded


async def test_a_long_memory_is_embedded_in_pieces_and_gets_one_vector() -> None:
    world = World()

    await world.remember.remember(SCOPE, NewMemory(content="A sentence about herons. " * 200))

    [(_, embedding)] = world.store.rows.values()
    assert embedding is not None
    assert len(embedding.vector) == 256
    assert len(world.embed.texts) == 3


async def test_the_backfill_gives_what_was_stored_without_an_embedder_its_vector() -> None:
    world = World()
    world.embed.down = True
    await world.remember.remember(SCOPE, NewMemory(content="The automobile is red"))
    backfill = EmbeddingBackfill(
        pick=world.store.to_embed, begin=world.store.begin, embedder=Embedder(embed=world.embed)
    )
    meanwhile = await backfill.fill()
    world.embed.down = False

    filled = await backfill.fill()

    assert (meanwhile, filled) == (0, 1)
    assert await world.find("what colour is the car") == ["The automobile is red"]


async def test_a_forgotten_memory_is_found_by_nobody() -> None:
    world = World()
    kept = await world.remember.remember(SCOPE, NewMemory(content="Forget me"))

    await world.remember.forget(SCOPE, kept.item.id)

    assert world.store.rows == {}
    assert type(world.store.published[-1]) is MemoryForgotten
    with pytest.raises(MemoryNotFound):
        await world.remember.forget(SCOPE, kept.item.id)


@pytest.mark.parametrize(
    ("query", "how", "field"),
    [
        (" ", {}, "query"),
        ("x" * 4097, {}, "query"),
        ("a\x00", {}, "query"),
        ("a", {"limit": 0}, "limit"),
        ("a", {"limit": 101}, "limit"),
        ("a", {"min_confidence": 2.0}, "min_confidence"),
    ],
)
async def test_a_bad_question_is_refused_by_the_name_of_its_field(query: str, how: dict[str, Any], field: str) -> None:
    with pytest.raises(MemoryInvalid) as refusal:
        await World().recall.recall(SCOPE, query, **how)

    assert list(refusal.value.fields) == [field]


async def test_a_finished_goal_leaves_its_summary_and_its_findings() -> None:
    world = World()
    event = a_finished_run()

    await Consolidate(remember=world.remember, is_simulated=lambda: False).handle(event, a_delivery())

    kinds = {item.kind: item for item in world.items}
    assert kinds[MemoryKind.SUMMARY].content.startswith("Goal: Compare the suppliers\nResult: Nordwind")
    assert kinds[MemoryKind.FACT].content == "Nordwind is the cheapest at 12,400 EUR."
    assert {item.source.run_id for item in world.items} == {event.run_id}


async def test_a_fact_delivered_twice_is_consolidated_once() -> None:
    world, event, delivery = World(), a_finished_run(), a_delivery()
    await Consolidate(remember=world.remember, is_simulated=lambda: False).handle(event, delivery)
    await world.remember.forget(SCOPE, world.items[0].id)

    with pytest.raises(AlreadyDelivered):
        await Consolidate(remember=world.remember, is_simulated=lambda: False).handle(event, delivery)

    assert len(world.items) == 1


@pytest.mark.parametrize(
    "changes",
    [{"status": "failed"}, {"status": "cancelled"}, {"result_text": None}, {"result_text": "  "}, {"goal_id": None}],
)
async def test_a_run_without_a_result_or_a_goal_leaves_nothing_and_is_settled(changes: dict[str, Any]) -> None:
    world, delivery = World(), a_delivery()

    await Consolidate(remember=world.remember, is_simulated=lambda: False).handle(a_finished_run(**changes), delivery)

    assert world.items == []
    assert world.store.settled == {delivery.id}


async def test_the_facade_remembers_and_recalls_within_the_project() -> None:
    world = World()
    memory = Memory(writing=world.remember, reading=world.recall, is_simulated=lambda: False)
    tenant_id, project_id = SCOPE.tenant_id, SCOPE.project_id

    memory_id: UUID = await memory.remember(tenant_id, project_id, "Use British spelling", "convention")
    recalled = await memory.recall(tenant_id, project_id, "which spelling", limit=5)
    elsewhere = await memory.recall(tenant_id, uuid4(), "which spelling")

    assert [(each.id, each.kind) for each in recalled] == [(memory_id, "convention")]
    assert elsewhere == []


async def test_what_a_simulated_model_said_is_not_shown_to_agents_once_a_real_one_answers() -> None:
    world = World()
    tenant_id, project_id = SCOPE.tenant_id, SCOPE.project_id
    simulated = Memory(writing=world.remember, reading=world.recall, is_simulated=lambda: True)
    real = Memory(writing=world.remember, reading=world.recall, is_simulated=lambda: False)

    await simulated.remember(tenant_id, project_id, "Choose Nordwind Components")
    memory_id = await real.remember(tenant_id, project_id, "Nordwind went bankrupt")

    assert len(await simulated.recall(tenant_id, project_id, "Nordwind")) == 2
    assert [each.id for each in await real.recall(tenant_id, project_id, "Nordwind")] == [memory_id]


async def test_a_memory_that_has_nothing_to_do_with_the_question_is_not_shown_to_agents() -> None:
    world = World()
    memory = Memory(writing=world.remember, reading=world.recall, is_simulated=lambda: False)

    await memory.remember(SCOPE.tenant_id, SCOPE.project_id, "Choose Nordwind Components")

    assert await memory.recall(SCOPE.tenant_id, SCOPE.project_id, "Name a river") == []
