"""Checks a JSON value against the part of JSON Schema that our tools and answers use, in words a model can act on.

Keywords: type, enum, const, anyOf, properties, required, additionalProperties, items, minItems, maxItems, minLength,
maxLength, minimum, maximum. Others are not looked at. Source: JSON Schema 2020-12, "Validation".
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Fault = tuple[str, str]

_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def faults_of(value: Any, schema: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with `value`, by path (`filters.0.name`); empty: nothing."""
    return dict(_faults(value, schema, ""))


def _faults(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Fault]:
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_KINDS[kind](value) for kind in kinds):
        yield _at(path), f"must be of type {' or '.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield _at(path), f"must be {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield _at(path), f"must be one of {', '.join(map(repr, schema['enum']))}"
    options = schema.get("anyOf", ())
    if options and all(any(_faults(value, option, path)) for option in options):
        yield _at(path), "fits none of the allowed forms"
    yield from _size_faults(value, schema, path)
    if isinstance(value, dict):
        yield from _object_faults(value, schema, path)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for number, each in enumerate(value):
            yield from _faults(each, schema["items"], f"{path}.{number}")


def _object_faults(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[Fault]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield _at(f"{path}.{name}"), "is missing"
    for name, each in value.items():
        if name in properties:
            yield from _faults(each, properties[name], f"{path}.{name}")
        elif schema.get("additionalProperties") is False:
            yield _at(f"{path}.{name}"), f"is not known; known are {', '.join(properties) or 'none'}"


def _size_faults(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Fault]:
    if isinstance(value, str):
        yield from _bounds(len(value), schema.get("minLength"), schema.get("maxLength"), path, "characters")
    elif isinstance(value, list):
        yield from _bounds(len(value), schema.get("minItems"), schema.get("maxItems"), path, "items")
    elif _KINDS["number"](value):
        yield from _bounds(value, schema.get("minimum"), schema.get("maximum"), path, "")


def _bounds(size: float, low: float | None, high: float | None, path: str, unit: str) -> Iterator[Fault]:
    if low is not None and size < low:
        yield _at(path), f"must be at least {low} {unit}".rstrip()
    if high is not None and size > high:
        yield _at(path), f"must be at most {high} {unit}".rstrip()


def _at(path: str) -> str:
    return path.lstrip(".") or "$"
