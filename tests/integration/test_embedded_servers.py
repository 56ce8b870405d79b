"""The embedded servers as real processes: fresh start, restart, sudden death of their parent, locks, long paths."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from tests.servers import scratch_dir
from tests.waiting import eventually_sync

from cognitionos.platform.embedded import EmbeddedServers, ServerUrls
from cognitionos.platform.embedded.account import can_reach, server_account
from cognitionos.platform.embedded.child import spawn
from cognitionos.platform.embedded.locks import DataDirectoryInUse
from cognitionos.platform.embedded.postgres import PostgresOptions

QUICK = PostgresOptions(durable=False)
ROLE_FLAGS = "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
PARENT = """
import json, signal, sys
from dataclasses import asdict
from pathlib import Path
from cognitionos.platform.embedded import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]))
urls = servers.start()
print(json.dumps(asdict(urls) | {"pids": [servers.postgres.process.pid, servers.valkey.process.pid]}), flush=True)
signal.pause()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with scratch_dir() as path:
        yield path


def test_a_fresh_directory_gets_a_database_with_the_roles_and_the_vector_extension(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir, postgres=QUICK)
    try:
        urls = servers.start()

        with psycopg.connect(str(urls.app)) as connection:
            distance = connection.execute("SELECT '[1,2]'::vector <-> '[1,4]'::vector").fetchone()
            flags = connection.execute(
                "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    finally:
        servers.stop()

    assert distance == (2.0,)
    assert flags == (False, False)


def test_valkey_answers_and_saves_nothing(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir, postgres=None)
    try:
        urls = servers.start()
        with redis.Redis.from_url(str(urls.redis)) as client:
            client.set("a", "1")
            value = client.get("a")
    finally:
        servers.stop()

    assert value == b"1"
    assert list(data_dir.rglob("*.rdb")) == []


def test_servers_are_gone_five_seconds_after_their_parent_was_killed_and_committed_data_are_back_at_the_next_start(
    data_dir: Path,
) -> None:
    parent, urls, pids = _started_parent(data_dir)
    with psycopg.connect(str(urls.admin), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")

    parent.kill()
    parent.wait()
    killed_at = time.monotonic()
    eventually_sync(lambda: not any(_alive(pid) for pid in pids))
    gone_after_s = time.monotonic() - killed_at
    again = EmbeddedServers(data_dir)
    try:
        with psycopg.connect(str(again.start().admin)) as connection:
            kept = connection.execute("SELECT n FROM kept").fetchone()
    finally:
        again.stop()

    assert gone_after_s < 5
    assert kept == (42,)


def test_a_start_right_after_a_kill_waits_for_the_former_servers(data_dir: Path) -> None:
    parent, _, pids = _started_parent(data_dir)

    parent.kill()
    again = EmbeddedServers(data_dir, postgres=QUICK)
    try:
        again.start()
        former_alive = [pid for pid in pids if _alive(pid)]
    finally:
        again.stop()
        parent.wait()

    assert former_alive == []


def test_a_server_killed_hard_recovers_and_loses_nothing_that_was_committed(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir)
    try:
        urls = servers.start()
        assert servers.postgres is not None
        assert servers.postgres.process is not None
        with psycopg.connect(str(urls.admin), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        os.kill(servers.postgres.process.pid, signal.SIGKILL)
        servers.postgres.process.wait()
        servers.postgres.start()
        servers.postgres.wait_ready()
        with psycopg.connect(str(urls.admin)) as connection:
            count = connection.execute("SELECT count(*) FROM kept").fetchone()
    finally:
        servers.stop()

    assert count == (1000,)


def test_an_interrupted_initdb_is_begun_anew(data_dir: Path) -> None:
    first = EmbeddedServers(data_dir, postgres=QUICK)
    assert first.postgres is not None
    first.postgres.prepare()
    first.stop()
    second = EmbeddedServers(data_dir, postgres=QUICK)
    try:
        urls = second.start()
        with psycopg.connect(str(urls.app)) as connection:
            answer = connection.execute("SELECT 1").fetchone()
    finally:
        second.stop()

    assert answer == (1,)


def test_two_parents_on_one_directory_are_refused_and_the_holder_is_named(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cognitionos.platform.embedded.servers._FORMER_SERVERS_S", 0.05)
    first = EmbeddedServers(data_dir, postgres=None)

    with pytest.raises(DataDirectoryInUse, match=f"process {os.getpid()}"):
        EmbeddedServers(data_dir, postgres=None)

    first.stop()


def test_a_data_directory_with_a_very_long_path_works(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir / ("long-" * 30), postgres=None)
    try:
        urls = servers.start()
        with redis.Redis.from_url(str(urls.redis)) as client:
            answered = client.ping()
        sockets = servers.socket_dir
    finally:
        servers.stop()
        shutil.rmtree(servers.socket_dir, ignore_errors=True)

    assert answered
    assert len(str(sockets)) < 80


def test_below_a_private_directory_of_another_account_servers_run_from_a_place_they_can_reach(data_dir: Path) -> None:
    data_dir.chmod(0o700)
    servers = EmbeddedServers(data_dir / "inner", postgres=QUICK)
    account = servers.placement.account
    try:
        urls = servers.start()
        with psycopg.connect(str(urls.app)) as connection:
            answer = connection.execute("SELECT 1").fetchone()
        reachable = account is None or can_reach(account, servers.placement.home)
    finally:
        servers.stop()
        shutil.rmtree(servers.placement.home)

    assert answer == (1,)
    assert reachable


def test_no_server_runs_as_root(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir, postgres=None)
    try:
        servers.start()
        assert servers.valkey is not None
        assert servers.valkey.process is not None
        owner = Path(f"/proc/{servers.valkey.process.pid}").stat().st_uid
    finally:
        servers.stop()

    assert owner != 0


def test_children_may_be_started_from_the_main_thread_only(tmp_path: Path) -> None:
    errors: list[str] = []

    def start() -> None:
        try:
            spawn(["true"], log=tmp_path / "log", death_signal=signal.SIGTERM)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()

    assert "main thread" in errors[0]


def test_the_account_of_existing_data_is_kept(data_dir: Path) -> None:
    account = server_account()
    if account is not None:
        os.chown(data_dir, account.uid, account.gid)

    assert server_account(existing=data_dir) == account


def _started_parent(data_dir: Path) -> tuple[subprocess.Popen[str], ServerUrls, list[int]]:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    line = json.loads(parent.stdout.readline())
    parent.stdout.close()
    pids = line.pop("pids")
    return parent, ServerUrls(**line), pids


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
