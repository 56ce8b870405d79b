"""The API as its own process (granian, one worker), on a free loopback port, as an operator runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.waiting import eventually_sync

from cognitionos.cli.listening import answers_ready, free_port
from cognitionos.platform.config import Settings


@dataclass(frozen=True)
class Served:
    """A running API."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def api_process(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """Its URL, once it is ready; `environment` adds to or overrides what `settings` say."""
    with served_api(settings, environment) as served:
        yield served.url


@contextmanager
def served_api(settings: Settings, environment: Mapping[str, str]) -> Iterator[Served]:
    """`api_process`, with the process itself."""
    port = free_port("127.0.0.1", 0)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ANTHROPIC_"))}
    own = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "COGNITIONOS_SECRET_KEY": settings.secret_key.get_secret_value(),
        "COGNITIONOS_DETECT_LOCAL_MODELS": "false",
        "COGNITIONOS_RATE_LIMIT_PER_MINUTE": "100000",
    }
    command = [sys.executable, "-m", "cognitionos", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=kept | own | dict(environment), start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually_sync(lambda: process.poll() is not None or answers_ready(url), timeout_s=90)
        assert process.poll() is None, "the API ended before it was ready"
        yield Served(url, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=5)
