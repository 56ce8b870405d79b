"""The sandbox as its users see it: legitimate programs, limits, life and death. Over every backend this machine has."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.sandboxes import BACKENDS, a_sandbox, children_of, is_alive, runners_of
from tests.waiting import eventually, eventually_sync

from cognitionos.agents.infrastructure import python_sandbox
from cognitionos.agents.infrastructure.python_sandbox import (
    BadSandboxRun,
    PythonSandbox,
    SandboxFile,
    SandboxUnavailable,
)

LIBRARY = """
import csv, json, statistics, decimal, datetime, re, math, collections, itertools, hashlib, random, pathlib, shutil, os
rows = list(csv.DictReader(open("suppliers.csv", encoding="utf-8")))
mean = statistics.mean(decimal.Decimal(row["price"]) for row in rows)
report = {"mean": str(mean), "names": [row["name"] for row in rows], "root": math.isqrt(49)}
pathlib.Path("out").mkdir()
pathlib.Path("out/report.json").write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")
shutil.copy("suppliers.csv", "out/copy.csv")
os.replace("out/copy.csv", "moved.csv")
print(json.loads(pathlib.Path(os.getcwd(), "out", "report.json").read_text(encoding="utf-8"))["names"])
print(datetime.date(2026, 11, 21).isoformat(), re.sub("a+", "b", "caat"), __name__)
"""
ASYNC = """
import asyncio
import json
async def one(number):
    await asyncio.sleep(0.01)
    return number
async def everything():
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(3)]
    return [task.result() for task in tasks] + await asyncio.gather(one(3), one(4))
