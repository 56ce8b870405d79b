"""Memory's store, the fake and the real one: the same promises."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import pytest
from tests.conftest import Run
from tests.fakes.memory_embedder import MODEL, embed
from tests.fakes.memory_store import FakeMemoryStore

from cognitionos.kernel.ids import new_id
from cognitionos.memory.application.ports import Embedding, Index, Question, Unembedded, Work
from cognitionos.memory.domain.item import MemoryItem, MemoryKind, Source
from cognitionos.memory.domain.ranking import rank
from cognitionos.memory.domain.words import words_of
from cognitionos.memory.infrastructure.repository import MemoryWork
from cognitionos.memory.infrastructure.search_store import SearchStore
from cognitionos.platform.bus import Bus
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database
from cognitionos.platform.outbox import Outbox
from cognitionos.platform.unit_of_work import units_of_work

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TENANT, PROJECT = uuid4(), uuid4()


class Store(Protocol):
    def begin(self, tenant_id: UUID) -> AbstractAsyncContextManager[Work]: ...
    def read(self, tenant_id: UUID) -> AbstractAsyncContextManager[Index]: ...
    async def to_embed(self, batch: int) -> list[Unembedded]: ...


class RealStore:
    def __init__(self, database: Database) -> None:
        bus = Bus()
        outbox = Outbox(database=database, bus=bus, send=lambda *_: None)
        self.begin: Any = units_of_work(MemoryWork, database=database, bus=bus, relay=outbox)
        search = SearchStore(database)
        self.read: Any = search.read
        self.to_embed = search.to_embed


@pytest.fixture(params=["fake", "real"], scope="module")
def store(request: pytest.FixtureRequest, run: Run) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeMemoryStore()
        return
    settings: Settings = request.getfixturevalue("settings")
    database = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(database.open())
    yield RealStore(database)
    run(database.close())


def an_item(content: str, **changes: Any) -> MemoryItem:
    values: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": TENANT,
        "project_id": PROJECT,
        "kind": MemoryKind.FACT,
        "content": content,
        "source": Source(),
        "confidence": 0.9,
        "created_at": NOON,
        "valid_from": NOON,
    }
    return MemoryItem(**{**values, **changes})


def a_question(text: str, **changes: Any) -> Question:
    question = Question(
        project_id=PROJECT,
        words=" ".join(words_of(text)),
        embedding=an_embedding(text),
        kinds=(),
        min_confidence=0.0,
        include_superseded=False,
        at=NOON + timedelta(hours=1),
    )
    return replace(question, **changes)


def an_embedding(text: str) -> Embedding:
    return Embedding(model=MODEL, vector=embed(text))


async def add(store: Store, item: MemoryItem, *, embedded: bool = True) -> MemoryItem:
    async with store.begin(item.tenant_id) as work:
        assert await work.memories.add(item, an_embedding(item.content) if embedded else None)
    return item


async def ask(store: Store, question: Question, tenant_id: UUID = TENANT) -> list[UUID]:
    async with store.read(tenant_id) as index:
        found = await index.candidates(question)
        return [each.id for each in rank(found.candidates, found.corpus)]


async def test_an_item_comes_back_with_the_types_it_was_stored_with(store: Store) -> None:
    source = Source(goal_id=uuid4(), run_id=uuid4(), url="https://example.org/a", user="ann")
    stored = await add(
        store,
        an_item(
            "Stored and reloaded",
            kind=MemoryKind.DECISION,
            source=source,
            tags=("a", "b c"),
            confidence=0.3,
            valid_until=NOON + timedelta(days=1),
        ),
    )

    async with store.begin(TENANT) as work:
        loaded = await work.memories.get(PROJECT, stored.id)

    assert loaded is not None
    assert vars(loaded) == vars(stored)
    assert {name: type(value) for name, value in vars(loaded).items()} == {
        name: type(value) for name, value in vars(stored).items()
    }


async def test_the_same_content_is_stored_once_in_a_project(store: Store) -> None:
    first = await add(store, an_item("One of a kind"))
    elsewhere = uuid4()

    async with store.begin(TENANT) as work:
        again = await work.memories.add(an_item("One  of a\nkind"), None)
        other = await work.memories.add(an_item("One of a kind", project_id=elsewhere), None)
        known = await work.memories.same(PROJECT, "One of a kind")

    assert (again, other) == (False, True)
    assert known is not None
    assert known.id == first.id


async def test_a_superseded_item_no_longer_stands_for_its_content(store: Store) -> None:
    old = await add(store, an_item("The office is in Paris"))
    old.superseded_by = new_id()

    async with store.begin(TENANT) as work:
        await work.memories.save(old)

    async with store.begin(TENANT) as work:
        assert await work.memories.same(PROJECT, "The office is in Paris") is None
        assert await work.memories.add(an_item("The office is in Paris"), None)


async def test_a_unit_of_work_that_fails_stores_nothing(store: Store) -> None:
    item = an_item("Never committed")

    with pytest.raises(ZeroDivisionError):
        async with store.begin(TENANT) as work:
            await work.memories.add(item, None)
            raise ZeroDivisionError

    async with store.begin(TENANT) as work:
        assert await work.memories.get(PROJECT, item.id) is None


async def test_a_word_finds_its_other_forms(store: Store) -> None:
    item = await add(store, an_item("Invoices are archived in docs/ledger/invoices.csv"))

    found = await ask(store, a_question("invoice", embedding=None))

    assert item.id in found


async def test_without_an_embedding_of_the_question_words_alone_decide(store: Store) -> None:
    item = await add(store, an_item("Zanzibar exports cloves"))

    async with store.read(TENANT) as index:
        found = await index.candidates(a_question("zanzibar", embedding=None))

    assert found.path == "text"
    assert [(each.id, each.similarity, each.frequencies) for each in found.candidates] == [(item.id, None, (1,))]


async def test_vectors_of_another_model_are_not_compared(store: Store) -> None:
    item = await add(store, an_item("Quetzal feathers"))
    foreign = Embedding(model="another/model", vector=embed("Quetzal feathers"))

    async with store.read(TENANT) as index:
        found = await index.candidates(a_question("quetzal", embedding=foreign))

    assert {each.id: each.similarity for each in found.candidates}[item.id] is None


async def test_filters_hold_for_both_ways_of_searching(store: Store) -> None:
    fit = await add(store, an_item("The walrus rule stands", kind=MemoryKind.DECISION))
    await add(store, an_item("The walrus rule is a note", kind=MemoryKind.NOTE))
    await add(store, an_item("The walrus rule is doubtful", kind=MemoryKind.DECISION, confidence=0.2))
    await add(store, an_item("The walrus rule is over", kind=MemoryKind.DECISION, valid_until=NOON))
    old = an_item("The walrus rule was replaced", kind=MemoryKind.DECISION, superseded_by=fit.id)
    await add(store, old)

    question = a_question("walrus rule", kinds=(MemoryKind.DECISION,), min_confidence=0.5)
    found = [one for one in await ask(store, question) if one in {fit.id, old.id}]
    with_old = await ask(store, replace(question, include_superseded=True))

    assert found == [fit.id]
    assert {fit.id, old.id} <= set(with_old)


async def test_a_tenant_and_a_project_see_only_their_own(store: Store) -> None:
    stranger, elsewhere = uuid4(), uuid4()
    theirs = await add(store, an_item("Xylophone secrets", tenant_id=stranger))
    other = await add(store, an_item("Xylophone secrets", project_id=elsewhere))

    found = await ask(store, a_question("xylophone secrets"))
    theirs_found = await ask(store, a_question("xylophone secrets"), stranger)

    assert not {theirs.id, other.id} & set(found)
    assert theirs_found == [theirs.id]


async def test_what_is_deleted_is_gone(store: Store) -> None:
    item = await add(store, an_item("Ephemeral ibex"))

    async with store.begin(TENANT) as work:
        deleted, again = (
            await work.memories.delete(PROJECT, item.id),
            await work.memories.delete(PROJECT, item.id),
        )

    assert (deleted, again) == (True, False)
    assert item.id not in await ask(store, a_question("ephemeral ibex"))


async def test_what_came_from_a_run_is_deleted_with_it(store: Store) -> None:
    run_id = uuid4()
    mine = [await add(store, an_item(f"Runaway reindeer {n}", source=Source(run_id=run_id))) for n in range(2)]
    other = await add(store, an_item("Runaway reindeer elsewhere", source=Source(run_id=uuid4())))

    async with store.begin(TENANT) as work:
        deleted, again = await work.memories.delete_from(run_id), await work.memories.delete_from(run_id)
    async with store.begin(uuid4()) as work:
        by_a_stranger = await work.memories.delete_from(other.source.run_id or run_id)

    assert sorted(deleted) == sorted((PROJECT, item.id) for item in mine)
    assert (again, by_a_stranger) == ([], [])
    known = {item.id for item in (*mine, other)}
    assert known & set(await ask(store, a_question("runaway reindeer"))) == {other.id}


async def test_an_item_without_an_embedding_is_offered_until_it_has_one(store: Store) -> None:
    item = await add(store, an_item("Waiting for a vector"), embedded=False)

    offered = {each.id: each for each in await store.to_embed(1000)}
    async with store.begin(TENANT) as work:
        await work.memories.set_embedding(item.id, an_embedding(item.content))
        await work.memories.set_embedding(uuid4(), an_embedding("gone meanwhile"))

    assert offered[item.id] == Unembedded(id=item.id, tenant_id=TENANT, project_id=PROJECT, content=item.content)
    assert item.id not in {each.id for each in await store.to_embed(1000)}
    assert (await ask(store, a_question("waiting for a vector")))[0] == item.id
