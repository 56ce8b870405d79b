"""The API as a process of its own, on a free port of the loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.waiting import eventually_sync

from cognitionos.platform.config import Settings


@contextmanager
def running_server(settings: Settings, log: Path, **variables: str) -> Iterator[str]:
    """`cognitionos serve` with `settings` and further variables of the environment; gives its URL when it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "COGNITIONOS_PORT": str(port),
        "COGNITIONOS_DATA_DIR": str(settings.data_dir),
        "COGNITIONOS_DETECT_LOCAL_MODELS": "false",
        **variables,
    }
    with log.open("wb") as out:
        command = [sys.executable, "-m", "cognitionos", "serve"]
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        try:
            eventually_sync(lambda: _is_ready(url, process, log), timeout_s=90)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def _is_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-4000:]
    try:
        return httpx.get(f"{url}/health/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
