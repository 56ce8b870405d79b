"""On what a figure was measured, and what a process has used."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psycopg
import redis

_PACKAGES = ("litestar", "granian", "psycopg", "sqlalchemy", "msgspec", "aiohttp")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def describe(postgres_url: str, redis_url: str) -> list[str]:
    """Lines that name date, machine and versions."""
    with psycopg.connect(postgres_url) as connection:
        postgres = ".".join(str(part) for part in divmod(connection.info.server_version, 10_000))
        row = connection.execute("SELECT current_setting('synchronous_commit'), current_setting('fsync')").fetchone()
    client = redis.Redis.from_url(redis_url)
    facts = client.info("server")
    client.close()
    server = f"Valkey {facts['valkey_version']}" if "valkey_version" in facts else f"Redis {facts['redis_version']}"
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    cpu = _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)") or platform.machine()
    memory_kib = int(_first(Path("/proc/meminfo"), r"MemTotal:\s*(\d+)") or 0)
    synced = f"synchronous_commit {row[0]}, fsync {row[1]}" if row else ""
    return [
        f"date      {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine   {os.cpu_count()} cores, {cpu}, {memory_kib / 2**20:.0f} GiB, Linux {platform.release()}",
        f"versions  Python {platform.python_version()}, PostgreSQL {postgres} ({synced}), {server}",
        f"          {packages}",
        f"load      {os.getloadavg()[0]:.1f} (above 0.5 before the start, others were using the machine)",
    ]


def cpu_s(pid: int) -> float:
    """Seconds of CPU, user and system, that every thread of a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def memory_mib(pid: int) -> float:
    """Resident memory."""
    return int(_first(Path(f"/proc/{pid}/status"), r"VmRSS:\s*(\d+)") or 0) / 1024


def processes(*words: str) -> list[int]:
    """The processes whose command line holds each of `words`, oldest first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if all(word in arguments for word in words):
            found.append(int(path.parent.name))
    return sorted(found)


def postgres_cpu_s(postgres_url: str) -> float | None:
    """Seconds that PostgreSQL's processes have used; None where they are not on this machine."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        try:
            parent = _parent(int(row[0]))
        except OSError:
            return None
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return sum(_cpu_of_child(pid, parent) for pid in pids)


def _cpu_of_child(pid: int, parent: int) -> float:
    """Also what its ended children used is counted at the parent."""
    try:
        if pid == parent:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return sum(int(field) for field in fields[11:15]) * _TICK_S
        return cpu_s(pid) if _parent(pid) == parent else 0.0
    except OSError:
        return 0.0


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _first(path: Path, pattern: str) -> str | None:
    found = re.search(pattern, path.read_text())
    return found.group(1).strip() if found else None
