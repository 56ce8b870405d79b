"""A workflow in a file: YAML 1.2 (which includes JSON), of JSON's types only: `no` and `12:30` are texts."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cognitionos.kernel.errors import Invalid

MOST_VALUES = 500_000
"""More than a workflow of ten thousand tasks has."""

MOST_MERGED = 20_000
"""Keys of one object, those that it merges (`<<`) counted as often as they come."""

_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_MERGE = re.compile(r"^<<$")
_CORE = {
    "null": (_NULL, "~nN\0"),
    "bool": (_BOOL, "tTfF"),
    "int": (_INT, "-+0123456789"),
    "float": (_FLOAT, "-+.0123456789"),
    "merge": (_MERGE, "<"),
}
"""How a plain scalar is read, and what it begins with: the core schema of YAML 1.2, chapter 10.3."""


class UnreadableFile(Invalid):
    """The file is not there, or neither YAML nor JSON, or does not say a workflow."""


def read_workflow(path: Path) -> dict[str, Any]:
    """`{"name", "tasks"}` from a file (`-`: standard input); without a name, its own. Raises `UnreadableFile`."""
    import yaml  # type: ignore[import-untyped]  # here: a command that reads none should not pay for it

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        found = yaml.load(text, Loader=_loader(yaml))  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnreadableFile(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(found, Mapping) or not isinstance(found.get("tasks"), Mapping):
        raise UnreadableFile(f"{path} has no 'tasks': an object of tasks by key")
    if not _is_small(found):
        raise UnreadableFile(f"{path} holds more than {MOST_VALUES} values once its aliases are written out")
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path} holds what JSON cannot say: {error}") from error
    return {"name": path.stem, **found}


def _is_small(found: Any) -> bool:
    """Whether it can be written out: a few aliases of aliases say more than fits anywhere, or never end."""
    left, seen = [found], 0
    while left and seen <= MOST_VALUES:
        here = left.pop()
        inner = here.values() if isinstance(here, Mapping) else here if isinstance(here, list | tuple) else ()
        seen += 1
        left += list(inner)[: MOST_VALUES + 1]
    return seen <= MOST_VALUES


def _loader(yaml: Any) -> Any:
    """A safe loader of the core schema, to whom a key that comes twice is an error."""

    class Plain(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - the library's
            seen = set()
            for key, _ in node.value:
                if key.value in seen and isinstance(key, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' twice", key.start_mark)
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            return super().construct_mapping(node, deep=deep)

        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > MOST_MERGED:
                raise yaml.constructor.ConstructorError(None, None, "merges of merges", node.start_mark)

    Plain.yaml_implicit_resolvers = {}
    for name, (pattern, first) in _CORE.items():
        begins = ["" if character == "\0" else character for character in first]
        Plain.add_implicit_resolver(f"tag:yaml.org,2002:{name}", pattern, begins)
    return Plain
