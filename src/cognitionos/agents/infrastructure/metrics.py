"""Prometheus metrics of agents. No label names a tenant."""

from prometheus_client import Counter, Histogram

from cognitionos.agents.domain.agent_run import Step
from cognitionos.agents.domain.tool import CallOutcome

STEPS = Counter("cognitionos_agent_steps_total", "Steps journaled", ["role", "kind"])
RESUMED = Counter("cognitionos_agent_runs_resumed_total", "Agent runs taken up again from their journal")
REPLAYED = Counter("cognitionos_agent_steps_replayed_total", "Finished steps found in a journal and not repeated")
TOOL_CALLS = Counter("cognitionos_tool_calls_total", "Tool calls, by how they ended", ["tool", "outcome"])
TOOL_SECONDS = Histogram(
    "cognitionos_tool_seconds", "One tool call with its checks and its journal entry", ["tool"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90),
)  # fmt: skip
VERDICTS = Counter("cognitionos_agent_verdicts_total", "Critics' judgements", ["verdict"])


class AgentMetrics:
    """An `Observer`."""

    def step(self, step: Step) -> None:
        """See `Observer.step`."""
        STEPS.labels(step.role, step.kind.value).inc()

    def tool_call(self, tool: str, outcome: CallOutcome, seconds: float) -> None:
        """See `Observer.tool_call`."""
        TOOL_CALLS.labels(tool, outcome.value).inc()
        TOOL_SECONDS.labels(tool).observe(seconds)

    def verdict(self, *, accepted: bool) -> None:
        """See `Observer.verdict`."""
        VERDICTS.labels("accepted" if accepted else "sent_back").inc()

    def resumed(self, steps: int) -> None:
        """See `Observer.resumed`."""
        RESUMED.inc()
        REPLAYED.inc(steps)
