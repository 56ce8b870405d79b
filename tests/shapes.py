"""The shape of what an SDK gives: which fields there are and of which type, without their values."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel


def shape(given: Any, *, without: frozenset[str] = frozenset()) -> Any:
    """Fields that are set and not null, by name, down to the types of the leaves; of a list each shape once.

    No content is told as null or as an empty text: that is the same.
    """
    if isinstance(given, BaseModel):
        given = given.model_dump(mode="json", exclude_unset=True, warnings=False)
    if isinstance(given, dict):
        shown = {name: value for name, value in given.items() if not _says_nothing(name, value) and name not in without}
        return {name: shape(shown[name], without=without) for name in sorted(shown)}
    if isinstance(given, list | tuple):
        return in_turn(given, without=without)
    return type(given).__name__


def in_turn(events: Iterable[Any], *, without: frozenset[str] = frozenset()) -> list[Any]:
    """The shapes one after the other, repetitions left out."""
    shapes: list[Any] = []
    for event in events:
        told = shape(event, without=without)
        if not shapes or shapes[-1] != told:
            shapes.append(told)
    return shapes


def _says_nothing(name: str, value: object) -> bool:
    return value is None or (name, value) == ("content", "")
