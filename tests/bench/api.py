"""What the gateway's bench runs against: the real API process, the model server behind it, and the load generator."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
from tests.bench.load import Figures, Plan
from tests.bench.machine import cpu_s, processes
from tests.servers import TestServers, drop_database, make_template, redis_database
from tests.waiting import eventually_sync

from cognitionos.cli.listening import answers_ready, free_port

MODEL = "bench-model"
HUNG_MODEL = "hung/never-answers"
_REDIS_DATABASE = 7
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: one granian worker, `pid`. `ready_cpu_s` is what both processes used until it was ready."""

    port: int
    pid: int
    key: str
    ready_s: float
    ready_cpu_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """The load generator's process."""

    process: subprocess.Popen[str]

    def run(self, plan: Plan) -> Figures:
        """Carry out one plan there."""
        _in(self.process).write(msgspec.json.encode(plan).decode() + "\n")
        _in(self.process).flush()
        figures = msgspec.json.decode(_out(self.process).readline(), type=Figures)
        if figures.failed:
            raise SystemExit(f"{figures.failed} of {plan.requests} calls failed: {figures.first_failure}")
        return figures


@contextlib.contextmanager
def running_load() -> Iterator[Load]:
    """The generator, until the block ends."""
    with _module("tests.bench.load") as process:
        yield Load(process)


@contextlib.contextmanager
def running_model() -> Iterator[int]:
    """The model server; gives its port."""
    with _module("tests.bench.upstream") as process:
        yield int(_out(process).readline())


@contextlib.contextmanager
def running_api(servers: TestServers, *, model_port: int, traced: bool = False) -> Iterator[Server]:
    """`cognitionos serve` as shipped, with a tenant, a priced model and a budget on its key; its log goes to a file.

    `traced`: it exports its spans too, to the model server, which answers everything.
    """
    database = make_template(servers)
    port = free_port("127.0.0.1", 0)
    variables = {
        "DATABASE_URL": database.app_url,
        "REDIS_URL": redis_database(servers, _REDIS_DATABASE),
        "COGNITIONOS_SECRET_KEY": "bench",
        "COGNITIONOS_DETECT_LOCAL_MODELS": "false",
        "COGNITIONOS_RATE_LIMIT_PER_MINUTE": "100000000",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model_port}/v1",
        "COGNITIONOS_MODEL": MODEL,
    }
    if traced:
        variables["COGNITIONOS_OTLP_ENDPOINT"] = f"http://127.0.0.1:{model_port}"
    ours = ("COGNITIONOS_", "OPENAI_", "ANTHROPIC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables
    with contextlib.ExitStack() as stack:
        stack.callback(drop_database, servers, database)
        log = stack.enter_context(tempfile.TemporaryFile())
        providers = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "providers.json"
        providers.write_text(json.dumps([_hung_provider(model_port)]))
        environment["COGNITIONOS_PROVIDERS_FILE"] = str(providers)
        tenant = _command(environment, "tenants", "create", "bench", "--json")
        api = stack.enter_context(_serving(environment, port=port, key=tenant["key"], log=log))
        price = {"input_usd_per_million": "0.15", "output_usd_per_million": "0.60"}
        _send(api, "PUT", f"/v1/prices/{MODEL}", price)
        for subject in (f"api_key:{tenant['api_key_id']}", f"tenant:{tenant['tenant_id']}"):
            _send(api, "POST", "/v1/budgets", {"subject": subject, "limit_usd": "1000000", "period": "total"})
        yield api


def _hung_provider(model_port: int) -> dict[str, object]:
    """A provider that takes calls and answers none."""
    price = {"input_usd_per_million": 1, "output_usd_per_million": 1}
    name, _, model = HUNG_MODEL.partition("/")
    return {"name": name, "base_url": f"http://127.0.0.1:{model_port}/v1", "models": [model], "price": price}


@contextlib.contextmanager
def _serving(environment: dict[str, str], *, port: int, key: str, log: IO[bytes]) -> Iterator[Server]:
    command = ["cognitionos", "serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _process(command, environment, lambda: answers_ready(url), log=log) as (process, ready_s):
        pids = processes("cognitionos", "serve", str(port))
        spent = sum(cpu_s(pid) for pid in pids)
        yield Server(port=port, pid=_worker(process), key=key, ready_s=ready_s, ready_cpu_s=spent)


@contextlib.contextmanager
def running_floor(*, model_port: int) -> Iterator[Server]:
    """The barest proxy there is, under the same server."""
    port = free_port("127.0.0.1", 0)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        command = ["tests.bench.floor", str(port), str(model_port)]
        running = _process(command, dict(os.environ), lambda: _listens(port), log=log)
        process, ready_s = stack.enter_context(running)
        yield Server(port=port, pid=_worker(process), key="", ready_s=ready_s, ready_cpu_s=0.0)


@contextlib.contextmanager
def _process(
    module: list[str], environment: dict[str, str], is_ready: Callable[[], bool], *, log: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A module as a process and the seconds until it was ready."""
    started = time.perf_counter()
    with process_of([sys.executable, "-m", *module], environment, is_ready, log=log) as process:
        yield process, time.perf_counter() - started


@contextlib.contextmanager
def process_of(
    command: list[str],
    environment: dict[str, str],
    is_ready: Callable[[], bool],
    *,
    log: IO[bytes],
    within_s: float = 60,
    cwd: Path = _ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process that is ready; ended with the block."""
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log)
    try:
        eventually_sync(lambda: process.poll() is not None or is_ready(), timeout_s=within_s)
        if process.poll() is not None:
            log.seek(0)
            raise SystemExit(f"{command[0]} did not start:\n{log.read().decode(errors='replace')[-4000:]}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)


def _worker(process: subprocess.Popen[bytes]) -> int:
    """Granian's one worker process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[-1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def _module(name: str) -> Iterator[subprocess.Popen[str]]:
    """A module of ours as a process, ended by closing its input."""
    command = [sys.executable, "-m", name]
    process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        _in(process).close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
        _out(process).close()


def _command(environment: dict[str, str], *arguments: str) -> dict[str, str]:
    """What a command of the CLI prints as JSON."""
    command = [sys.executable, "-m", "cognitionos", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise SystemExit(f"cognitionos {' '.join(arguments)} failed: {done.stderr}")
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def _send(api: Server, method: str, path: str, body: dict[str, str]) -> None:
    headers = {"authorization": f"Bearer {api.key}", "content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status >= 300:
        raise SystemExit(f"{method} {path}: {answer.status} {said.decode(errors='replace')}")


def _in(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def _out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
