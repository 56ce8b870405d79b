"""Search in one tenant's memory among others': latency, CPU, and the recall of the vector index.

`python -m tests.bench.memory [--items 10000] [--others 10000] [--searches 200] [--database-url SUPERUSER_URL]`

Texts are sentences of Zipf-distributed words; their embeddings are the product's own local WordLlama. Without a URL
(a server with pgvector, where a database is made and dropped again) it starts servers of its own.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

from tests.integration.memory.bulk import load, without_vector_index
from tests.servers import TestServers, drop_database, make_template, running_servers

from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.infrastructure.wordllama_provider import WordLlamaProvider
from cognitionos.memory.application.embedding import Embedder
from cognitionos.memory.application.ports import Embedding, Question, Scope
from cognitionos.memory.application.recall import Recall
from cognitionos.memory.infrastructure.search_store import EXACT_UP_TO, SearchStore
from cognitionos.platform import logging
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database

OTHER_TENANT_ITEMS = 50
_SYLLABLES = ("ba", "co", "di", "fe", "gu", "ha", "ki", "lo", "mu", "ne", "po", "ra", "si", "ta", "vo", "we")


class Texts:
    """Sentences of 12 to 40 words from a vocabulary of 8,000; word number n comes 1 / (n + 20) as often."""

    def __init__(self, seed: int = 11) -> None:
        self._random = random.Random(seed)
        combined = ("".join(parts) for parts in itertools.product(_SYLLABLES, repeat=4))
        self._words = self._random.sample([*combined], 8000)
        self._weights = [*itertools.accumulate(1 / (n + 20) for n in range(len(self._words)))]

    def sentence(self, shortest: int, longest: int) -> str:
        """One sentence."""
        count = self._random.randint(shortest, longest)
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=count))


def embedder() -> Callable[[Scope, Sequence[str]], Awaitable[list[Embedding]]]:
    """The local model as memory's `Embed`."""
    provider = WordLlamaProvider()

    async def embed(_scope: Scope, texts: Sequence[str]) -> list[Embedding]:
        answer = await provider.embed(texts, model="wordllama", extra={})
        return [Embedding(model="local/wordllama", vector=vector) for vector in answer.vectors]

    return embed


async def fill(admin_url: str, scope: Scope, texts: Texts, *, items: int, others: int) -> None:
    """Load one tenant and many small ones, with the index built at the end."""
    embed = embedder()
    contents = [texts.sentence(12, 40) for _ in range(items + others)]
    vectors = dict(zip(contents, await embed(scope, contents), strict=True))

    def load_all() -> None:
        load_some(scope.tenant_id, scope.project_id, contents[:items])
        for start in range(items, items + others, OTHER_TENANT_ITEMS):
            load_some(uuid4(), uuid4(), contents[start : start + OTHER_TENANT_ITEMS])

    def load_some(tenant_id: UUID, project_id: UUID, some: list[str]) -> None:
        load(admin_url, tenant_id=tenant_id, project_id=project_id, contents=some, embed=vectors.__getitem__)

    without_vector_index(admin_url, load_all)


async def measure(name: str, recall: Recall, scope: Scope, questions: Sequence[str]) -> None:
    """Print one line of figures."""
    times, paths = [], set()
    for question in questions[:10]:
        await recall.recall(scope, question)
    cpu = time.process_time()
    for question in questions:
        started = time.perf_counter()
        answer = await recall.recall(scope, question, limit=10)
        times.append((time.perf_counter() - started) * 1000)
        paths.add(answer.path)
    cpu_ms = (time.process_time() - cpu) * 1000 / len(questions)
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[18]
    path = "+".join(sorted(paths))
    print(f"{name:30} path={path:6} p50={p50:6.1f} ms  p95={p95:6.1f} ms  client CPU={cpu_ms:5.2f} ms", flush=True)


async def nearest(store: SearchStore, scope: Scope, embeddings: Sequence[Embedding]) -> list[set[UUID]]:
    """The ten items nearest to each vector, as `store` finds them."""
    answers = []
    for embedding in embeddings:
        question = Question(
            project_id=scope.project_id,
            words="",
            embedding=embedding,
            kinds=(),
            min_confidence=0.0,
            include_superseded=False,
            at=_now(),
        )
        async with store.read(scope.tenant_id) as index:
            found = (await index.candidates(question)).candidates
        found.sort(key=lambda each: each.similarity or -1.0, reverse=True)
        answers.append({each.id for each in found[:10]})
    return answers


async def bench(app_url: str, admin_url: str, *, items: int, others: int, searches: int) -> None:
    """Fill and measure."""
    scope, texts = Scope(tenant_id=uuid4(), project_id=uuid4()), Texts()
    started = time.perf_counter()
    await fill(admin_url, scope, texts, items=items, others=others)
    print(f"{items} items of one tenant, {others} of others, loaded in {time.perf_counter() - started:.1f} s")
    questions = [texts.sentence(4, 8) for _ in range(searches)]
    database = Database(app_url, pool_size=4)
    await database.open()

    def recall(exact_up_to: int, *, words_only: bool = False) -> Recall:
        read = SearchStore(database, exact_up_to=exact_up_to).read
        return Recall(read=read, embedder=Embedder(embed=_nothing if words_only else embedder()), now=_now)

    await measure("as shipped", recall(EXACT_UP_TO), scope, questions)
    await measure("every item compared", recall(10**9), scope, questions)
    await measure("vector index", recall(0), scope, questions)
    await measure("words only (no embedder)", recall(EXACT_UP_TO, words_only=True), scope, questions)
    vectors = await embedder()(scope, questions)
    exact = await nearest(SearchStore(database, exact_up_to=10**9), scope, vectors)
    index = await nearest(SearchStore(database, exact_up_to=0), scope, vectors)
    shared = statistics.fmean(len(one & other) / 10 for one, other in zip(exact, index, strict=True))
    print(f"recall@10 of the index against the exact search: {shared:.3f}")
    await database.close()


async def _nothing(_scope: Scope, _texts: Sequence[str]) -> list[Embedding]:
    raise Unavailable("left out on purpose")


def _now() -> datetime:
    return datetime.now(UTC)


@contextlib.contextmanager
def _servers(url: str | None) -> Iterator[TestServers]:
    if url is not None:
        yield TestServers(postgres_url=url, redis_url="")
        return
    with running_servers() as started:
        yield started


def main() -> None:
    """Read the arguments, make a database, measure, drop it."""
    logging.configure(Settings(log_level="error"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--others", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--database-url", help="a superuser's URL to a server with pgvector")
    options = parser.parse_args()
    with _servers(options.database_url) as servers:
        database = make_template(servers)
        try:
            figures = {"items": options.items, "others": options.others, "searches": options.searches}
            asyncio.run(bench(database.app_url, database.admin_url, **figures))
        finally:
            drop_database(servers, database)


if __name__ == "__main__":
    main()
