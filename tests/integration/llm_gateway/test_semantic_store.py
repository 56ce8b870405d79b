"""The semantic cache's store and its twin keep the same promises; what only PostgreSQL does comes after."""

import asyncio
import math
import random
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from tests.builders_llm_gateway import a_kept
from tests.conftest import TestDatabase
from tests.fakes.llm_gateway_semantic import MemorySemanticStore

from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.semantic_ports import SemanticStore
from cognitionos.llm_gateway.domain.semantic import DIMENSIONS, Question, Reuse, SemanticRules
from cognitionos.llm_gateway.domain.semantic_calibration import LEVELS, Tally
from cognitionos.llm_gateway.infrastructure.semantic_store import PostgresSemanticStore
from cognitionos.platform.database import Database


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest, open_database: Database) -> SemanticStore:
    return MemorySemanticStore() if request.param == "memory" else PostgresSemanticStore(open_database)


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


def a_question(key: str = "k", *, scope: str = "s", angle: float = 0.0, stored_after: float = 0.0) -> Question:
    """Vectors on a circle: the cosine of two is that of the angle between them."""
    vector = [math.cos(angle), math.sin(angle)] + [0.0] * (DIMENSIONS - 2)
    return Question(key=key, scope=scope, vector=vector, stored_after=stored_after)


def a_reuse(**changes: object) -> Reuse:
    values = {"call_id": new_id(), "key": "asked", "answer_key": "k", "similarity": 0.9, "score": 0.96, "served": True}
    return Reuse(**(values | changes))


async def test_it_is_off_until_the_tenant_turns_it_on(store: SemanticStore, tenant: UUID) -> None:
    before = await store.state(tenant)
    rules = SemanticRules(enabled=True, error_bound=0.02, ttl_s=60, shadow_rate=0.5)

    await store.set_rules(tenant, rules)

    assert before.rules == SemanticRules(enabled=False)
    assert (await store.state(tenant)).rules == rules
    assert (await store.state(uuid4())).rules.enabled is False


async def test_the_nearest_come_first_with_everything_that_was_kept(store: SemanticStore, tenant: UUID) -> None:
    kept = a_kept("near", epoch=3, scopes=("key:near", "tag:t"), cost_nanousd=7)
    await store.keep(tenant, a_question("far", angle=1.0), "Far?", a_kept("far"))
    await store.keep(tenant, a_question("near", angle=0.1), "Near?", kept)

    near, far = await store.nearest(tenant, a_question(), wanted=5)

    assert (near.key, near.question, far.key) == ("near", "Near?", "far")
    assert near.similarity == pytest.approx(math.cos(0.1), abs=1e-3)
    assert replace(near.kept, stored_at=kept.stored_at, expires_at=kept.expires_at) == kept
    assert near.kept.stored_at == pytest.approx(kept.stored_at, abs=1e-3)
    assert [each.key for each in await store.nearest(tenant, a_question(), wanted=1)] == ["near"]


async def test_another_tenant_another_scope_and_what_is_over_or_too_old_are_not_found(
    store: SemanticStore, tenant: UUID
) -> None:
    kept = a_kept()
    await store.keep(tenant, a_question("over"), "?", replace(kept, expires_at=kept.stored_at - 1))
    await store.keep(tenant, a_question("there"), "?", kept)

    assert [each.key for each in await store.nearest(tenant, a_question(), wanted=5)] == ["there"]
    assert await store.nearest(uuid4(), a_question(), wanted=5) == []
    assert await store.nearest(tenant, a_question(scope="other"), wanted=5) == []
    assert await store.nearest(tenant, a_question(stored_after=kept.stored_at + 5), wanted=5) == []


async def test_a_keys_later_answer_replaces_its_earlier_one_and_not_the_other_way_round(
    store: SemanticStore, tenant: UUID
) -> None:
    first = a_kept("first")
    later = a_kept("later", stored_at=first.stored_at + 10)

    for kept in (first, later, first):
        await store.keep(tenant, a_question(), "?", kept)

    assert [each.kept.wire for each in await store.nearest(tenant, a_question(), wanted=5)] == [later.wire]


