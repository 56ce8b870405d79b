"""A plan: the JSON schema a model fills, and what we make of the answer.

One key per task in order, dependencies limited to earlier keys: measured, every plan of a 0.5B model is then a graph
without cycles. Hosted providers in strict mode want every key required, so an unused task is null. What the fields mean
is said once, with the first task: the schema must be short enough for a small model's window.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from cognitionos.kernel.errors import Invalid
from cognitionos.planning.domain.graph import leaves
from cognitionos.planning.domain.plan_fields import FieldFault, flag_in, in_order, references_in, share_in, text_in
from cognitionos.planning.domain.plan_shapes import keyed
from cognitionos.planning.domain.replan import REPLANS, VERSIONS
from cognitionos.planning.domain.task import Expansion, Graft, TaskSpec
from cognitionos.planning.domain.team import CAPABILITIES, Worker, known_as, names

_T = TypeVar("_T")
MOST_TASKS = 12
MOST_ANEW = 6
"""Of a plan that replaces one task."""
LONGEST_INSTRUCTIONS = 8_000
LONGEST_TITLE = 200
SUMMARY_KEY = "summary"
FIRST, ANEW = "t", "n"
"""What the keys of a first plan and of a later one begin with: `t1`, and `n1` for what replaces a task."""


class InvalidPlan(Invalid):
    """The planner's answer is no plan; `fields` names what is wrong with it. `is_too_long`: it has too many tasks."""

    is_too_long = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """One task as planned. `capability` is the name of a tenant's own agent where there is an `agent_version`."""

    key: str
    title: str
    instructions: str
    expected_output: str | None
    review: bool
    depends_on: tuple[str, ...]
    capability: str | None = None
    budget_share: float | None = None
    agent_version: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As stored and shown."""
        shown: dict[str, Any] = {
            "key": self.key,
            "title": self.title,
            "instructions": self.instructions,
            "expected_output": self.expected_output,
            "review": self.review,
            "depends_on": list(self.depends_on),
        }
        if self.capability is not None:
            shown["capability"] = self.capability
        if self.agent_version is not None:
            shown["agent_version"] = self.agent_version
        if self.budget_share is not None:
            shown["budget_share"] = self.budget_share
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for the tasks of a plan: the goal's money, and how often its run may be planned again."""

    budget_nanousd: int | None = None
    replans: int = 0
    critical: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """What each task is told of it."""
        told: dict[str, Any] = {REPLANS: self.replans} if self.replans else {}
        return told | ({"critical": True} if self.critical else {})

    def budget(self, share: float | None) -> dict[str, Any]:
        """What a task with this share (percent) may cost; nothing where the plan does not say."""
        if share is None or self.budget_nanousd is None:
            return {}
        return {"budget_nanousd": max(1, round(self.budget_nanousd * share / 100))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tasks in order, each depending on earlier ones only."""

    tasks: tuple[PlannedTask, ...]

    def as_json(self) -> dict[str, Any]:
        """As stored and shown."""
        return {"tasks": [task.as_json() for task in self.tasks]}

    @classmethod
    def stored(cls, shown: Mapping[str, Any]) -> "Plan":
        """The plan that was stored as JSON."""
        return cls(
            tasks=tuple(PlannedTask(**{**task, "depends_on": tuple(task["depends_on"])}) for task in shown["tasks"])
        )

    def expansion(self, terms: Terms | None = None, *, graft: Graft | None = None) -> Expansion:
        """The run's tasks: agents in the plan's order; of several, a summary of the leaves is the result.

        With a `graft` they take a task's place: their keys begin with its key, and what depends on nothing new and
        names nothing finished gets what the replaced task had.
        """
        terms = terms or Terms()
        specs = [_agent(task, terms) for task in self.tasks]
        own = {spec.key for spec in specs}
        result_key = specs[0].key
        if len(specs) > 1:
            last = leaves({spec.key: [key for key in spec.depends_on if key in own] for spec in specs})
            specs.append(_summary(last, terms, part_of=graft.key if graft else None))
            result_key = SUMMARY_KEY
        if graft is None:
            return Expansion(tasks=tuple(specs), result_key=result_key)
        names = {key: f"{graft.key}.{key}" for key in (*own, SUMMARY_KEY)}
        placed = tuple(
            replace(spec, key=names[spec.key], depends_on=_placed(spec.depends_on or graft.inherits, names))
            for spec in specs
        )
        return Expansion(tasks=placed, result_key=names[result_key], graft=graft)


def _agent(task: PlannedTask, terms: Terms) -> TaskSpec:
    spec: dict[str, Any] = {
        "role": CAPABILITIES.get(task.capability or "", "executor"),
        "title": task.title,
        "instructions": task.instructions,
        "expected_output": task.expected_output,
        "review": task.review,
    }
    if task.agent_version is not None:
        spec |= {"role": task.capability, VERSIONS: {task.capability: task.agent_version}}
    spec |= terms.budget(task.budget_share) | terms.spec
    return TaskSpec(key=task.key, kind="agent", depends_on=task.depends_on, spec=spec)


def _summary(last: Sequence[str], terms: Terms, *, part_of: str | None) -> TaskSpec:
    what = "the goal" if part_of is None else f"what task {part_of} was to find out"
    spec = {
        "role": "summarizer",
        "title": "Put the results together",
        "instructions": f"Answer {what} from the results of the tasks.",
        "expected_output": None,
        "review": False,
    }
    return TaskSpec(key=SUMMARY_KEY, kind="agent", depends_on=tuple(last), spec=spec | terms.spec)


def _placed(depends_on: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names.get(key, key) for key in depends_on)


def plan_schema(
    max_tasks: int = MOST_TASKS, *, prefix: str = FIRST, finished: Sequence[str] = (), team: Sequence[Worker] = ()
) -> dict[str, Any]:
    """The JSON schema of a plan of at most `max_tasks`: keys `t1` to `tN`, all but the first nullable.

    Tasks may depend on earlier ones, and on what is `finished`. The names of a `team` are listed once. Of more than
    `MOST_TASKS` a task is described once for all of them, without a list of those that each may depend on.
    """
    keys, defined = _keys(max_tasks, prefix), {}
    properties: dict[str, Any] = {}
    if max_tasks > MOST_TASKS:
        defined["task"] = _task_schema(None, explained=True, has_team=bool(team))
    for index, key in enumerate(keys):
        task = {"$ref": "#/$defs/task"}
        if not defined:
            task = _task_schema([*finished, *keys[:index]], explained=index == 0, has_team=bool(team))
        properties[key] = task if index == 0 else {"anyOf": [task, {"type": "null"}]}
    if team:
        meaning = f"{_MEANINGS['capability']}, or who does it best"
        defined["who"] = {"type": "string", "enum": names(team), "description": meaning}
    schema = {"type": "object", "properties": properties, "required": keys, "additionalProperties": False}
    return {**schema, "$defs": defined} if defined else schema


def plan_of(
    answer: Any,
    max_tasks: int = MOST_TASKS,
    *,
    prefix: str = FIRST,
    finished: Sequence[str] = (),
    team: Sequence[Worker] = (),
) -> Plan:
    """The plan in a model's `answer`, or `InvalidPlan` with each fault named.

    Forgiven: other shapes of a plan (`plan_shapes.py`), missing tasks, null ones and references to these, references to
    later tasks (they come first then), fields in a form that can mean one thing only (`plan_fields.py`), shares that do
    not add up (they are weighed against each other). Tasks beyond the cap are not: none is left out without a word.
    """
    answer = keyed(answer, prefix)
    if not isinstance(answer, Mapping):
        told = f"The answer must be a JSON object with the tasks {prefix}1, {prefix}2, ..."
        raise InvalidPlan(told, fields={"$": "not an object"})
    keys = _keys(max_tasks, prefix)
    present = [key for key in keys if answer.get(key) is not None]
    faults = _beyond(answer, keys)
    is_too_long = bool(faults)
    references = partial(references_in, known={*finished, *present}, unused=answer.keys() - set(present), prefix=prefix)
    read = [_task(key, answer[key], references=references, team=team, faults=faults) for key in present]
    tasks = {task.key: task for task in read if task is not None}
    order: list[str] = []
    try:
        graph = {key: [each for each in task.depends_on if each in tasks] for key, task in tasks.items()}
        order = in_order(graph)
    except FieldFault as cycle:
        faults["$"] = str(cycle)
    if not present:
        faults[f"{prefix}1"] = "a plan has at least one task"
    if faults:
        fault = InvalidPlan("; ".join(f"{field}: {fault}" for field, fault in faults.items()), fields=faults)
        fault.is_too_long = is_too_long
        raise fault
    return Plan(tasks=_weighed([tasks[key] for key in order]))


def _beyond(answer: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """The fault of an answer with tasks under other keys than those that a plan may have."""
    extra = [
        str(key)[:40]
        for key, task in answer.items()
        if key not in keys and isinstance(task, Mapping) and "instructions" in task
    ]
    if not extra:
        return {}
    shown = ", ".join(map(repr, extra[:5])) + (", ..." if len(extra) > 5 else "")
    last = "" if len(keys) == 1 else f" to {keys[-1]}"
    return {"$": f"{shown} cannot be taken: a plan has at most {len(keys)} tasks, {keys[0]}{last}; use fewer"}


def _weighed(tasks: Sequence[PlannedTask]) -> tuple[PlannedTask, ...]:
    """Shares that add up to 100; of a plan that leaves one out, none."""
    total = sum(task.budget_share or 0 for task in tasks)
    if any(task.budget_share is None for task in tasks):
        return tuple(replace(task, budget_share=None) for task in tasks)
    return tuple(replace(task, budget_share=round(100 * (task.budget_share or 0) / total, 2)) for task in tasks)


def _keys(number: int, prefix: str) -> list[str]:
    return [f"{prefix}{each}" for each in range(1, number + 1)]


def _task_schema(earlier: Sequence[str] | None, *, explained: bool, has_team: bool) -> dict[str, Any]:
    """A task that may depend on `earlier` ones; None: on any, as far as the schema says."""
    properties: dict[str, Any] = {
        "title": {"type": "string"},
        "instructions": {"type": "string"},
        "expected_output": {"type": "string"},
        "capability": {"type": "string", "enum": list(CAPABILITIES)},
        "budget_share": {"type": "integer"},
        "review": {"type": "boolean"},
    }
    if earlier is None:
        properties["depends_on"] = {"type": "array", "items": {"type": "string"}}
    elif earlier:
        properties["depends_on"] = {"type": "array", "items": {"type": "string", "enum": list(earlier)}}
    if explained:
        properties = {name: {**each, "description": _MEANINGS[name]} for name, each in properties.items()}
    if has_team:
        properties["capability"] = {"$ref": "#/$defs/who"}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_MEANINGS = {
    "title": "a few words",
    "instructions": "what to do, complete: the worker sees only this",
    "expected_output": "what the result must contain",
    "capability": "research: find out from sources; general: everything else",
    "budget_share": "percent of the budget",
    "review": "true if a critic must check the result",
    "depends_on": "earlier tasks whose results it needs",
}


def _task(
    key: str,
    raw: Any,
    *,
    references: Callable[[Any], tuple[str, ...]],
    team: Sequence[Worker],
    faults: dict[str, str],
) -> PlannedTask | None:
    if not isinstance(raw, Mapping):
        faults[key] = "must be an object or null"
        return None

    def read(name: str, meaning: Callable[[Any], _T], *, unread: _T) -> _T:
        try:
            return meaning(raw.get(name))
        except FieldFault as fault:
            faults[f"{key}.{name}"] = str(fault)
            return unread

    instructions = read("instructions", text_in, unread="")
    if not instructions or len(instructions) > LONGEST_INSTRUCTIONS:
        faults[f"{key}.instructions"] = f"must be a text of 1 to {LONGEST_INSTRUCTIONS} characters"
        return None
    said = read("capability", text_in, unread="")
    capability = known_as(said, team)
    if said and capability is None:
        faults[f"{key}.capability"] = f"must be one of {', '.join(names(team))}"
    return PlannedTask(
        key=key,
        title=(read("title", text_in, unread="") or instructions.splitlines()[0])[:LONGEST_TITLE],
        instructions=instructions,
        expected_output=read("expected_output", text_in, unread="") or None,
        review=read("review", flag_in, unread=False),
        depends_on=read("depends_on", references, unread=()),
        capability=capability,
        budget_share=read("budget_share", share_in, unread=None),
        agent_version=next((worker.version for worker in team if worker.name == capability), None),
    )
