"""Prometheus metrics of the semantic cache. No label names a tenant."""

from prometheus_client import Counter

LOOK_UPS = Counter(
    "cognitionos_llm_semantic_total",
    "What became of look-ups by meaning: hit, near, miss, checked, agreed, disagreed, failed, refused_GUARD",
    ["outcome"],
)


def count(outcome: str) -> None:
    """Count one."""
    LOOK_UPS.labels(outcome).inc()
