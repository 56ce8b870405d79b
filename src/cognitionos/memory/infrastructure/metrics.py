"""Prometheus metrics of memory. No label names a tenant or project."""

from prometheus_client import Counter, Histogram

from cognitionos.events.memory import MemoryRemembered

SEARCHES = Counter("cognitionos_memory_searches_total", "Searches, by how meaning was compared", ["path"])
SEARCH_SECONDS = Histogram(
    "cognitionos_memory_search_seconds",
    "One search in the database with its ranking, without the embedding of the question",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
ITEMS_WRITTEN = Counter("cognitionos_memory_items_written_total", "Memories stored by this process", ["kind"])


async def count_written(event: MemoryRemembered) -> None:
    """A listener of the bus: count one stored memory after its commit."""
    ITEMS_WRITTEN.labels(event.kind).inc()
