"""Prometheus metrics of the gateway. No label names a tenant, key or user."""

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

from cognitionos.llm_gateway.domain.circuit import CircuitState
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.route import FOR_MONEY, OWN

CALLS = Counter("cognitionos_llm_calls_total", "Calls to models that ended", ["provider", "model", "outcome", "cache"])
LATENCY = Histogram(
    "cognitionos_llm_latency_seconds",
    "From request to whole answer",
    ["provider", "kind"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
TOKENS = Counter("cognitionos_llm_tokens_total", "Tokens billed", ["kind"])
COST = Counter("cognitionos_llm_cost_usd_total", "Dollars billed", ["provider"])
SAVED = Counter("cognitionos_llm_saved_usd_total", "Dollars that cached answers would have cost", ["cache"])
CACHE_AGE = Histogram(
    "cognitionos_llm_cache_age_seconds",
    "How old a kept answer was when it was given",
    ["cache"],
    buckets=(1, 10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
)
CACHE_ANSWERS = Gauge("cognitionos_llm_cache_answers", "Answers kept in PostgreSQL, as of the last sweep")
CACHE_BYTES = Gauge("cognitionos_llm_cache_bytes", "Their bytes")
CALLS_FOLLOWING = Gauge("cognitionos_llm_calls_following", "Calls and processes that wait for an identical call")
FALLBACKS = Counter("cognitionos_llm_fallbacks_total", "Calls answered by another than the route's first candidate")
TOOL_CALLS_RECOVERED = Counter(
    "cognitionos_llm_tool_calls_recovered_total", "Answers whose tool calls were written as text", ["provider", "model"]
)
BUDGET_REFUSALS = Counter("cognitionos_budget_refusals_total", "Calls refused for money", ["kind"])
BUDGET_ALERTS = Counter("cognitionos_budget_alerts_total", "Shares of budgets reached, told once each", ["threshold"])
BUDGET_DOWNGRADES = Counter("cognitionos_budget_downgrades_total", "Calls given to a cheaper model for money")
CACHE_ERRORS = Counter("cognitionos_llm_cache_errors_total", "Look-ups and stores that failed: no Redis, no cache")
CIRCUIT_STATE = Gauge(
    "cognitionos_llm_circuit_state", "0 closed, 1 half-open, 2 open; of the installation's deployments", ["deployment"]
)
CIRCUITS_OPENED = Counter("cognitionos_llm_circuits_opened_total", "Circuits that this process opened", ["deployment"])

# a look-up by labels takes a lock and a dict of texts; these remember the counter itself
_calls = lru_cache(1024)(CALLS.labels)
_latency = lru_cache(256)(LATENCY.labels)
_tokens = lru_cache(16)(TOKENS.labels)
_cost = lru_cache(256)(COST.labels)
_saved = lru_cache(16)(SAVED.labels)
_cache_age = lru_cache(16)(CACHE_AGE.labels)

MOST_MODELS = 200
OTHER = "other"
_STATES = {CircuitState.CLOSED: 0, CircuitState.HALF_OPEN: 1, CircuitState.OPEN: 2}
_models: set[str] = set()


def observe(call: Call) -> None:
    """Count an ended call."""
    _calls(call.provider, _model_label(call.model), call.outcome, call.cache).inc()
    _latency(call.provider, call.kind).observe(call.latency_ms / 1000)
    if call.route_reason == "fallback":
        FALLBACKS.inc()
    elif call.route_reason == FOR_MONEY:
        BUDGET_DOWNGRADES.inc()
    usage = call.usage
    for kind, count in (("prompt", usage.prompt), ("completion", usage.completion), ("cached", usage.cached)):
        if count:
            _tokens(kind).inc(count)
    if call.cost_nanousd:
        _cost(call.provider).inc(call.cost_nanousd / 1e9)
    if call.saved_nanousd:
        _saved(call.cache).inc(call.saved_nanousd / 1e9)
    if call.cache_age_s is not None:
        _cache_age(call.cache).observe(call.cache_age_s)


def circuit_is(deployment: str, state: CircuitState) -> None:
    """Show a circuit's state. A tenant's own deployments are not shown: their names are the tenant's."""
    if not deployment.startswith(OWN) and (label := _model_label(deployment)) != OTHER:
        CIRCUIT_STATE.labels(label).set(_STATES[state])


def circuit_opened(deployment: str) -> None:
    """Count a circuit that opened."""
    CIRCUITS_OPENED.labels(OTHER if deployment.startswith(OWN) else _model_label(deployment)).inc()


def _model_label(model: str) -> str:
    """The model's name; `other` once there are so many that callers must be inventing them."""
    if model in _models:
        return model
    if len(_models) >= MOST_MODELS:
        return OTHER
    _models.add(model)
    return model
