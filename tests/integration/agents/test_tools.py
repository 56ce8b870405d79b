"""The tools on the real thing: sandbox, files in PostgreSQL, an HTTP server on the loopback."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from tests.conftest import Run
from tests.fakes.agents_bench import Bench, an_assignment
from tests.fakes.agents_gateway import calls, says
from tests.sandboxes import BACKENDS, a_sandbox

from cognitionos.agents.application.ports import Tool
from cognitionos.agents.domain.tool import Effect
from cognitionos.agents.facade import Assignment
from cognitionos.agents.infrastructure.http_request_tool import HttpRequestTool, effect_of
from cognitionos.agents.infrastructure.http_tool import HttpTool
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.agents.infrastructure.python_tool import PythonTool
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.platform.config import Settings
from cognitionos.platform.database import Database


@dataclass
class Workshop:
    """Agents with one kind of tool on a real database."""

    database: Database
    tools: tuple[Tool, ...]

    async def performed(self, assignment: Assignment, *lines: Any) -> tuple[Bench, list[dict[str, Any]]]:
        """The bench after the model said `lines`, and what its tools answered."""
        bench = Bench.of(
            *lines, tools=self.tools, journal=PostgresJournal(self.database), files=PostgresFiles(self.database)
        )
        await bench.agents.perform(assignment)
        async with self.database.transaction(assignment.tenant_id) as connection:
            query = "SELECT (content ->> 'result')::jsonb FROM agent_steps WHERE kind = 'tool' ORDER BY key"
            return bench, [row[0] for row in await (await connection.execute(query)).fetchall()]


async def a_task_with(database: Database, **files: str) -> Assignment:
    """A task of a run whose goal came with these CSV files."""
    assignment = an_assignment()
    for name, text in files.items():
        await PostgresFiles(database).put_input(
            assignment.tenant_id, assignment.run_id, name=f"{name}.csv", media_type="text/csv", content=text.encode()
        )
    return assignment


@pytest.fixture(scope="module")
def open_database(settings: Settings, run: Run) -> Iterator[Database]:
    opened = Database(settings.database_url.get_secret_value(), pool_size=6)
    run(opened.open())
    yield opened
    run(opened.close())


@pytest.fixture(scope="module", params=BACKENDS)
def workshop(
    request: pytest.FixtureRequest, open_database: Database, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    root = tmp_path_factory.mktemp("workspaces")
    python = PythonTool(sandbox=a_sandbox(request.param), files=PostgresFiles(open_database), root=root)
    run(python.open())
    yield Workshop(open_database, (python.tool,))
    run(python.close())
    assert list(root.iterdir()) == []


async def test_python_computes_from_an_input_and_what_it_writes_is_an_artifact(workshop: Workshop) -> None:
    task = await a_task_with(workshop.database, prices="a,1.5\nb,2.5\n")
    code = (
        "import csv, json\n"
        "total = sum(float(row[1]) for row in csv.reader(open('prices.csv')))\n"
        "open('total.json', 'w').write(json.dumps(total))\n"
        "print(json.dumps({'total': total}))"
    )

    bench, answers = await workshop.performed(task, calls(("python", {"code": code})), says("4"))

    assert answers == [{"output": {"total": 4.0}, "files_written": ["total.json"]}]
    assert await bench.texts(task.tenant_id, task.run_id) == {"prices.csv": "a,1.5\nb,2.5\n", "total.json": "4.0"}
    artifacts = await bench.agents.files(task.tenant_id, task.run_id)
    assert {file.name: file.origin for file in artifacts} == {"prices.csv": "input", "total.json": "output"}


async def test_the_next_call_sees_what_the_last_one_wrote_and_may_remove_it(workshop: Workshop) -> None:
    task = await a_task_with(workshop.database)

    bench, answers = await workshop.performed(
        task,
        calls(("python", {"code": "import os; os.mkdir('out'); open('out/a.txt', 'w').write('1')"})),
        calls(("python", {"code": "import os; print(open('out/a.txt').read()); os.remove('out/a.txt')"})),
        says("done"),
    )

    assert answers[1] == {"output": 1, "files_removed": ["out/a.txt"]}
    assert await bench.texts(task.tenant_id, task.run_id) == {}


async def test_code_in_a_markdown_fence_runs_and_silence_is_named(workshop: Workshop) -> None:
    task = await a_task_with(workshop.database)

    _, answers = await workshop.performed(
        task,
        calls(("python", {"code": "```python\nprint(1 + 1)\n```"}), ("python", {"code": "1 + 1"})),
        says("2"),
    )

    assert answers == [{"output": 2}, {"output": "", "notes": ["the code printed nothing"]}]


async def test_an_input_stays_as_it_was_whatever_the_code_does_to_it(workshop: Workshop) -> None:
    task = await a_task_with(workshop.database, n="1", m="2")

    bench, answers = await workshop.performed(
        task, calls(("python", {"code": "import os; open('n.csv', 'w').write('9'); os.remove('m.csv')"})), says("done")
    )

    assert "'n.csv' is an input of the goal and stays as it was" in answers[0]["notes"][0]
    assert await bench.texts(task.tenant_id, task.run_id) == {"m.csv": "2", "n.csv": "1"}


async def test_an_error_in_the_code_is_shown_to_the_model(workshop: Workshop) -> None:
    task = await a_task_with(workshop.database)

    bench, answers = await workshop.performed(
        task, calls(("python", {"code": "print('so far')\n1 / 0"})), says("I see")
    )

    assert answers[0]["output"] == "so far\n"
    assert "ZeroDivisionError" in answers[0]["error"]
    assert bench.counts.tools[0][1] == "error"


async def test_a_link_planted_in_the_workspace_carries_nothing_out(workshop: Workshop) -> None:
    task = await a_task_with(workshop.database)

    bench, _ = await workshop.performed(
        task, calls(("python", {"code": "import os\nos.symlink('/etc/passwd', 'users.txt')"})), says("tried")
    )

    assert await bench.texts(task.tenant_id, task.run_id) == {}


async def test_calls_side_by_side_each_have_their_copy_and_both_results_are_kept(workshop: Workshop) -> None:
    task = await a_task_with(workshop.database, n="3")
    code = "import os; before = os.listdir(); open('{0}.txt', 'w').write('{0}'); print(before)"

    bench, answers = await workshop.performed(
        task, calls(("python", {"code": code.format("a")}), ("python", {"code": code.format("b")})), says("both")
    )

    assert [answer["output"] for answer in answers] == ["['n.csv']\n", "['n.csv']\n"]
    assert await bench.texts(task.tenant_id, task.run_id) == {"a.txt": "a", "b.txt": "b", "n.csv": "3"}


async def test_files_are_listed_read_and_written_by_their_tools(open_database: Database) -> None:
    task = await a_task_with(open_database, long="x" * 10_000)

    bench, answers = await Workshop(open_database, ()).performed(
        task,
        calls(
            ("list_files", {}),
            ("read_file", {"name": "long.csv", "offset": 9_990}),
            ("read_file", {"name": "../secret"}),
            ("read_file", {"name": "none.txt"}),
            ("write_file", {"name": "long.csv", "text": "mine"}),
            ("write_file", {"name": "note.md", "text": "é"}),
        ),
        says("done"),
    )

    assert answers[0] == {"files": [{"name": "long.csv", "bytes": 10_000, "origin": "input"}]}
    assert answers[1] == {"text": "x" * 10, "characters": 10_000}
    assert "'..' is not allowed" in answers[2]["error"]
    assert "There is no file 'none.txt'" in answers[3]["error"]
    assert "is an input of the goal" in answers[4]["error"]
    assert answers[5] == {"written": "note.md", "bytes": 2}
    assert (await bench.texts(task.tenant_id, task.run_id))["note.md"] == "é"


async def test_a_long_file_is_read_piece_by_piece(open_database: Database) -> None:
    task = await a_task_with(open_database, long="x" * 10_000)

    _, answers = await Workshop(open_database, ()).performed(
        task, calls(("read_file", {"name": "long.csv"})), says("more to come")
    )

    assert len(answers[0]["text"]) == answers[0]["next_offset"] == 8_000


async def test_http_requests_carry_the_call_s_key_and_unlisted_hosts_are_refused(open_database: Database) -> None:
    keys: list[str | None] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        keys.append(request.headers.get("Idempotency-Key"))
        return web.json_response({"hello": "you"})

    async with AsyncExitStack() as stack:
        port = await _served(stack, answer)
        tool = HttpRequestTool(HttpTool(allowed_hosts=[f"127.0.0.1:{port}"])).tool
        task = an_assignment()
        here = {"method": "POST", "url": f"http://127.0.0.1:{port}/", "json": {"n": 1}}
        there = {"method": "GET", "url": "http://127.0.0.2/"}

        _, answers = await Workshop(open_database, (tool,)).performed(
            task, calls(("http_request", here), ("http_request", there)), says("asked")
        )

    assert (answers[0]["status"], answers[0]["body"]) == (200, {"hello": "you"})
    assert "error" in answers[1]
    async with open_database.transaction(task.tenant_id) as connection:
        effects = await (await connection.execute("SELECT key, effect, status FROM tool_effects")).fetchall()
    assert effects == [(keys[0], "unsafe", "finished")]


@pytest.mark.parametrize(
    ("method", "effect"),
    [("GET", Effect.NONE), ("PUT", Effect.IDEMPOTENT), ("DELETE", Effect.IDEMPOTENT), ("POST", Effect.UNSAFE)],
)
def test_what_a_request_may_do_depends_on_its_method(method: str, effect: Effect) -> None:
    assert effect_of({"method": method}) is effect


async def test_a_tool_that_cannot_be_had_here_is_not_offered_and_says_why(open_database: Database) -> None:
    tool = HttpRequestTool(HttpTool(allowed_hosts=[])).tool

    bench, answers = await Workshop(open_database, (tool,)).performed(
        an_assignment(), calls(("http_request", {"method": "GET", "url": "http://127.0.0.1/"})), says("then not")
    )

    assert "http_request" not in bench.gateway.requests[0].offered_tools
    assert "no host is allowed" in answers[0]["error"]


async def _served(stack: AsyncExitStack, answer: Any) -> int:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    port: int = server.sockets[0].getsockname()[1]
    return port
