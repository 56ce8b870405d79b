"""What is run: effects one after the other, side by side, in a map and in a nested run, and what needs no worker.

Its output depends on the run's input alone, so that runs of one input can be compared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

NAME = "crash-test"
INNER = "crash-test-inner"
# what holds a time or a person, which differ from run to run
_TOLD = {"approval": ("decision",), "wait": ()}

Tasks = dict[str, dict[str, Any]]


def run_input(name: str, number: int) -> dict[str, Any]:
    """The input of the run `name`: `number` decides its outputs."""
    return {"run": name, "number": number, "items": list(range(number % 3 + 3))}


def inner(effect_url: str) -> Tasks:
    """The nested workflow: one effect."""
    return {"inside": _effect("inside", effect_url)}


def outer(effect_url: str, nested: str) -> Tasks:
    """The workflow; `nested` is the inner one, `NAME@VERSION`."""
    wide = [f"wide{number}" for number in range(3)]
    number = {"$ref": "run.input.number"}
    branch = {"left": number, "op": ">=", "right": 0, "then": ["each"], "else": ["never"]}
    each = {
        "over": {"$ref": "run.input.items"},
        "concurrency": 2,
        "task": {"kind": "http", "input": _request("each", effect_url, item={"$ref": "item"})},
    }
    asked = {"prompt": "May it end?", "deadline_s": 0.2, "default": "approve"}
    waited = {"signal": "never-sent", "timeout_s": 0.2, "default": "nobody called"}
    return {
        "first": _effect("first", effect_url),
        "fork": {"kind": "value", "depends_on": ["first"], "input": {"from": {"$ref": "tasks.first.output.body"}}},
        **{key: _effect(key, effect_url, "fork") for key in wide},
        "branch": {"kind": "condition", "depends_on": ["fork"], "input": branch},
        "each": {"kind": "map", "depends_on": ["branch"], "input": each},
        "never": _effect("never", effect_url, "branch"),
        "nested": {
            "kind": "workflow",
            "depends_on": ["each", "never"],
            "input": {"workflow": nested, "input": {"$ref": "run.input"}},
        },
        "asked": {"kind": "approval", "depends_on": ["fork"], "input": asked},
        "waited": {"kind": "wait", "depends_on": ["fork"], "input": waited},
        "join": {
            "kind": "value",
            "depends_on": [*wide, "nested", "asked", "waited"],
            "input": {"all": {"$ref": "tasks.each.output"}, "number": number},
        },
        "last": _effect("last", effect_url, "join"),
    }


def outputs(tasks: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, Any]]:
    """Of a run's tasks, as the API lists them: how each ended and what it gave, without what differs by nature."""
    return {task["key"]: (task["status"], _lasting(task["kind"], task["output"])) for task in tasks}


def _lasting(kind: str, output: Any) -> Any:
    told = _TOLD.get(kind)
    return output if told is None or not isinstance(output, Mapping) else {name: output.get(name) for name in told}


def _effect(task: str, url: str, *after: str) -> dict[str, Any]:
    return {"kind": "http", "depends_on": list(after), "input": _request(task, url, item=None)}


def _request(task: str, url: str, *, item: Any) -> dict[str, Any]:
    run, number = {"$ref": "run.input.run"}, {"$ref": "run.input.number"}
    return {"method": "POST", "url": url, "json": {"run": run, "task": task, "item": item, "answer": [task, number]}}
