"""What the planner is asked when a task failed for good, and where its answer goes."""

from collections.abc import Mapping
from typing import Any

from cognitionos.planning.domain.replan import History

MOST_OF_AN_OUTPUT = 600
_ASKED = (
    "Plan only what replaces the failed task: smaller steps, or another way. What is done stays done; name it in "
    "depends_on where a task needs it. The new tasks are n1, n2, ..."
)


def told_of_failure(history: History, error: Mapping[str, Any]) -> dict[str, str]:
    """The parts of the question, by name: what is done, what failed, why, and what is wanted."""
    parts = {}
    if history.finished:
        parts["done so far"] = "\n".join(f"- {task.key} ({task.title}): {_cut(task.text)}" for task in history.finished)
    parts["the task that failed"] = f"{history.key} ({history.title}): {history.instructions}"
    parts["why it failed"] = _cut(str(error.get("detail") or error.get("title") or "nobody knows"))
    parts["what to plan"] = _ASKED
    return parts


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_OF_AN_OUTPUT else text[: MOST_OF_AN_OUTPUT - 1] + "…"
