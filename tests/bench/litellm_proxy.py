"""LiteLLM's proxy beside ours: its own environment, one worker, set up as its documentation advises for production.

On: master key, one priced model, its answer cache in Redis, cost tracking in memory. Off, because its client
of PostgreSQL (Prisma) fetches its engine from outside at installation: virtual keys, budgets, the spend log. It
therefore does less for a call than ours, which looks the key up, holds money and writes a ledger row.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.bench.api import MODEL, Server, process_of
from tests.bench.machine import cpu_s
from tests.servers import TestServers

from cognitionos.cli.listening import free_port

_KEY = "sk-bench"
_READY_WITHIN_S = 90


def version(environment: Path) -> str:
    """Which LiteLLM is in the environment."""
    script = "from importlib.metadata import version as v; print('LiteLLM', v('litellm') + ', uvicorn', v('uvicorn'))"
    done = subprocess.run([environment / "bin/python", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@contextlib.contextmanager
def running_litellm(servers: TestServers, *, environment: Path, model_port: int) -> Iterator[Server]:
    """The proxy on a free port, ready."""
    port = free_port("127.0.0.1", 0)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context(tempfile.TemporaryFile())
        (folder / "config.yaml").write_text(json.dumps(_config(model_port, servers.redis_url)))
        command = [str(environment / "bin/litellm"), "--config", str(folder / "config.yaml")]
        command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        variables = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
        inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "DATABASE_URL"}}
        started = time.perf_counter()
        running = process_of(
            command, inherited | variables, lambda: _is_ready(port), log=log, within_s=_READY_WITHIN_S, cwd=folder
        )
        process = stack.enter_context(running)
        ready_s = time.perf_counter() - started
        yield Server(port=port, pid=process.pid, key=_KEY, ready_s=ready_s, ready_cpu_s=cpu_s(process.pid))


def _config(model_port: int, redis_url: str) -> dict[str, object]:
    """JSON is YAML."""
    upstream = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{model_port}/v1", "api_key": "none"}
    price = {"input_cost_per_token": 0.15e-6, "output_cost_per_token": 0.6e-6}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": upstream | price}],
        "litellm_settings": {
            "cache": True,
            "cache_params": {"type": "redis", "url": redis_url},
            "set_verbose": False,
            "json_logs": True,
            "request_timeout": 600,
            "telemetry": False,
        },
        "general_settings": {"master_key": _KEY},
    }


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
