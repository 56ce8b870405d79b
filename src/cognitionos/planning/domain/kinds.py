"""The kinds of task that a workflow may declare, and what the input of each must be."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cognitionos.kernel.errors import Invalid
from cognitionos.planning.domain.approval import DEFAULTS
from cognitionos.planning.domain.condition import OPERATORS
from cognitionos.planning.domain.goal import InvalidGoal, checked_budget
from cognitionos.planning.domain.reference import MAP_TASK, REF
from cognitionos.planning.domain.task import DEFAULT_TIMEOUT_S

LONGEST_INSTRUCTIONS = 8_000
LONGEST_TEXT = 20_000
LONGEST_WAIT_S = 366 * 86_400.0
MOST_CRITICS = 9
MOST_RETRIED = 20
LONGEST_CODE = 100_000
SIGNAL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
WORKFLOW_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(@[1-9][0-9]{0,8})?"
NOT_IN_A_MAP = frozenset({"map", "condition"})
_OF_A_MAPS_TASK = dict.fromkeys(("kind", "input", "retry", "timeout_s", "budget_usd", "heartbeat_s"))
_NOT_WITHIN_A_DAY = "must be a number of seconds, more than 0 and at most 86400"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

Rule = Callable[[Any], str | None]
"""What is wrong with a field's value, if anything."""


class InvalidTaskInput(Invalid):
    """A task's input, with its references resolved, is not what its kind takes; `fields` says where."""


def input_faults(kind: str, given: Any) -> dict[str, str]:
    """What is wrong with the input for a known kind, by field below `input`. A reference may stand for any field."""
    rules = KINDS[kind]
    if rules is None:
        return {}
    if not isinstance(given, Mapping) or REF in given:
        return {"": f"must be an object with {_listed(rules)}"}
    faults = {
        name: f"is not a field of kind '{kind}'; it takes {_listed(rules)}" for name in given if name not in rules
    }
    for name, (rule, is_required) in rules.items():
        value = given.get(name)
        if value is None:
            if is_required:
                faults[name] = f"is needed by kind '{kind}'"
        elif not (isinstance(value, Mapping) and REF in value):
            fault = rule(value)
            if fault:
                faults[name] = fault
    if kind == "wait" and sum(name in given for name in ("duration_s", "until", "signal")) != 1:
        faults[""] = "must say one of 'duration_s', 'until' and 'signal'"
    if kind == "map" and isinstance(given.get(MAP_TASK), Mapping):
        faults |= _map_task_faults(given[MAP_TASK])
    return faults


def must_be_input(kind: str, given: Any) -> None:
    """Raise `InvalidTaskInput` unless `given`, without references, is what the kind takes."""
    faults = input_faults(kind, given) if kind in KINDS else {}
    if faults:
        raise InvalidTaskInput("; ".join(f"{name}: {fault}" for name, fault in faults.items()), fields=faults)


