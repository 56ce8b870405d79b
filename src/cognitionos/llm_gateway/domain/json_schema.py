"""The least JSON value that a schema accepts: what the simulated model answers where no scenario speaks."""

from collections.abc import Mapping
from typing import Any

FILLER = "simulated"
_DEEPEST = 32
_FORMATS = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "email": "simulated@example.com",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def least_value(schema: Mapping[str, Any]) -> Any:
    """Required fields only, null where allowed, the first of every choice; texts say that they are simulated."""
    return _least(schema, schema, 0)


def _least(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return FILLER
    schema = _resolved(schema, root)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values:
        return None if None in values else values[0]
    options = [_resolved(option, root) for option in schema.get("anyOf") or schema.get("oneOf") or ()]
    if options:
        return None if any(_is_null(option) for option in options) else _least(options[0], root, depth + 1)
    return _least_of_kind(_kind(schema), schema, root, depth)


def _least_of_kind(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    match kind:
        case "object":
            return _least_object(schema, root, depth)
        case "array":
            count = int(schema.get("minItems", 0))
            prefix = list(schema.get("prefixItems", ()))[:count]
            rest = [schema.get("items", {})] * (count - len(prefix))
            return [_least(each, root, depth + 1) for each in (*prefix, *rest)]
        case "string":
            return _least_text(schema)
        case "integer" | "number":
            return _least_number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case _:
            return None


def _least_object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {name: _least(properties.get(name, {}), root, depth + 1) for name in schema.get("required", ())}


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(_DEEPEST):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            break
        target: Any = root
        for step in reference.lstrip("#/").split("/") if reference != "#" else ():
            target = target.get(step.replace("~1", "/").replace("~0", "~"), {})
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    for part in schema.get("allOf", ()):
        merged = _resolved(part, root)
        properties = {**schema.get("properties", {}), **merged.get("properties", {})}
        required = [*schema.get("required", ()), *merged.get("required", ())]
        schema = {**merged, **schema, "properties": properties, "required": list(dict.fromkeys(required))}
    return schema


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return "null" if "null" in kind else str(kind[0])
    if kind is None:
        return "object" if "properties" in schema or "required" in schema else "string"
    return str(kind)


def _is_null(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "null"


def _least_text(schema: Mapping[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), FILLER)
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _least_number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    value = low if low is not None else 0
    if above is not None and value <= above:
        value = int(above) + 1 if whole else above + 1
    high = schema.get("maximum")
    if high is not None and value > high:
        value = high
    step = schema.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if whole else value
