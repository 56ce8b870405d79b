"""What an MCP server says of its tools, made safe to offer: names and schemas are a stranger's text.

References (`#/$defs/...`) are put in place, so that models and our check need not follow them; nothing outside the
schema is ever fetched. Patterns are dropped: a stranger's regular expression can take for ever.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from cognitionos.agents.domain.tool import Effect, ToolSpec, clipped
from cognitionos.kernel.json_schema import form_faults

MOST_TOOLS = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}\Z")
_DESCRIPTION = 1_000
_DEPTH = 24
_SCHEMA_BYTES = 32 * 1024
_NODES = 4_000
_DROPPED = frozenset({"$schema", "$id", "$defs", "definitions", "pattern", "patternProperties", "$anchor", "$comment"})


class BadSchema(ValueError):
    """It cannot be offered; the text says why."""


def offered(tools: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The tools (of the SDK) as they are stored, and why others are refused, by name."""
    kept: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    known_as: dict[str, str] = {}
    for each in tools:
        name = str(each.name)[:200]
        try:
            if not _NAME.match(name):
                raise BadSchema("its name is not of letters, digits, '_', '.', '/' and '-'")
            if len(kept) >= MOST_TOOLS:
                raise BadSchema(f"a server may have {MOST_TOOLS} tools")
            told = ToolSpec(name=name, description="", parameters={}).wire_name
            if known_as.setdefault(told, name) != name:
                raise BadSchema(f"models would take it for '{known_as[told]}'")
            kept[name] = {
                "name": name,
                "description": clipped(each.description or each.title or name, _DESCRIPTION),
                "parameters": usable(each.input_schema),
                "effect": effect_of(each.annotations).value,
            }
        except BadSchema as error:
            refused[name] = str(error)
    return list(kept.values()), refused


def effect_of(hints: Any) -> Effect:
    """What the server says a call does. It decides no permission, only whether a call is repeated after a crash."""
    if hints is not None and hints.read_only_hint:
        return Effect.NONE
    return Effect.IDEMPOTENT if hints is not None and hints.idempotent_hint else Effect.UNSAFE


def usable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` without references, patterns and what our check does not understand. Raises `BadSchema`."""
    if schema.get("type") != "object":
        raise BadSchema("its arguments are not an object")
    found = _Inliner(schema).inlined(schema, depth=0)
    for at, fault in form_faults(found).items():
        raise BadSchema(f"its schema is wrong: {at} {fault}")
    if len(msgspec.json.encode(found)) > _SCHEMA_BYTES:
        raise BadSchema(f"its schema has more than {_SCHEMA_BYTES} bytes")
    found.setdefault("properties", {})
    return found


class _Inliner:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def inlined(self, schema: Any, *, depth: int) -> dict[str, Any]:
        self._nodes += 1
        if depth > _DEPTH or self._nodes > _NODES:
            raise BadSchema("its schema is too deep or refers to itself")
        if not isinstance(schema, Mapping):
            return {}  # `true`: anything goes
        if isinstance(schema.get("$ref"), str):
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return self.inlined({**self._target(schema["$ref"]), **rest}, depth=depth + 1)
        made = {key: value for key, value in schema.items() if key not in _DROPPED}
        if isinstance(made.get("properties"), Mapping):
            made["properties"] = {
                str(name): self.inlined(each, depth=depth + 1) for name, each in made["properties"].items()
            }
        for key in ("items", "additionalProperties"):
            if isinstance(made.get(key), Mapping):
                made[key] = self.inlined(made[key], depth=depth + 1)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(made.get(key), list):
                made[key] = [self.inlined(each, depth=depth + 1) for each in made[key]]
        return made

    def _target(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        if not reference.startswith("#"):
            raise BadSchema("its schema refers to another document")
        for part in reference.lstrip("#").strip("/").split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise BadSchema(f"its schema refers to {reference[:100]!r}, which is not there")
        return found
