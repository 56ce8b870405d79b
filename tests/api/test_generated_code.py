"""Code that an agent writes: it runs its tests in the sandbox and mends it; then the run itself checks the change."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.api.agent_stage import a_stage, steps_of
from tests.conftest import Run
from tests.waiting import eventually

from cognitionos.platform.config import Settings

TEST = """
import unittest
from slug import slug

class Slugs(unittest.TestCase):
    def test_words_are_joined(self):
        self.assertEqual(slug("  Ada  Lovelace "), "ada-lovelace")
    def test_nothing_is_nothing(self):
        self.assertEqual(slug(""), "")
"""
RIGHT = 'def slug(text):\n    """Words in lower case, joined by dashes."""\n    return "-".join(text.lower().split())\n'
WRONG = 'def slug(text):\n    return text.lower().replace(" ", "-")\n'
RUN_TESTS = """
import sys, unittest
sys.path.insert(0, ".")
compile(open("slug.py").read(), "slug.py", "exec")
suite = unittest.defaultTestLoader.loadTestsFromName("test_slug")
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
"""
VERIFY = RUN_TESTS + 'assert result.wasSuccessful(), "the change does not pass its tests"\nprint(result.testsRun)'


def writes(module: str) -> list[dict[str, Any]]:
    code = f"open('slug.py', 'w').write({module!r})\nopen('test_slug.py', 'w').write({TEST!r})\n{RUN_TESTS}"
    return [{"name": "python", "arguments": {"code": code}}]


RULES: list[dict[str, Any]] = [
    {"system_contains": ["critic"], "json": {"accepted": True, "reasons": []}},
    {"contains": ["never look"], "tool_results": 0, "call": writes(WRONG)},
    {"contains": ["never look"], "say": "Done, I think."},
    {"contains": ["write slug()"], "tool_results": 0, "call": writes(WRONG)},
    {"contains": ["write slug()"], "tool_results": 1, "call": writes(RIGHT)},
    {"contains": ["write slug()"], "say": "Mended after a failed test; both pass now."},
]


@pytest.fixture(scope="module")
def client(settings: Settings, run: Run) -> Iterator[httpx.AsyncClient]:
    stack = AsyncExitStack()
    yield run(a_stage(stack, settings, RULES))
    run(stack.aclose())


async def changed(client: httpx.AsyncClient, name: str, instructions: str) -> tuple[dict[str, Any], dict[str, Any]]:
    tasks = {
        "change": {"kind": "agent", "input": {"instructions": instructions, "review": True}},
        "verify": {"kind": "python", "depends_on": ["change"], "input": {"code": VERIFY}},
    }
    assert (await client.post("/v1/workflows", json={"name": name, "tasks": tasks})).status_code == 201
    href = (await client.post("/v1/runs", json={"workflow": name})).headers["location"]

    async def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await client.get(href)).json()
        return shown if shown["finished_at"] else None

    run = await eventually(ended, timeout_s=60)
    assert run is not None
    return run, {task["key"]: task for task in (await client.get(f"{href}/tasks")).json()["items"]}


async def test_a_generated_change_compiles_and_its_tests_pass_in_the_sandbox(client: httpx.AsyncClient) -> None:
    run, tasks = await changed(client, "mended", "Write slug() with tests, and run them.")
    tools = [step for step in await steps_of(client, run) if "FAILED" in str(step) or "OK" in str(step)]

    assert run["status"] == "succeeded", run
    assert {file["name"] for file in tasks["change"]["output"]["artifacts"]} == {"slug.py", "test_slug.py"}
    assert "Ran 2 tests" in str(tasks["verify"]["output"])
    assert ["FAILED" in str(step) for step in tools] == [True, False, False]  # at first, mended, by the run itself


async def test_a_change_that_fails_its_tests_fails_the_run_whatever_its_author_says(client: httpx.AsyncClient) -> None:
    run, tasks = await changed(client, "broken", "Write slug() with tests, and never look.")

    assert (run["status"], tasks["change"]["status"], tasks["verify"]["status"]) == ("failed", "succeeded", "failed")
    assert "does not pass its tests" in run["error"]["detail"]
