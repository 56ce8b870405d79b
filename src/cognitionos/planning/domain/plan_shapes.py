"""What small models make of a plan: one task by itself, a list, a plan in a plan; turned into what was asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

_WRAPPERS = ("tasks", "plan", "steps")
_NAMES = ("key", "id", "name")


def keyed(answer: Any, prefix: str) -> Any:
    """`answer` with one key per task (`t1`, `t2`, ...) where it is a plan of another shape; anything else unchanged."""
    for _ in range(2):
        if isinstance(answer, Mapping):
            inner = [answer[name] for name in _WRAPPERS if isinstance(answer.get(name), Mapping | list)]
            answer = inner[0] if inner and f"{prefix}1" not in answer else answer
    if isinstance(answer, Mapping) and "instructions" in answer:
        return {f"{prefix}1": answer}
    if isinstance(answer, list) and answer and all(isinstance(each, Mapping) for each in answer):
        return _of_list(answer, prefix)
    return answer


def _of_list(tasks: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Any]:
    """The tasks in their order; what they call each other by becomes their keys."""
    keys: dict[str, str] = {}
    for number, task in enumerate(tasks, 1):
        keys |= {str(task[name]): f"{prefix}{number}" for name in _NAMES if isinstance(task.get(name), str | int)}
    for number in range(1, len(tasks) + 1):
        keys.setdefault(str(number), f"{prefix}{number}")
    made: dict[str, Any] = {}
    for number, task in enumerate(tasks, 1):
        wanted = task.get("depends_on")
        wanted = [wanted] if isinstance(wanted, str | int) else wanted
        references = [keys.get(str(each), each) for each in wanted] if isinstance(wanted, list) else wanted
        made[f"{prefix}{number}"] = {**task, "depends_on": references}
    return made
