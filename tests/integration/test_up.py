"""`cognitionos up` with real processes, on one data directory from its first start to a kill and back."""

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import TestServers, create_database, drop_database, scratch_dir
from tests.stacks import (
    RunningStack,
    child_of,
    clean_environment,
    command,
    descendants,
    is_alive,
    replaced,
    running_stack,
    start_stack,
    stop_stack,
)
from tests.waiting import eventually_sync

PRODUCTS_PROCESSES = ("cognitionos serve", "cognitionos work", "postgres -D", "valkey-server")
COGNITIONOS_SERVE = " -m cognitionos serve"
COGNITIONOS_WORK = " -m cognitionos work"


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    with scratch_dir() as path:
        yield path / "data"


@pytest.fixture(scope="module")
def stack(data_dir: Path) -> Iterator[RunningStack]:
    """Started once, in an empty directory."""
    running = start_stack(data_dir)
    yield running
    stop_stack(running)


def test_the_line_names_a_ready_api_and_the_supervisor(stack: RunningStack) -> None:
    assert stack.is_ready()
    assert stack.pid == stack.process.pid
    lines = descendants(stack.pid).values()
    assert all(any(part in line for line in lines) for part in PRODUCTS_PROCESSES)


def test_key_and_secret_are_private_and_the_key_is_the_one_printed(stack: RunningStack) -> None:
    modes = {stat.S_IMODE((stack.data_dir / name).stat().st_mode) for name in ("api_key", "secret_key", "running.json")}

    assert modes == {0o600}
    assert (stack.data_dir / "api_key").read_text().strip() == stack.api_key
    assert stack.api_key not in (stack.data_dir / "running.json").read_text()


def test_the_api_documents_itself(stack: RunningStack) -> None:
    status, document = stack.get("/openapi.json")

    assert status == 200
    assert document["openapi"].startswith("3.")


def test_a_second_supervisor_is_refused_at_once_and_the_first_is_named(stack: RunningStack) -> None:
    second = _run("up", "--data", str(stack.data_dir), "--port", "0")

    assert second.returncode == 1
    assert f"in use by process {stack.pid}" in second.stderr


def test_a_taken_port_is_named_before_anything_is_started(stack: RunningStack, tmp_path: Path) -> None:
    port = stack.url.rpartition(":")[2]

    other = _run("up", "--data", str(tmp_path / "other"), "--port", port)

    assert other.returncode == 1
    assert f"port {port} on 127.0.0.1" in other.stderr
    assert "--port" in other.stderr
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["supervisor.lock"]


def test_doctor_sees_the_running_stack(stack: RunningStack) -> None:
    report = json.loads(_run("doctor", "--data", str(stack.data_dir), "--json").stdout)

    findings = {finding["name"]: finding for finding in report["findings"]}
    assert report["ok"]
    assert str(stack.pid) in findings["port"]["detail"]


@pytest.mark.parametrize("part", [COGNITIONOS_WORK, COGNITIONOS_SERVE, "valkey-server", "postgres -D"])
def test_a_killed_child_is_started_again_and_the_stack_is_ready_again(stack: RunningStack, part: str) -> None:
    former = child_of(stack, part)
    assert former is not None

    os.kill(former, signal.SIGKILL)
    successor = replaced(stack, part, former=former)
    eventually_sync(stack.is_ready)

    assert is_alive(successor)
    assert "ended (killed by SIGKILL)" in stack.errors.read_text()


def test_sigterm_drains_and_leaves_nothing_behind(stack: RunningStack) -> None:
    family = descendants(stack.pid)

    status = stop_stack(stack)

    assert status == 0
    assert [line for pid, line in family.items() if is_alive(pid)] == []
    assert not (stack.data_dir / "running.json").exists()


def test_the_next_start_has_key_and_data_and_after_a_sigkill_of_the_supervisor_nothing_is_left_within_five_seconds(
    stack: RunningStack, data_dir: Path
) -> None:
    again = start_stack(data_dir)
    assert again.api_key == stack.api_key
    family = descendants(again.pid)

    again.process.kill()
    again.process.wait()
    killed_at = time.monotonic()
    eventually_sync(lambda: not [pid for pid in family if is_alive(pid)])

    assert time.monotonic() - killed_at < 5
    assert len(family) > 4


def test_after_a_sigkill_the_next_start_recovers_and_down_ends_it(stack: RunningStack, data_dir: Path) -> None:
    again = start_stack(data_dir)
    ready, same_key = again.is_ready(), again.api_key == stack.api_key
    status, _ = again.get("/v1/keys")

    down = _run("down", "--data", str(data_dir))

    assert ready
    assert same_key
    assert status != 401
    assert down.returncode == 0
    assert again.process.wait(10) == 0


def test_given_servers_are_used_and_migrated_and_none_is_started(
    servers: TestServers, redis_url: str, data_dir: Path
) -> None:
    database = create_database(servers)
    settings = {
        "DATABASE_URL": database.app_url,
        "MIGRATION_DATABASE_URL": database.owner_url,
        "REDIS_URL": redis_url,
    }
    with running_stack(data_dir.with_name("own-servers"), settings=settings) as stack:
        is_ready = stack.is_ready()
        lines = descendants(stack.pid).values()
    drop_database(servers, database)

    assert is_ready
    assert not any("postgres -D" in line or "valkey-server" in line for line in lines)


def test_sigterm_in_the_middle_of_a_start_leaves_nothing_behind(data_dir: Path) -> None:
    target = data_dir.with_name("interrupted")
    starting = subprocess.Popen(
        command("up", "--data", str(target), "--port", "0"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    eventually_sync((target / "logs" / "worker.log").exists)
    family = descendants(starting.pid)

    starting.terminate()
    _, errors = starting.communicate(timeout=30)

    assert starting.returncode == 1
    assert "stopped before it was ready" in errors
    assert [line for pid, line in family.items() if is_alive(pid)] == []


def test_down_where_nothing_runs_is_no_error(tmp_path: Path) -> None:
    assert _run("down", "--data", str(tmp_path)).returncode == 0


def test_the_command_line_starts_fast_and_imports_nothing_heavy() -> None:
    code = "import sys; import cognitionos.cli; print([m for m in sys.modules if m.split('.')[0] in HEAVY])"
    heavy = "HEAVY = {'sqlalchemy', 'psycopg', 'litestar', 'litellm', 'pydantic', 'alembic', 'redis', 'aiohttp'}\n"

    loaded = subprocess.run(
        [*command()[:1], "-c", heavy + code], capture_output=True, text=True, timeout=30, check=True
    )

    assert loaded.stdout.strip() == "[]"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False, env=clean_environment()
    )
