"""Checks a JSON value against a part of JSON Schema, in words that a person or a model can act on.

Keywords: type, enum, const, anyOf, properties, required, additionalProperties, items, minItems, maxItems, minLength,
maxLength, minimum, maximum. Others are not looked at; `schema_faults` says which a schema has. Source: JSON Schema
2020-12, "Validation".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
_NOTES = {"title", "description", "default", "examples", "deprecated", "$schema", "$id", "$comment"}


def _is_type(value: Any) -> bool:
    kinds = value if isinstance(value, list) else [value]
    return bool(kinds) and all(isinstance(kind, str) and kind in _KINDS for kind in kinds)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_NUMBER = (_KINDS["number"], "must be a number")
_FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"must be one or some of {', '.join(_KINDS)}"),
    "enum": (_KINDS["array"], "must be a list"),
    "required": (_are_names, "must be a list of names"),
    "properties": (_KINDS["object"], "must be an object of schemas by name"),
    "anyOf": (_KINDS["array"], "must be a list of schemas"),
    "additionalProperties": (_KINDS["boolean"], "must be true or false"),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum"), _NUMBER),
}
_CHECKED = {*_FORMS, "const", "items"}
_DEEPEST = 32


def faults_of(value: Any, schema: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with `value`, by path (`filters.0.name`); empty: nothing."""
    return dict(_faults(value, schema, ""))


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """`value` with the `default` of each property that it leaves out, in a copy."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = {name: inner["default"] for name, inner in properties.items() if "default" in inner} | value
        return {name: with_defaults(each, properties.get(name, {})) for name, each in filled.items()}
    if isinstance(value, list):
        return [with_defaults(each, schema.get("items", {})) for each in value]
    return value


def schema_faults(schema: Any) -> dict[str, str]:
    """What of `schema` would not be checked as it says, by path: an unknown keyword, a wrong form, a default that does
    not fit. Empty: every word of it counts.
    """
    return dict(_schema_faults(schema, "", 0))


def _schema_faults(schema: Any, path: str, depth: int) -> Iterator[Fault]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        yield _at(path), "must be an object, nested 32 deep at most"
        return
    for name in schema.keys() - _CHECKED - _NOTES:
        yield _at(f"{path}.{name}"), f"is not looked at; {', '.join(sorted(_CHECKED | {'default'}))} are"
    found = [fault for word, value in schema.items() for fault in _word_faults(word, value, path, depth)]
    yield from found
    if "default" in schema and not found:
        for where, fault in faults_of(schema["default"], schema).items():
            yield _at(f"{path}.default"), fault if where == "$" else f"{where} {fault}"


def _word_faults(word: str, value: Any, path: str, depth: int) -> Iterator[Fault]:
    """What is wrong with one keyword."""
    at = f"{path}.{word}"
    is_good, form = _FORMS.get(word, (None, ""))
    if is_good is not None and not is_good(value):
        yield _at(at), form
        return
    inner: Iterable[tuple[Any, Any]] = ()
    if word == "properties":
        inner = value.items()
    elif word == "anyOf":
        inner = enumerate(value)
    elif word == "items":
        yield from _schema_faults(value, at, depth + 1)
    for name, schema in inner:
        yield from _schema_faults(schema, f"{at}.{name}", depth + 1)


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
