"""JSON out of a model's words: bare, fenced, or with talk around it."""

import json
import re
from typing import Any

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_START = re.compile(r"[{\[]")


def json_in(text: str) -> Any:
    """The JSON value in `text`; raises `ValueError` when there is none."""
    for candidate in (text.strip(), *(match.group(1).strip() for match in _FENCED.finditer(text))):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    start = _START.search(text)
    if start is None:
        raise ValueError("there is no JSON in the answer")
    value, _ = json.JSONDecoder().raw_decode(text, start.start())
    return value
