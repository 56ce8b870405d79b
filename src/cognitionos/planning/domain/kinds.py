"""The kinds of task that a workflow may declare, and what the input of each must be."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cognitionos.kernel.errors import Invalid
from cognitionos.planning.domain.reference import REF

LONGEST_INSTRUCTIONS = 8_000
LONGEST_TEXT = 20_000
LONGEST_WAIT_S = 366 * 86_400.0
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
    if kind == "wait" and ("duration_s" in given) == ("until" in given):
        faults[""] = "must say either 'duration_s' or 'until'"
    return faults


def must_be_input(kind: str, given: Any) -> None:
    """Raise `InvalidTaskInput` unless `given`, without references, is what the kind takes."""
    faults = input_faults(kind, given) if kind in KINDS else {}
    if faults:
        raise InvalidTaskInput("; ".join(f"{name}: {fault}" for name, fault in faults.items()), fields=faults)


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
    },
    "agent": {
        "instructions": (_text(LONGEST_INSTRUCTIONS), True),
        "role": (_text(100), False),
        "title": (_text(200), False),
        "expected_output": (_text(LONGEST_TEXT), False),
        "review": (_flag, False),
    },
}
"""By kind: each field's rule, and whether it must be there. None: the input may be anything."""
