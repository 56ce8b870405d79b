"""Tasks of kind `tool` and `python` take and give as much as tasks do, with the product's own tools."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.fakes.planning_engine import a_principal
from tests.integration.planning.test_tool_tasks import ended, opened, python

from cognitionos.composition import Services
from cognitionos.planning.domain.task import TaskSpec
from cognitionos.platform.config import Settings

LIMIT = 8 * 2**20


def of(before: str, key: str, code: str) -> TaskSpec:
    """Code on what the task before printed."""
    given = {"code": code, "input": {"$ref": f"tasks.{before}.output.output"}}
    return TaskSpec(key=key, kind="python", spec=given, depends_on=(before,))


@pytest.fixture(scope="module")
def services(settings: Settings, run: Any) -> Iterator[Services]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(opened(settings)))
    run(stack.aclose())


async def test_megabytes_go_from_code_to_code_in_their_shape(services: Services) -> None:
    make = python("make", "import json\nprint(json.dumps([{'id': n, 'name': 'é' * 20} for n in range(20_000)]))")
    take = of("make", "take", "print(json.dumps([len(data), data[-1]['name'], data[7]['id']]))")
    run, found = await ended(services, a_principal(), make, take)

    assert run.status == "succeeded", run.error
    assert found["take"]["output"] == [20_000, "é" * 20, 7]


async def test_what_is_printed_is_whole_up_to_the_limit(services: Services) -> None:
    most = python("p", f"print('x' * {LIMIT - 100}, end='')")

    run, found = await ended(services, a_principal(), most, of("p", "end", "print(len(data), set(data))"))

    assert run.status == "succeeded", run.error
    assert found["end"]["output"] == f"{LIMIT - 100} {{'x'}}\n"


async def test_what_is_printed_beyond_the_limit_is_a_failure_that_names_it(services: Services) -> None:
    run, _ = await ended(services, a_principal(), python("p", f"print('x' * {LIMIT}, end='.')"))

    assert run.error is not None
    assert run.error.type == "/problems/tool-failed"
    assert f"printed {LIMIT + 1} bytes, a task's output has at most {LIMIT}. Write" in run.error.detail


async def test_a_tool_takes_and_gives_more_than_a_model_could_read(services: Services) -> None:
    text = "z" * 150_000
    write = TaskSpec(
        key="write", kind="tool", spec={"tool": "write_file", "arguments": {"name": "a.txt", "text": text}}
    )
    show = TaskSpec(
        key="show",
        kind="tool",
        spec={"tool": "python", "arguments": {"code": "print(open('a.txt').read())"}},
        depends_on=("write",),
    )

    run, found = await ended(services, a_principal(), write, show, of("show", "end", "print(len(data))"))

    assert run.status == "succeeded", run.error
    assert found["end"]["output"] == len(text) + 1


@pytest.mark.parametrize(
    ("printed", "output"),
    [
        ("007", "007\n"), ("NaN", "NaN\n"), ("1e999", "1e999\n"), ("ok", "ok\n"), (" 5 ", 5), ("null", None),
        ("1.10", 1.1),
        ("12345678901234567890.5", "12345678901234567890.5\n"), ("52.520006599999997", 52.520006599999997),
        ("123456789012345678901234567890", 123456789012345678901234567890), ("1e-400", "1e-400\n"),
        ('{"a": 1, "a": [0.30000000000000004]}', {"a": [0.30000000000000004]}),
    ],
)  # fmt: skip
async def test_what_is_printed_is_its_json_value_if_that_keeps_it(
    services: Services, printed: str, output: Any
) -> None:
    run, found = await ended(services, a_principal(), python("p", f"print({printed!r})"))

    assert run.status == "succeeded", run.error
    assert found["p"]["output"] == output


async def test_a_hundred_levels_are_kept_and_one_more_stays_text(services: Services) -> None:
    code = "print('[' * {0} + ']' * {0})"

    run, found = await ended(services, a_principal(), python("a", code.format(99)), python("b", code.format(100)))

    assert run.status == "succeeded", run.error
    assert json.dumps(found["a"]["output"]) == "[" * 99 + "]" * 99
    assert found["b"]["output"] == "[" * 100 + "]" * 100 + "\n"
