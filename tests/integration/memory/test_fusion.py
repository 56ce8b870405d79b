"""Words and meaning together find more than either alone, with the product's own local embedder."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple
from uuid import uuid4

import pytest
from tests.conftest import Run
from tests.integration.memory.bulk import load
from tests.integration.memory.labelled import MEMORIES, QUESTIONS
from tests.servers import TestDatabase

from cognitionos.llm_gateway.infrastructure.wordllama_provider import WordLlamaProvider
from cognitionos.memory.application.embedding import Embedder
from cognitionos.memory.application.ports import Embedding, Scope
from cognitionos.memory.application.recall import Recall, Recollection
from cognitionos.memory.infrastructure.search_store import SearchStore
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database


class Labelled(NamedTuple):
    recall: Recall
    scope: Scope


@pytest.fixture(scope="module")
def labelled(database: TestDatabase, settings: Settings, run: Run) -> Iterator[Labelled]:
    provider = WordLlamaProvider()

    async def embed(_scope: Scope, texts: object) -> list[Embedding]:
        answer = await provider.embed(list(texts), model="wordllama", extra={})  # type: ignore[call-overload]
        return [Embedding(model="local/wordllama", vector=vector) for vector in answer.vectors]

    scope = Scope(tenant_id=uuid4(), project_id=uuid4())
    vectors = dict(zip(MEMORIES, run(embed(scope, MEMORIES)), strict=True))
    load(
        database.admin_url,
        tenant_id=scope.tenant_id,
        project_id=scope.project_id,
        contents=MEMORIES,
        embed=vectors.__getitem__,
    )
    app = Database(settings.database_url.get_secret_value(), pool_size=4)
    run(app.open())
    recall = Recall(read=SearchStore(app).read, embedder=Embedder(embed=embed), now=lambda: datetime.now(UTC))
    yield Labelled(recall, scope)
    run(app.close())


async def test_fusion_beats_words_alone_and_meaning_alone_on_the_labelled_set(labelled: Labelled) -> None:
    orders: dict[str, Callable[[Recollection], float]] = {
        "both": lambda each: each.rank.score,
        "words": lambda each: each.rank.text,
        "meaning": lambda each: each.rank.dense or 0.0,
    }
    right: dict[tuple[str, int], int] = dict.fromkeys(product(orders, (1, 3)), 0)
    for question, answer in QUESTIONS:
        found = (await labelled.recall.recall(labelled.scope, question, limit=100)).found
        for name, order in orders.items():
            ordered = sorted([each for each in found if order(each) != 0], key=order, reverse=True)
            for first in (1, 3):
                right[name, first] += MEMORIES[answer] in {each.item.content for each in ordered[:first]}

    assert right["both", 1] > max(right["words", 1], right["meaning", 1]), right
    assert right["both", 3] >= max(right["words", 3], right["meaning", 3]), right
    assert right["both", 3] >= 0.9 * len(QUESTIONS), right


async def test_what_either_way_misses_alone_the_other_finds(labelled: Labelled) -> None:
    by_code = (await labelled.recall.recall(labelled.scope, "E4012", limit=1)).found
    by_meaning = (await labelled.recall.recall(labelled.scope, "when do workers get their salary", limit=1)).found

    assert [each.item.content for each in by_code] == [MEMORIES[3]]
    assert [each.item.content for each in by_meaning] == [MEMORIES[22]]