print(asyncio.run(everything()))
"""


async def test_a_program_uses_the_library_and_its_workspace(sandbox: PythonSandbox, workspace: Path) -> None:
    (workspace / "suppliers.csv").write_text("name,price\nMüller,10.5\n東京,20.5\n", "utf-8")

    result = await sandbox.run(LIBRARY, workspace=workspace)

    assert (result.error, result.stderr, result.timed_out) == (None, "", False)
    assert result.stdout == "['Müller', '東京']\n2026-11-21 cbt __main__\n"
    assert [file.path for file in result.files] == ["moved.csv", "out/report.json"]
    assert '"mean": "15.5"' in (workspace / "out" / "report.json").read_text("utf-8")


@pytest.mark.parametrize("given", [[1, 2, 39], None, "'\"\\\n é 😀", "x" * 8 * 2**20])
async def test_a_program_finds_what_it_is_given(sandbox: PythonSandbox, workspace: Path, given: Any) -> None:
    code = "import hashlib\nprint(hashlib.sha256(json.dumps(data).encode()).hexdigest())"

    result = await sandbox.run(code, workspace=workspace, given=json.dumps(given, ensure_ascii=False))

    assert (result.error, result.stdout.strip()) == (None, sha256(json.dumps(given).encode()).hexdigest())
    assert result.files == ()


async def test_asyncio_programs_run(sandbox: PythonSandbox, workspace: Path) -> None:
    result = await sandbox.run(ASYNC, workspace=workspace)

    assert (result.error, result.stdout) == (None, "[0, 1, 2, 3, 4]\n")


async def test_a_failing_program_gives_its_traceback_and_what_it_printed(
    sandbox: PythonSandbox, workspace: Path
) -> None:
    result = await sandbox.run("print('so far')\nvalue = 1 / 0\n", workspace=workspace)

    assert result.error == "ZeroDivisionError: division by zero"
    assert result.stdout == "so far\n"
    assert "line 2, in <module>\n    value = 1 / 0\n" in result.stderr


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import sys; sys.exit()", None),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        ("input()", "EOFError"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
async def test_the_outcome_is_one_line(sandbox: PythonSandbox, workspace: Path, code: str, error: str | None) -> None:
    result = await sandbox.run(code, workspace=workspace)

    assert (result.error is None) if error is None else (result.error or "").startswith(error)


async def test_nothing_is_left_of_a_run_in_the_next(sandbox: PythonSandbox, workspace: Path) -> None:
    await sandbox.run("import builtins, json\nbuiltins.mark = json.mark = 1", workspace=workspace)

    result = await sandbox.run(
        "import builtins, json\nprint(hasattr(builtins, 'mark'), hasattr(json, 'mark'))", workspace=workspace
    )

    assert result.stdout == "False False\n"


async def test_a_program_imports_its_own_modules(sandbox: PythonSandbox, workspace: Path) -> None:
    (workspace / "rates.py").write_text("VAT = 19\n")

    result = await sandbox.run("import rates\nprint(rates.VAT)", workspace=workspace)

    assert result.stdout == "19\n"


async def test_more_runs_than_slots_queue_and_stay_apart(sandbox: PythonSandbox, workspace: Path) -> None:
    places = [workspace / str(number) for number in range(6)]
    for place in places:
        place.mkdir()

    results = await asyncio.gather(
        *(
            sandbox.run("open('mine.txt', 'w').write('x')\nimport os\nprint(sorted(os.listdir()))", workspace=p)
            for p in places
        )
    )

    assert {result.stdout for result in results} == {"['mine.txt']\n"}
    assert {result.files for result in results} == {(SandboxFile("mine.txt", 1),)}


async def test_output_is_cut_and_says_so(sandbox: PythonSandbox, workspace: Path) -> None:
    result = await sandbox.run("print('é' * 5000)", workspace=workspace, max_output_bytes=100)

    assert result.error is None
    assert result.stdout == "é" * 50 + "\n[cut after 100 bytes of 10001]"


async def test_a_missing_workspace_or_endless_code_is_refused(sandbox: PythonSandbox, workspace: Path) -> None:
    (workspace / "link").symlink_to(workspace)

    for place in (workspace / "none", workspace / "link"):
        with pytest.raises(BadSandboxRun):
            await sandbox.run("1", workspace=place)
    with pytest.raises(BadSandboxRun):
        await sandbox.run("#" * 300_000, workspace=workspace)


async def test_fuel_repeats_exactly_in_webassembly_and_is_unknown_elsewhere(
    sandbox: PythonSandbox, workspace: Path
) -> None:
    fuel = [(await sandbox.run("print(sum(range(1000)))", workspace=workspace)).fuel for _ in range(2)]

    assert fuel[0] == fuel[1]
    assert (fuel[0] is not None) == (sandbox.describe().kind == "wasm")


async def test_a_cancelled_run_leaves_no_process(sandbox: PythonSandbox, workspace: Path) -> None:
    endless = asyncio.create_task(sandbox.run("open('started', 'w').close()\nwhile True: pass", workspace=workspace))
    await eventually((workspace / "started").exists)

    endless.cancel()

    with pytest.raises(asyncio.CancelledError):
        await endless
    await eventually(lambda: len(runners_of(os.getpid())) <= sandbox.warm)


async def test_closing_ends_every_runner_and_refuses_further_runs(workspace: Path) -> None:
    before = children_of(os.getpid())
    sandbox = PythonSandbox(backend="process")
    await sandbox.open()
    await sandbox.run("1", workspace=workspace)

    await sandbox.close()

    await eventually(lambda: children_of(os.getpid()) <= before)
    with pytest.raises(SandboxUnavailable, match="closed"):
        await sandbox.run("1", workspace=workspace)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_unpacked_engine_is_kept_where_one_says(backend: str, workspace: Path) -> None:
    (workspace / "run").mkdir()
    for _ in range(2):
        sandbox = a_sandbox(backend)
        sandbox.state_directory = workspace / "state"
        await sandbox.open()
        assert (await sandbox.run("print(1)", workspace=workspace / "run")).stdout == "1\n"
        await sandbox.close()

    assert len(list((workspace / "state").glob("*/*/*.cwasm"))) == (1 if backend == "wasm" else 0)


async def test_without_a_lock_nothing_runs(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    monkeypatch.setattr(python_sandbox, "why_no_lock", lambda: "the kernel has no Landlock")
    sandbox = PythonSandbox()

    await sandbox.open()

    assert sandbox.describe().kind == "none"
    with pytest.raises(SandboxUnavailable, match="no Landlock"):
        await sandbox.run("open('ran', 'w')", workspace=workspace)
    assert not (workspace / "ran").exists()


PARENT = """
import asyncio, sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from cognitionos.agents.infrastructure.python_sandbox import PythonSandbox
async def main():
    sandbox = PythonSandbox(backend="process")
    await sandbox.open()
    await sandbox.run("open('started', 'w').close()\\nwhile True: pass", workspace=Path(sys.argv[1]), timeout_s=60)
asyncio.run(main())
"""


def test_runners_die_with_a_killed_parent(workspace: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(workspace)])
    try:
        eventually_sync((workspace / "started").exists)
        runners = children_of(parent.pid)
        assert runners
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    eventually_sync(lambda: not any(is_alive(pid) for pid in runners))


def test_the_description_needs_no_process() -> None:
    before = children_of(os.getpid())

    description = PythonSandbox(backend="process").describe()

    assert (description.kind, "Landlock" in description.detail) == ("process", True)
    assert children_of(os.getpid()) == before
