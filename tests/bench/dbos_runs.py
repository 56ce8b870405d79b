"""DBOS in an environment of its own (`dbos_program.py`), each shape as a process on a database of its own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from tests.servers import TestServers, create_database, drop_database

PROGRAM = Path(__file__).with_name("dbos_program.py")
LONGEST_S = 1500


def version(environment: Path) -> str:
    """What is measured."""
    script = "from importlib.metadata import version as v; print('DBOS', v('dbos'))"
    command = [str(environment / "bin/python"), "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def measure(servers: TestServers, environment: Path, shape: str, number: int) -> dict[str, Any]:
    """Seconds, CPU, memory and commits of one run."""
    database = create_database(servers)
    try:
        command = [str(environment / "bin/python"), str(PROGRAM), database.admin_url, shape, str(number)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        if done.returncode != 0:
            raise SystemExit(f"DBOS failed: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found | {"commits": _commits(database.admin_url)}
    finally:
        drop_database(servers, database)


def _commits(admin_url: str) -> int:
    """Since the database was made: its set-up and its listener's polls are in it, below 200."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        return int(row[0]) if row else 0
