"""The kind `value`: returns its input and does nothing else (joins, tests, benches)."""

from collections.abc import Mapping
from typing import Any


def compute_value(spec: Mapping[str, Any]) -> Any:
    """The task's input."""
    return spec.get("input")