async def test_judgements_are_tallied_by_level_once_per_call(store: SemanticStore, tenant: UUID) -> None:
    await store.set_rules(tenant, SemanticRules(enabled=True))
    top, low = (
        a_reuse(score=0.999, correct=True, judged_by="shadow"),
        a_reuse(score=0.31, correct=False, judged_by="near"),
    )

    for reuse in (top, top, low, a_reuse(score=0.999), a_reuse(score=0.1, correct=True, judged_by="near")):
        await store.record(tenant, reuse)

    tallies = (await store.state(tenant)).tallies
    assert (tallies[-1], tallies[0]) == (Tally(1, 0), Tally(1, 1))
    assert sum(each.judged for each in tallies) == 2
    assert len(tallies) == len(LEVELS)


async def test_a_tenant_judges_what_was_served_to_it_and_may_change_its_mind(
    store: SemanticStore, tenant: UUID
) -> None:
    await store.set_rules(tenant, SemanticRules(enabled=True))
    served, checked = a_reuse(), a_reuse(served=False, correct=True, judged_by="shadow")
    for reuse in (served, checked):
        await store.record(tenant, reuse)

    wrong = await store.judge(tenant, served.call_id, correct=False)
    right = await store.judge(tenant, served.call_id, correct=True)

    assert wrong == replace(served, correct=False, judged_by="feedback")
    assert right == replace(served, correct=True, judged_by="feedback")
    assert await store.judge(tenant, checked.call_id, correct=False) is None
    assert await store.judge(uuid4(), served.call_id, correct=False) is None
    assert sum(each.wrong for each in (await store.state(tenant)).tallies) == 0


async def test_who_judges_a_copy_judges_the_reuse_that_it_is_of(store: SemanticStore, tenant: UUID) -> None:
    served, copies = a_reuse(), [uuid4(), uuid4()]
    await store.set_rules(tenant, SemanticRules(enabled=True))
    await store.record(tenant, served)
    for copy in (*copies, copies[0]):
        await store.copied(tenant, copy, reuse=served.call_id)
    await store.copied(tenant, unknown := uuid4(), reuse=uuid4())

    judged = [await store.judge(tenant, copy, correct=True) for copy in copies]

    assert judged == [replace(served, correct=True, judged_by="feedback")] * 2
    assert sum(each.judged for each in (await store.state(tenant)).tallies) == 1
    assert await store.judge(tenant, unknown, correct=True) is None
    assert await store.judge(uuid4(), copies[0], correct=True) is None


async def test_an_answer_judged_wrong_for_a_question_is_found_for_others_only(
    store: SemanticStore, tenant: UUID
) -> None:
    await store.keep(tenant, a_question("k"), "?", a_kept())
    await store.record(tenant, a_reuse(key="asked", answer_key="k", correct=False, judged_by="near"))

    assert await store.nearest(tenant, a_question("asked"), wanted=5) == []
    assert len(await store.nearest(tenant, a_question("another"), wanted=5)) == 1


async def test_turned_off_and_on_again_earlier_judgements_no_longer_count(store: SemanticStore, tenant: UUID) -> None:
    rules = SemanticRules(enabled=True)
    await store.set_rules(tenant, rules)
    await store.record(tenant, a_reuse(correct=False, judged_by="near"))
    await store.set_rules(tenant, replace(rules, ttl_s=5))
    still = await store.state(tenant)

    await store.set_rules(tenant, replace(rules, enabled=False))
    await store.set_rules(tenant, rules)

    assert sum(each.judged for each in still.tallies) == 1
    assert sum(each.judged for each in (await store.state(tenant)).tallies) == 0


