"""Checks a JSON value against a JSON Schema (draft 2020-12), in words that a person or a model can act on.

The package `jsonschema` decides. Schemas come from strangers (a tenant, an MCP server), so what can take for ever or
leads elsewhere is not looked at: patterns, references, uniqueness. `schema_faults` says which words do not count.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY

_LEFT_OUT = (
    *("pattern", "patternProperties", "uniqueItems", "format", "$ref", "$dynamicRef"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
_NOTES = {"title", "description", "default", "examples", "deprecated", "$schema", "$id", "$comment"}
_DEEPEST = 64
"""Levels of JSON, of which a level of the schema takes two."""
_LONGEST = 200
_WORDS: Mapping[str, str] = {
    "const": "must be {!r}",
    "anyOf": "fits none of the allowed forms",
    "oneOf": "fits none of the allowed forms, or more than one",
    "not": "has a form that is not allowed",
    "minLength": "must be at least {} characters",
    "maxLength": "must be at most {} characters",
    "minItems": "must be at least {} items",
    "maxItems": "must be at most {} items",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
}


def _is_whole(_: Any, value: Any) -> bool:
    """1.0 is none: what is called with it may count with it."""
    return isinstance(value, int) and not isinstance(value, bool)


def _multiple(_: Any, of: float, value: Any, __: Any) -> Iterator[ValidationError]:
    """As the numbers are written: 0.07 is seven times 0.01, whatever binary fractions say."""
    if _Checker.TYPE_CHECKER.is_type(value, "number") and (_written(value) / _written(of)).denominator != 1:
        yield ValidationError(f"must be a multiple of {of}")


def _written(number: float) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


_Checker: Any = extend(
    Draft202012Validator,
    {**dict.fromkeys(_LEFT_OUT), "multipleOf": _multiple},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole),
)
_CHECKED = {word for word, check in _Checker.VALIDATORS.items() if check} | {"then", "else"}
_meta: Any = Draft202012Validator(Draft202012Validator.META_SCHEMA, registry=REGISTRY)


def faults_of(value: Any, schema: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with `value`, by path (`filters.0.name`); empty: nothing."""
    return _faults(_Checker(schema), value)


def in_words(faults: Mapping[str, str]) -> str:
    """Faults by path as one line."""
    return "; ".join(f"{path} {fault}" for path, fault in faults.items())


def with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    """`value` with the `default` of each property that it leaves out, in a copy."""
    if isinstance(value, dict):
        properties = {name: inner for name, inner in _inner(schema, "properties").items() if isinstance(inner, Mapping)}
        filled = {name: inner["default"] for name, inner in properties.items() if "default" in inner} | value
        return {name: with_defaults(each, properties.get(name, {})) for name, each in filled.items()}
    if isinstance(value, list):
        return [with_defaults(each, _inner(schema, "items")) for each in value]
    return value


def _inner(schema: Mapping[str, Any], word: str) -> Mapping[str, Any]:
    """The schemas below `word`; none where it stands for anything (`true`) or is no object."""
    inner = schema.get(word)
    return inner if isinstance(inner, Mapping) else {}


def form_faults(schema: Any) -> dict[str, str]:
    """What of `schema` is not JSON Schema, by path; empty: it can be checked with."""
    if not isinstance(schema, Mapping) or _depth(schema) > _DEEPEST:
        return {"$": f"must be an object, nested {_DEEPEST} deep at most"}
    return _faults(_meta, schema)


def schema_faults(schema: Any) -> dict[str, str]:
    """What of `schema` would not be checked as it says, by path: a wrong form, an unknown keyword, a default that does
    not fit. Empty: every word of it counts.
    """
    faults = form_faults(schema)
    if faults:
        return faults
    for path, inner in _schemas(schema, ()):
        faults |= {_at(*path, word): _UNKNOWN for word in inner.keys() - _CHECKED - _NOTES}
        if "default" in inner:
            for at, fault in faults_of(inner["default"], inner).items():
                faults[_at(*path, "default")] = fault if at == "$" else f"{at} {fault}"
    return faults


def _schemas(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """`schema` and every one inside it, by path."""
    yield path, schema
    for word in schema.keys() & _CHECKED - {"const", "enum", "required", "type", "dependentRequired"}:
        inner = schema[word]
        if isinstance(inner, list):
            inside = {f"{word}.{number}": each for number, each in enumerate(inner)}
        elif word in ("properties", "dependentSchemas"):
            inside = {f"{word}.{name}": each for name, each in inner.items()}
        else:
            inside = {word: inner}
        for at, each in inside.items():
            if isinstance(each, Mapping):
                yield from _schemas(each, (*path, at))


def _depth(value: Any, level: int = 1) -> int:
    """How deep it is nested; of one that is too deep, just too deep."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return level if level > _DEEPEST else max((_depth(each, level + 1) for each in inner), default=level)


def _faults(checker: Any, value: Any) -> dict[str, str]:
    faults: dict[str, str] = {}
    for error in checker.iter_errors(value):
        for at, fault in _told(error):
            if error.validator == "type":  # the others only say the same of a value of the wrong type
                faults[at] = fault
            else:
                faults.setdefault(at, fault)
    return faults


def _told(error: Any) -> Iterator[tuple[str, str]]:
    word, wanted, given, schema = error.validator, error.validator_value, error.instance, error.schema
    path = tuple(map(str, error.absolute_path))
    if word == "required":
        for name in wanted:
            if name not in given:
                yield _at(*path, name), "is missing"
    elif word == "additionalProperties" and wanted is False:
        known = schema.get("properties", {})
        for name in given.keys() - known.keys():
            yield _at(*path, name), f"is not known; known are {', '.join(known) or 'none'}"
    elif word == "type":
        yield _at(*path), f"must be of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
    elif word == "enum":
        yield _at(*path), f"must be one of {', '.join(map(repr, wanted))}"
    else:
        yield _at(*path), _WORDS[word].format(wanted) if word in _WORDS else error.message[:_LONGEST]


def _at(*path: str) -> str:
    return ".".join(path) or "$"


_UNKNOWN = f"is not looked at; {', '.join(sorted(_CHECKED | {'default'}))} are"
