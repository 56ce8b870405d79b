"""A JSON schema in the form that Anthropic's structured outputs take: closed objects, one type a place, few keywords.

Source: Anthropic's "Structured outputs", and what its SDK does to a schema (`transform_schema`): bounds that cannot be
enforced are told to the model in the description.
"""

from collections.abc import Mapping
from typing import Any

from cognitionos.llm_gateway.infrastructure.openai_schema import encode

_KEPT = frozenset({"const", "description", "enum", "required", "title", "type"})
_OF_SCHEMAS = {"allOf": "allOf", "anyOf": "anyOf", "oneOf": "anyOf"}
_NAMED_SCHEMAS = frozenset({"$defs", "definitions", "properties"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_SAYS_NOTHING = frozenset({"$schema", "$id", "$comment", "strict", "additionalProperties"})
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})
_DEEPEST = 64


class OpenSchema(ValueError):
    """The schema wants objects with fields that it does not name, or is nested without end."""


def closed(schema: object, *, depth: int = 0) -> dict[str, Any]:
    """The schema with every object closed. Raises `OpenSchema`."""
    if depth > _DEEPEST or not isinstance(schema, Mapping):
        raise OpenSchema(f"schemas are objects, nested no deeper than {_DEEPEST} levels")
    kinds = schema.get("type")
    if "$ref" in schema:
        schema = {name: value for name, value in schema.items() if name in {"$ref", "$defs", "definitions"}}
    elif "enum" in schema or "const" in schema:
        schema = {name: value for name, value in schema.items() if name != "type"}
    elif isinstance(kinds, list):
        outer = {name: value for name, value in schema.items() if name in {"description", "title", "$defs"}}
        schema = outer | {"anyOf": [_of_kind(schema, kind) for kind in kinds]}
    return _closed(schema, depth)


def _closed(schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _OF_SCHEMAS and isinstance(value, list):
            made[_OF_SCHEMAS[name]] = [closed(each, depth=depth + 1) for each in value]
        elif name in _NAMED_SCHEMAS and isinstance(value, Mapping):
            made[name] = {key: closed(each, depth=depth + 1) for key, each in value.items()}
        elif name == "items" and isinstance(value, Mapping):
            made[name] = closed(value, depth=depth + 1)
        elif name in _KEPT or name == "$ref" or _is_enforced(name, value):
            made[name] = value
        elif name not in _SAYS_NOTHING:
            told[name] = value
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties", False) is not False:
            raise OpenSchema("objects with named fields only: 'additionalProperties' must be false")
        made["additionalProperties"] = False
    if told:
        made["description"] = "\n\n".join(each for each in (made.get("description"), encode(told).decode()) if each)
    return made


def _is_enforced(name: str, value: object) -> bool:
    return (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1))


def _of_kind(schema: Mapping[str, Any], kind: object) -> dict[str, Any]:
    """The one of several types a place may have, with the keywords that speak of it."""
    foreign = {"description", "title", "$defs", "type"} | (set() if kind == "object" else _OF_OBJECTS)
    if kind != "array":
        foreign |= {"items", "minItems", "maxItems", "uniqueItems"}
    if kind == "null":
        return {"type": kind}
    return {"type": kind} | {name: value for name, value in schema.items() if name not in foreign}