async def test_the_index_finds_what_the_exact_scan_finds_among_many_tenants(
    open_database: Database, tenant: UUID
) -> None:
    exact, index = PostgresSemanticStore(open_database), PostgresSemanticStore(open_database, exact_up_to=0)
    angles = [n / 40 for n in range(60)]
    for owner in (tenant, uuid4(), uuid4()):
        await asyncio.gather(
            *(exact.keep(owner, a_question(f"{n}", angle=angle), "?", a_kept()) for n, angle in enumerate(angles))
        )

    by_scan = [each.key for each in await exact.nearest(tenant, a_question(angle=0.5), wanted=8)]
    by_index = [each.key for each in await index.nearest(tenant, a_question(angle=0.5), wanted=8)]

    assert by_scan[0] == "20"
    assert len({*by_scan} & {*by_index}) >= 7


def test_the_look_up_uses_the_index_it_is_meant_to(database: TestDatabase, tenant: UUID) -> None:
    draw = random.Random(3)
    rows = [(f"k{n}", "[" + ",".join(f"{draw.gauss(0, 1):.3f}" for _ in range(DIMENSIONS)) + "]") for n in range(300)]
    plans = []
    with psycopg.connect(database.admin_url) as admin:
        admin.cursor().executemany(
            "INSERT INTO semantic_answers (tenant_id, key, scope, question, embedding, wire, model, cost_nanousd,"
            " epoch, scopes, stored_at, expires_at) VALUES (%s, %s, 's', '?', %s, '', 'm', 0, 0, '{}', now(),"
            " now() + interval '1 hour')",
            [(tenant, *row) for row in rows],
        )
        admin.execute("SET LOCAL ROLE cognitionos_app")
        admin.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant),))
        for settings, order in (
            ("SET LOCAL enable_seqscan = off", "(embedding <=> %s::halfvec) + 0"),
            ("SET LOCAL enable_sort = off", "embedding <=> %s::halfvec"),
        ):
            admin.execute(settings)
            plan = admin.execute(
                f"EXPLAIN SELECT key FROM semantic_answers WHERE scope = 's' ORDER BY {order} LIMIT 8", (rows[0][1],)
            ).fetchall()
            plans.append("\n".join(row[0] for row in plan))
        admin.rollback()

    assert "semantic_answers_embedding" not in plans[0]
    assert "semantic_answers_embedding" in plans[1]


async def test_the_sweep_forgets_what_is_over_of_every_tenant(open_database: Database, database: TestDatabase) -> None:
    store, tenants = PostgresSemanticStore(open_database), (uuid4(), uuid4())
    kept = a_kept()
    for owner in tenants:
        await store.keep(owner, a_question("over"), "?", replace(kept, expires_at=kept.stored_at - 1))
        await store.keep(owner, a_question("there"), "?", kept)
        await store.record(owner, a_reuse())
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE semantic_reuses SET at = at - %s WHERE tenant_id = %s", (timedelta(days=91), tenants[0]))

    await store.sweep()

    with psycopg.connect(database.admin_url) as admin:
        left = admin.execute("SELECT tenant_id, key FROM semantic_answers WHERE tenant_id = ANY (%s)", ([*tenants],))
        reuses = admin.execute("SELECT tenant_id FROM semantic_reuses WHERE tenant_id = ANY (%s)", ([*tenants],))
        assert sorted(left.fetchall()) == sorted((owner, "there") for owner in tenants)
        assert reuses.fetchall() == [(tenants[1],)]


async def test_a_tenants_oldest_answers_go_when_there_are_too_many(
    open_database: Database, monkeypatch: pytest.MonkeyPatch, tenant: UUID
) -> None:
    store, kept = PostgresSemanticStore(open_database), a_kept()
    for age in range(4):
        await store.keep(tenant, a_question(f"{age}"), "?", replace(kept, stored_at=kept.stored_at - age))
    monkeypatch.setattr("cognitionos.llm_gateway.infrastructure.semantic_store.MOST_ANSWERS", 2)

    await store.sweep()

    assert {each.key for each in await store.nearest(tenant, a_question(), wanted=9)} == {"0", "1"}
