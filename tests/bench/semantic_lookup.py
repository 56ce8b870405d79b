"""What a look-up by meaning costs against PostgreSQL: latency and our CPU, by how many answers a tenant has.

`python -m tests.bench.semantic_lookup [--answers 1000 5000 20000] [--look-ups 200]` starts servers of its own.
Questions are made of words drawn at random; each look-up is that of a paraphrase of a kept one, embedding, search,
guards and score included, the reuse written down.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
from tests.bench.memory import Texts
from tests.builders_llm_gateway import a_kept, a_request
from tests.servers import TestDatabase, drop_database, make_template, running_servers

from cognitionos.llm_gateway.application.cache_ports import CacheAsk
from cognitionos.llm_gateway.application.semantic import SemanticCache
from cognitionos.llm_gateway.application.semantic_rules import SemanticRulebook
from cognitionos.llm_gateway.domain.cached import USUAL
from cognitionos.llm_gateway.domain.semantic import SemanticRules
from cognitionos.llm_gateway.domain.semantic_turn import turn_of
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical, decode_object
from cognitionos.llm_gateway.infrastructure.semantic_embedder import embedder
from cognitionos.llm_gateway.infrastructure.semantic_store import PostgresSemanticStore
from cognitionos.llm_gateway.infrastructure.semantic_words import WordVectors
from cognitionos.llm_gateway.infrastructure.wordllama_provider import WordLlamaProvider
from cognitionos.platform import logging
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database

_INSERT = (
    "INSERT INTO semantic_answers (tenant_id, key, scope, question, embedding, wire, model, cost_nanousd, epoch,"
    " scopes, stored_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, 'm', 0, 0, '{}', now(), now() + interval '1 day')"
)
_AT_ONCE = 1000


def an_ask(tenant_id: UUID, text: str) -> CacheAsk:
    """A call that asks `text`."""
    return CacheAsk(
        tenant_id=tenant_id,
        project_id=tenant_id,
        key=uuid4().hex,
        request=a_request(text),
        model="m",
        source="m",
        scopes=(),
        wish=USUAL,
        flight=uuid4().hex,
        takes=frozenset("m"),
    )


async def fill(admin_url: str, tenant_id: UUID, questions: list[str]) -> None:
    """Load answers, past the policies."""
    turn = turn_of(a_request("?"), tenant_id=tenant_id, model="m", canonical=canonical)
    scope, wire, embed = turn.scope if turn else "", a_kept("An answer. " * 40).wire, embedder(WordLlamaProvider())
    with psycopg.connect(admin_url) as admin:
        for start in range(0, len(questions), _AT_ONCE):
            some = questions[start : start + _AT_ONCE]
            rows = zip(some, await embed([text.lower() for text in some]), strict=True)
            admin.cursor().executemany(
                _INSERT, [(tenant_id, uuid4().hex, scope, text, str(list(vector)), wire) for text, vector in rows]
            )
        admin.commit()
        admin.autocommit = True
        admin.execute("ANALYZE semantic_answers")


async def measure(database: Database, tenant_id: UUID, questions: list[str], look_ups: int) -> None:
    """Print one line of figures."""
    store = PostgresSemanticStore(database)
    await store.set_rules(tenant_id, SemanticRules(enabled=True, error_bound=0.05, shadow_rate=0.0))

    async def nothing(*_: object) -> None:
        """No other process, no other layer."""

    rulebook = SemanticRulebook(
        store=store,
        signal=nothing,
        woken=asyncio.Event(),
        fresh_s=lambda usual: usual,
        void=nothing,
        monotonic=time.monotonic,
    )
    embed = embedder(WordLlamaProvider())
    cache = SemanticCache(
        store=store,
        rulebook=rulebook,
        embed=embed,
        likeness=WordVectors(embed).likeness,
        allows=lambda _tenant, _kept: True,
        canonical=canonical,
        decode=decode_object,
        count=lambda _outcome: None,
        clock=time.time,
        chance=random.random,
    )
    asked = [text.replace("How do I", "What is the way to") for text in questions[:look_ups]]
    for text in asked[:20]:
        await cache.get(an_ask(tenant_id, text))
    times, hits, cpu = [], 0, time.process_time()
    for text in asked:
        started = time.perf_counter()
        hits += await cache.get(an_ask(tenant_id, text)) is not None
        times.append(1000 * (time.perf_counter() - started))
    cpu_ms = 1000 * (time.process_time() - cpu) / len(asked)
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[18]
    share = hits / len(asked)
    print(
        f"{len(questions):8} answers: p50={p50:6.1f} ms  p95={p95:6.1f} ms  our CPU={cpu_ms:5.2f} ms  hits={share:.2f}"
    )


async def bench(databases: TestDatabase, sizes: list[int], look_ups: int) -> None:
    """A tenant of each size, all in one table."""
    texts, database = Texts(), Database(databases.app_url, pool_size=4)
    await database.open()
    for size in sizes:
        tenant_id, questions = uuid4(), [f"How do I {texts.sentence(4, 9)}?" for _ in range(size)]
        await fill(databases.admin_url, tenant_id, questions)
        await measure(database, tenant_id, questions, look_ups)
    await database.close()


@contextmanager
def _database() -> Iterator[TestDatabase]:
    with running_servers() as servers:
        made = make_template(servers)
        try:
            yield made
        finally:
            drop_database(servers, made)


def main() -> None:
    """Read the arguments, make a database, measure, drop it."""
    logging.configure(Settings(log_level="error"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--look-ups", type=int, default=200)
    options = parser.parse_args()
    with _database() as database:
        asyncio.run(bench(database, options.answers, options.look_ups))


if __name__ == "__main__":
    main()
