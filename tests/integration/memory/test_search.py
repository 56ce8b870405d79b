"""Search against the real database: recall, plans, isolation, and what fusion is worth."""

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.conftest import Run
from tests.integration.memory.bulk import Clustered, load, without_vector_index
from tests.servers import TestDatabase

from cognitionos.memory.application.ports import Embedding, Found, Question
from cognitionos.memory.infrastructure.search_store import SearchStore
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database

ITEMS, OTHERS = 4500, 500


class Filled(NamedTuple):
    database: Database
    admin_url: str
    tenant_id: UUID
    project_id: UUID
    small_project_id: UUID
    clustered: Clustered


@pytest.fixture(scope="module")
def filled(database: TestDatabase, settings: Settings, run: Run) -> Iterator[Filled]:
    tenant_id, project_id, small_project_id = uuid4(), uuid4(), uuid4()
    clustered = Clustered(topics=60)

    def load_rows() -> None:
        def numbered(items: int) -> list[str]:
            return [f"fact number {n} about topic{n % 50}" for n in range(items)]

        for tenant, project, items in (
            (tenant_id, project_id, ITEMS),
            (tenant_id, small_project_id, 40),
            (uuid4(), uuid4(), OTHERS),
        ):
            load(database.admin_url, tenant_id=tenant, project_id=project, contents=numbered(items), embed=clustered)

    without_vector_index(database.admin_url, load_rows)
    app = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(app.open())
    yield Filled(app, database.admin_url, tenant_id, project_id, small_project_id, clustered)
    run(app.close())


def a_question(project_id: UUID, *, words: str = "", embedding: Embedding | None = None) -> Question:
    return Question(
        project_id=project_id,
        words=words,
        embedding=embedding,
        kinds=(),
        min_confidence=0.0,
        include_superseded=False,
        at=datetime.now(UTC),
    )


async def search(filled: Filled, question: Question, *, exact_up_to: int, tenant_id: UUID | None = None) -> Found:
    store = SearchStore(filled.database, exact_up_to=exact_up_to)
    async with store.read(tenant_id or filled.tenant_id) as index:
        return await index.candidates(question)


def nearest(found: Found, count: int = 10) -> set[UUID]:
    ranked = sorted(found.candidates, key=lambda each: each.similarity or -1.0, reverse=True)
    return {each.id for each in ranked[:count]}


async def test_the_index_finds_at_least_95_of_100_that_the_exact_search_finds(filled: Filled) -> None:
    shares = []
    for _ in range(40):
        question = a_question(filled.project_id, embedding=filled.clustered())
        exact = await search(filled, question, exact_up_to=10**6)
        approximate = await search(filled, question, exact_up_to=0)
        assert (exact.path, approximate.path) == ("exact", "index")
        shares.append(len(nearest(exact) & nearest(approximate)) / 10)

    assert statistics.fmean(shares) >= 0.95


async def test_a_small_project_beside_a_large_one_is_searched_exactly_whatever_the_threshold(filled: Filled) -> None:
    question = a_question(filled.small_project_id, embedding=filled.clustered())

    found = await search(filled, question, exact_up_to=0)

    assert found.path == "exact"
    assert len(found.candidates) == 40


async def test_the_true_distance_comes_with_every_candidate(filled: Filled) -> None:
    question = a_question(filled.project_id, words="topic7", embedding=filled.clustered())

    found = await search(filled, question, exact_up_to=0)

    assert found.corpus.matches == (ITEMS // 50,)
    assert found.corpus.items == ITEMS
    assert all(each.similarity is not None and -1.001 <= each.similarity <= 1.001 for each in found.candidates)
    assert sum(each.frequencies == (1,) for each in found.candidates) >= ITEMS // 50


@pytest.mark.parametrize(
    ("project", "exact_up_to", "used", "unused"),
    [
        ("small", 10_000, "memories_project", "memories_embedding"),
        ("large", 0, "memories_embedding", None),
        ("large", 10_000, "memories_terms", None),
    ],
)
async def test_a_search_uses_its_indexes_and_never_reads_the_whole_table(
    filled: Filled, project: str, exact_up_to: int, used: str, unused: str | None
) -> None:
    project_id = filled.small_project_id if project == "small" else filled.project_id
    vector = "[" + ",".join(str(value) for value in filled.clustered().vector) + "]"

    async with filled.database.transaction(filled.tenant_id) as connection:
        await connection.execute(
            "SELECT * FROM memory_candidates(%s, 'topic7', %s::halfvec, 'synthetic', NULL, 0, false, now(), 100, %s)",
            (project_id, vector, exact_up_to),
        )
        cursor = await connection.execute(
            "SELECT indexrelname, pg_stat_get_xact_numscans(indexrelid) FROM pg_stat_user_indexes "
            "WHERE relname = 'memories' UNION ALL "
            "SELECT 'seq', pg_stat_get_xact_numscans('memories'::regclass)"
        )
        scans = {str(row[0]): int(row[1]) for row in await cursor.fetchall()}

    assert scans["seq"] == 0
    assert scans[used] > 0
    assert unused is None or scans[unused] == 0


async def test_without_a_tenant_the_search_gives_nothing(filled: Filled) -> None:
    async with filled.database.connection() as connection:
        found = await (
            await connection.execute(
                "SELECT * FROM memory_candidates(%s, 'fact', NULL, NULL, NULL, 0, true, now(), 100, 100)",
                (filled.project_id,),
            )
        ).fetchall()
        rows = await (await connection.execute("SELECT id FROM memories")).fetchall()

    assert (found, rows) == ([], [])


async def test_a_tenant_cannot_search_the_project_of_another(filled: Filled) -> None:
    question = a_question(filled.project_id, words="fact", embedding=filled.clustered())

    found = await search(filled, question, exact_up_to=0, tenant_id=uuid4())

    assert found.candidates == []


async def test_a_tenant_can_neither_write_nor_move_a_memory_into_another(filled: Filled) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with filled.database.transaction(filled.tenant_id) as connection:
            await connection.execute("UPDATE memories SET tenant_id = %s", (uuid4(),))


def test_only_the_app_role_may_search(filled: Filled) -> None:
    with psycopg.connect(filled.admin_url) as connection:
        granted = connection.execute(
            "SELECT p.proname, r.rolname, has_function_privilege('public', p.oid, 'execute') "
            "FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner "
            "WHERE p.proname IN ('memory_candidates', 'memories_to_embed') AND p.prosecdef ORDER BY 1"
        ).fetchall()

    assert granted == [
        ("memories_to_embed", "cognitionos_dispatch", False),
        ("memory_candidates", "cognitionos_dispatch", False),
    ]
