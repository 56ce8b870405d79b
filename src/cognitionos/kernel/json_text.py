"""JSON and text that others wrote: a fault in it is a `ValueError`, never an error of ours.

Python's own reader raises `RecursionError` for what is nested deeply (how deeply differs between versions), reads `NaN`
and `Infinity`, which are no JSON (RFC 8259), and makes 1e999 an infinity that nothing after it can write.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

MOST_DEPTH = 100
_NESTED = (dict, list, tuple)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read_json(text: str | bytes) -> Any:
    """The value that `text` is. Raises `ValueError`: it is no JSON, is nested too deeply, or has a number too large."""
    return within_depth(_guarded(_READER.decode, text if isinstance(text, str) else text.decode()))


def read_json_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start` of `text`, and where it ends. Raises as `read_json`."""
    value, end = _guarded(_READER.raw_decode, text, start)
    return within_depth(value), end


def reader(**hooks: Any) -> Any:
    """`read_json` with other hooks (those of `json.JSONDecoder`)."""
    decoder = json.JSONDecoder(**{"parse_constant": _refused, "parse_float": _finite, **hooks})
    return lambda text: within_depth(_guarded(decoder.decode, text))


def within_depth(value: Any) -> Any:
    """`value`; raises `ValueError` where it is nested too deeply."""
    level = [value] if isinstance(value, _NESTED) else []
    for _ in range(MOST_DEPTH):
        if not level:
            return value
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(child, _NESTED)
        ]
    if level:
        raise ValueError(f"it is nested more than {MOST_DEPTH} levels deep")
    return value


def storable(value: Any) -> Any:
    """`value` with U+FFFD for what JSON in PostgreSQL cannot hold: NUL characters and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd") if value.isascii() else _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {storable(str(name)): storable(each) for name, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list | tuple) else value


def _guarded(read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


_READER = json.JSONDecoder(parse_constant=_refused, parse_float=_finite)
