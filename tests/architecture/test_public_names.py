"""The names that others rely on are those in `public_names.txt`: changing one is a deliberate diff of that file.

python -m tests.architecture.test_public_names > tests/architecture/public_names.txt
"""

import ast
import dataclasses
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from prometheus_client import REGISTRY

from cognitionos import events
from cognitionos.kernel.event import Event
from cognitionos.platform.config import Settings
from cognitionos.platform.http_catalogue import catalogue
from cognitionos.web import create_app

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("public_names.txt")


def routes() -> Iterator[str]:
    """`METHOD path` of every route in the OpenAPI document."""
    schema = create_app(Settings(detect_local_models=False)).openapi_schema.to_schema()
    for path, methods in schema["paths"].items():
        yield from (f"{method.upper()} {path}" for method in methods)


def run_events() -> Iterator[str]:
    """The kinds of a run's events, as the code writes them; `*` is the run's last status."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (kind := _kind_of(node)) is not None:
                yield kind


def facts() -> Iterator[str]:
    """The facts that contexts tell each other, with their fields."""
    for module in pkgutil.iter_modules(events.__path__):
        members = vars(importlib.import_module(f"{events.__name__}.{module.name}")).values()
        for each in members:
            if isinstance(each, type) and issubclass(each, Event) and each is not Event:
                fields = ", ".join(f"{field.name}: {_type_name(field.type)}" for field in dataclasses.fields(each))
                yield f"{module.name}.{each.__name__}({fields})"


def metrics() -> Iterator[str]:
    """Our series with their labels."""
    for collector in set(REGISTRY._names_to_collectors.values()):
        for metric in collector.describe() if hasattr(collector, "describe") else ():
            if metric.name.startswith("cognitionos_"):
                suffix = "_total" if metric.type == "counter" else ""
                yield f"{metric.name}{suffix}{{{', '.join(getattr(collector, '_labelnames', ()))}}}"


def public_names() -> str:
    """Everything, as the file shows it."""
    parts = {
        "routes": routes(),
        "run events": {*run_events()},
        "facts": facts(),
        "problem types": (f"{slug} {status}" for slug, (status, _) in catalogue().items()),
        "metrics": metrics(),
    }
    return "\n".join(f"# {title}\n" + "".join(f"{name}\n" for name in sorted(names)) for title, names in parts.items())


def _kind_of(call: ast.Call) -> str | None:
    """The kind in `RunEvent(kind=...)`, `Told(kind=...)`, `report(kind, ...)` and `record(..., told=(kind, ...))`."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    named = {each.arg: each.value for each in call.keywords}
    given: list[ast.expr] = []
    if name in {"RunEvent", "Told"} and "kind" in named:
        given = [named["kind"]]
    elif name == "report":
        given = call.args[:1]
    elif name == "record" and isinstance(named.get("told"), ast.Tuple):
        given = cast("ast.Tuple", named["told"]).elts
    if not given:
        return None
    value = given[0]
    if isinstance(value, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "*" for part in value.values)
    return value.value if isinstance(value, ast.Constant) else None


def _type_name(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def test_the_public_names_are_those_of_the_file() -> None:
    alone = subprocess.run(  # other tests define errors and metrics of their own
        [sys.executable, "-m", "tests.architecture.test_public_names"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    names, pinned = set(alone.stdout.splitlines()), set(FILE.read_text(encoding="utf-8").splitlines())
    assert names - pinned == set(), "new names; if they are meant, write the file anew (see above)"
    assert pinned - names == set(), "names that others rely on are gone"


if __name__ == "__main__":
    print(public_names(), end="")
