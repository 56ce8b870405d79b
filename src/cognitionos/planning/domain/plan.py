"""A plan: the JSON schema a model fills, and what we make of the answer.

One key per task in order, dependencies limited to earlier keys: measured, every plan of a 0.5B model is then a graph
without cycles. Hosted providers in strict mode want every key required, so an unused task is null.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.kernel.errors import Invalid
from cognitionos.planning.domain.graph import leaves
from cognitionos.planning.domain.task import Expansion, TaskSpec

MOST_TASKS = 12
LONGEST_INSTRUCTIONS = 8_000
LONGEST_TITLE = 200
SUMMARY_KEY = "summary"


class InvalidPlan(Invalid):
    """The planner's answer is no plan; `fields` names what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """One task as planned."""

    key: str
    title: str
    instructions: str
    expected_output: str | None
    review: bool
    depends_on: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As stored and shown."""
        return {
            "key": self.key,
            "title": self.title,
            "instructions": self.instructions,
            "expected_output": self.expected_output,
            "review": self.review,
            "depends_on": list(self.depends_on),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tasks in order, each depending on earlier ones only."""

    tasks: tuple[PlannedTask, ...]

    def as_json(self) -> dict[str, Any]:
        """As stored and shown."""
        return {"tasks": [task.as_json() for task in self.tasks]}

    def expansion(self) -> Expansion:
        """The run's tasks: agents in the plan's order; of several, a summary of the leaves is the result."""
        specs = [
            TaskSpec(
                key=task.key,
                kind="agent",
                depends_on=task.depends_on,
                spec={
                    "role": "executor",
                    "title": task.title,
                    "instructions": task.instructions,
                    "expected_output": task.expected_output,
                    "review": task.review,
                },
            )
            for task in self.tasks
        ]
        if len(specs) == 1:
            return Expansion(tasks=tuple(specs), result_key=specs[0].key)
        last = leaves({task.key: task.depends_on for task in self.tasks})
        summary = TaskSpec(
            key=SUMMARY_KEY,
            kind="agent",
            depends_on=tuple(last),
            spec={
                "role": "summarizer",
                "title": "Put the results together",
                "instructions": "Answer the goal from the results of the tasks.",
                "expected_output": None,
                "review": False,
            },
        )
        return Expansion(tasks=(*specs, summary), result_key=SUMMARY_KEY)


def plan_schema(max_tasks: int = MOST_TASKS) -> dict[str, Any]:
    """The JSON schema of a plan of at most `max_tasks`: keys `t1` to `tN`, all but the first nullable."""
    keys = [f"t{number}" for number in range(1, max_tasks + 1)]
    properties: dict[str, Any] = {}
    for index, key in enumerate(keys):
        task = _task_schema(keys[:index])
        properties[key] = task if index == 0 else {"anyOf": [task, {"type": "null"}]}
    return {"type": "object", "properties": properties, "required": keys, "additionalProperties": False}


def plan_of(answer: Any, max_tasks: int = MOST_TASKS) -> Plan:
    """The plan in a model's `answer`, or `InvalidPlan` with each fault named.

    Forgiven: null or missing tasks, references to tasks that are null, later or unknown, tasks beyond the cap's keys.
    """
    if not isinstance(answer, Mapping):
        raise InvalidPlan("The answer must be a JSON object with the tasks t1, t2, ...", fields={"$": "not an object"})
    keys = [f"t{number}" for number in range(1, max_tasks + 1)]
    present = [key for key in keys if answer.get(key) is not None]
    faults: dict[str, str] = {}
    tasks = [_task(key, answer[key], set(present[:index]), faults) for index, key in enumerate(present)]
    if not present:
        faults["t1"] = "a plan has at least one task"
    if faults:
        raise InvalidPlan("; ".join(f"{field}: {fault}" for field, fault in faults.items()), fields=faults)
    return Plan(tasks=tuple(task for task in tasks if task is not None))


def _task_schema(earlier: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "title": {"type": "string", "description": "a few words"},
        "instructions": {"type": "string", "description": "what to do, complete: the worker sees only this"},
        "expected_output": {"type": "string", "description": "what the result must contain"},
        "review": {"type": "boolean", "description": "true if a critic must check the result"},
    }
    if earlier:
        properties["depends_on"] = {
            "type": "array",
            "items": {"type": "string", "enum": earlier},
            "description": "earlier tasks whose results it needs",
        }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _task(key: str, raw: Any, earlier: set[str], faults: dict[str, str]) -> PlannedTask | None:
    if not isinstance(raw, Mapping):
        faults[key] = "must be an object or null"
        return None
    instructions = _text(raw.get("instructions"))
    if not instructions or len(instructions) > LONGEST_INSTRUCTIONS:
        faults[f"{key}.instructions"] = f"must be a text of 1 to {LONGEST_INSTRUCTIONS} characters"
        return None
    wanted = raw.get("depends_on")
    references = wanted if isinstance(wanted, list) else []
    return PlannedTask(
        key=key,
        title=(_text(raw.get("title")) or instructions.splitlines()[0])[:LONGEST_TITLE],
        instructions=instructions,
        expected_output=_text(raw.get("expected_output")) or None,
        review=raw.get("review") is True,
        depends_on=tuple(dict.fromkeys(each for each in references if isinstance(each, str) and each in earlier)),
    )


def _text(value: Any) -> str:
    return value.replace("\x00", "").strip() if isinstance(value, str) else ""
