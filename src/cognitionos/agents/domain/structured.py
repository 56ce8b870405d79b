"""JSON out of a model's words: bare, fenced, with talk or thoughts around it, with a comma too many."""

import re
from collections.abc import Iterator
from typing import Any

from cognitionos.kernel.json_text import read_json, read_json_at

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_START = re.compile(r"[{\[]")
_COMMA_TOO_MANY = re.compile(r",(?=\s*[}\]])")
_THOUGHT = "</think>"
_MOST_STARTS = 20


def json_in(text: str) -> Any:
    """The JSON value in `text`, an object before others; raises `ValueError` when there is none."""
    said = text.rpartition(_THOUGHT)[2]
    for candidate in (said.strip(), *(match.group(1).strip() for match in _FENCED.finditer(said))):
        for form in (candidate, _COMMA_TOO_MANY.sub("", candidate)):
            try:
                return read_json(form)
            except ValueError:
                continue
    found = list(_values(said))
    if not found:
        raise ValueError("there is no JSON in the answer")
    return next((value for value in found if isinstance(value, dict)), found[0])


def _values(text: str) -> Iterator[Any]:
    """The objects and lists in running text, each whole one once."""
    text, end = _COMMA_TOO_MANY.sub("", text), 0
    for number, start in enumerate(_START.finditer(text)):
        if number >= _MOST_STARTS:
            return
        if start.start() < end:
            continue
        try:
            value, end = read_json_at(text, start.start())
        except ValueError:
            continue
        yield value