def _map_task_faults(task: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the task of a map: it takes what a task takes, but for what it depends on."""
    told = f"is not a field of a map's task; it has {_listed(_OF_A_MAPS_TASK)}"
    faults = {f"{MAP_TASK}.{name}": told for name in task if name not in _OF_A_MAPS_TASK}
    kind, retry, timeout_s = task.get("kind"), task.get("retry"), task.get("timeout_s", DEFAULT_TIMEOUT_S)
    if kind not in KINDS or kind in NOT_IN_A_MAP:
        kinds = _listed({name: None for name in KINDS if name not in NOT_IN_A_MAP})
        return faults | {f"{MAP_TASK}.kind": f"must be one of {kinds}"}
    for name, fault in input_faults(kind, task.get("input")).items():
        faults[f"{MAP_TASK}.input{'.' if name else ''}{name}"] = fault
    if retry is not None and not _is_retry(retry):
        told = "must be an object of 'max_attempts' (1 to 100), 'backoff_s' (0 to 60) and 'only' (types of problem)"
        faults[f"{MAP_TASK}.retry"] = told
    if not _is_within_a_day(timeout_s):
        faults[f"{MAP_TASK}.timeout_s"] = _NOT_WITHIN_A_DAY
    return faults | _item_terms_faults(kind, task)


def _item_terms_faults(kind: Any, task: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the terms of an agent's items."""
    terms = [name for name in ("budget_usd", "heartbeat_s") if task.get(name) is not None]
    if kind != "agent":
        return {f"{MAP_TASK}.{name}": "is for tasks of the kind 'agent'" for name in terms}
    faults = {}
    if "budget_usd" in terms:
        try:
            checked_budget(task["budget_usd"])
        except InvalidGoal as error:
            faults[f"{MAP_TASK}.budget_usd"] = error.fields["budget_usd"]
    if "heartbeat_s" in terms and not _is_within_a_day(task["heartbeat_s"]):
        faults[f"{MAP_TASK}.heartbeat_s"] = _NOT_WITHIN_A_DAY
    return faults


def _is_within_a_day(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 86_400


def _is_retry(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) - {"max_attempts", "backoff_s", "only"}:
        return False
    attempts, backoff_s = value.get("max_attempts", 1), value.get("backoff_s", 0)
    good_attempts = isinstance(attempts, int) and not isinstance(attempts, bool) and 1 <= attempts <= 100
    only = value.get("only", [])
    good_types = isinstance(only, list) and len(only) <= MOST_RETRIED and all(isinstance(each, str) for each in only)
    return good_attempts and _is_number(backoff_s) and 0 <= backoff_s <= 60 and good_types


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ref(value: Any) -> bool:
    return isinstance(value, Mapping) and REF in value


def _one_of(*words: str) -> Rule:
    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and value in words else f"must be one of {', '.join(words)}"

    return check


def _count(most: int) -> Rule:
    def check(value: Any) -> str | None:
        is_good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
        return None if is_good else f"must be a whole number from 1 to {most}"

    return check


def _texts(most: int) -> Rule:
    def check(value: Any) -> str | None:
        is_good = isinstance(value, list) and len(value) <= most
        is_good = is_good and all(_is_ref(each) or (isinstance(each, str) and 0 < len(each) <= 200) for each in value)
        return None if is_good else f"must be a list of at most {most} texts of 1 to 200 characters"

    return check


def _critics(value: Any) -> str | None:
    """How many critics agree, or who: `domain/consensus.py` of agents."""
    names = value if isinstance(value, list) else []
    is_panel = 0 < len(names) <= MOST_CRITICS and all(isinstance(each, str) and 0 < len(each) <= 100 for each in names)
    is_good = is_panel or _count(MOST_CRITICS)(value) is None
    return None if is_good else f"must be a number from 1 to {MOST_CRITICS}, or a list of as many agents"


def _list(value: Any) -> str | None:
    return None if isinstance(value, list) else "must be a list"


def _object(value: Any) -> str | None:
    return None if isinstance(value, Mapping) else "must be an object"


def _matching(pattern: str, told: str) -> Rule:
    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and re.fullmatch(pattern, value) else told

    return check


def _text(most: int) -> Rule:
    def check(value: Any) -> str | None:
        is_good = isinstance(value, str) and bool(value.strip()) and len(value) <= most
        return None if is_good else f"must be a text of 1 to {most} characters"

    return check


def _url(value: Any) -> str | None:
    is_good = isinstance(value, str) and value.startswith(("http://", "https://")) and len(value) <= LONGEST_TEXT
    return None if is_good else "must be an address that begins with http:// or https://"


def _method(value: Any) -> str | None:
    return None if value in METHODS else f"must be one of {', '.join(METHODS)}"


def _headers(value: Any) -> str | None:
    is_good = isinstance(value, Mapping) and all(
        isinstance(each, str) or (isinstance(each, Mapping) and REF in each) for each in value.values()
    )
    return None if is_good else "must be an object of texts"


def _duration(value: Any) -> str | None:
    is_good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_WAIT_S
    return None if is_good else f"must be a number of seconds from 0 to {LONGEST_WAIT_S:.0f}"


def _moment(value: Any) -> str | None:
    try:
        is_good = datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        is_good = False
    return None if is_good else "must be a time with its zone, such as 2026-11-21T12:00:00Z"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _anything(_: Any) -> str | None:
    return None


def _listed(rules: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in rules)


KINDS: dict[str, dict[str, tuple[Rule, bool]] | None] = {
    "value": None,
    "http": {
        "method": (_method, False),
        "url": (_url, True),
        "headers": (_headers, False),
        "json": (_anything, False),
    },
    "wait": {
        "duration_s": (_duration, False),
        "until": (_moment, False),
        "signal": (_matching(SIGNAL_NAME, "must be a name of 1 to 100 letters, digits, '.', '_' or '-'"), False),
        "timeout_s": (_duration, False),
        "default": (_anything, False),
    },
    "condition": {
        "left": (_anything, False),
        "op": (_one_of(*OPERATORS), False),
        "right": (_anything, False),
        "then": (_texts(1000), False),
        "else": (_texts(1000), False),
    },
    "map": {
        "over": (_list, True),
        MAP_TASK: (_object, True),
        "concurrency": (_count(1_000), False),
        "max_items": (_count(10_000), False),
        "on_error": (_one_of("fail", "collect"), False),
    },
    "approval": {
        "prompt": (_text(LONGEST_INSTRUCTIONS), True),
        "details": (_anything, False),
        "deadline_s": (_duration, False),
        "default": (_one_of(*DEFAULTS), False),
        "approvers": (_texts(100), False),
        "on_reject": (_one_of("fail", "continue"), False),
    },
    "workflow": {
        "workflow": (_matching(WORKFLOW_NAME, "must be the name of a workflow, or name@version"), True),
        "input": (_anything, False),
    },
    "python": {
        "code": (_text(LONGEST_CODE), True),
        "input": (_anything, False),
    },
    "tool": {
        "tool": (_text(200), True),
        "arguments": (_object, False),
    },
    "agent": {
        "instructions": (_text(LONGEST_INSTRUCTIONS), True),
        "agent": (_text(100), False),
        "role": (_text(100), False),
        "title": (_text(200), False),
        "expected_output": (_text(LONGEST_TEXT), False),
        "review": (_flag, False),
        "critics": (_critics, False),
        "critics_deadline_s": (_duration, False),
    },
}
"""By kind: each field's rule, and whether it must be there. None: the input may be anything."""
