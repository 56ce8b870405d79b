"""What a chat call costs on its way through the gateway, beside the same call sent to the model server directly.

`python -m tests.bench.gateway [--rounds 5]`

The API runs as shipped, one process: key, tenant, rate limit, cache look-up, hold on two budgets, settlement, ledger
row, metrics and access log are on. The model server directly, a bare proxy (`floor.py`) and ours take turns, round by
round, so that a busy moment of the machine hits all; each figure is the median of the rounds. CPU is that of the whole
worker process, every thread, user and system, for each call; `+p50` and `+p99` are beside the direct call.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from tests.bench.api import MODEL, Load, Server, running_api, running_floor, running_load, running_model
from tests.bench.load import Figures, Plan
from tests.bench.machine import cpu_s, memory_mib, postgres_cpu_s
from tests.bench.upstream import EVENTS
from tests.servers import TestServers, running_servers

_PATH = "/v1/chat/completions"
_WORDS = "Say which of the three suppliers is the cheapest, and why. " * 2
_REQUESTS = {1: 150, 32: 600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of call. `{n}` in the body makes every request another one."""

    name: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that runs meanwhile."""

    load: Load
    model_port: int
    floor: Server
    api: Server
    postgres_url: str


@dataclass(slots=True)
class _Measured:
    """One figure per round; milliseconds of CPU per call."""

    direct: list[Figures] = field(default_factory=list)
    ours: list[Figures] = field(default_factory=list)
    floor_ms: list[float] = field(default_factory=list)
    api_ms: list[float] = field(default_factory=list)
    postgres_ms: list[float] = field(default_factory=list)


def cases() -> list[Case]:
    """A call that reaches the model, one that the exact cache answers, and a stream."""
    return [
        Case(name="plain", body=_body(f"{{n}} {_WORDS}")),
        Case(name="exact-cache hit", body=_body(_WORDS)),
        Case(name=f"stream, {EVENTS} events", body=_body(f"{{n}} {_WORDS}", stream=True)),
    ]


def _body(content: str, **more: object) -> str:
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": content}]
    return json.dumps({"model": MODEL, "messages": messages, "max_tokens": 64, **more}, separators=(",", ":"))


def measure(stage: Stage, case: Case, *, callers: int, rounds: int) -> str:
    """One line of the table."""
    measured, requests = _Measured(), _REQUESTS[callers]

    def plan(port: int, count: int = requests) -> Plan:
        return Plan(port=port, path=_PATH, body=case.body, callers=callers, requests=count, key=stage.api.key)

    for port in (stage.floor.port, stage.api.port):  # connections, caches and prepared statements are warm
        stage.load.run(plan(port, 2 * callers + 50))
    for _ in range(rounds):
        measured.direct.append(stage.load.run(plan(stage.model_port)))
        before = cpu_s(stage.floor.pid)
        stage.load.run(plan(stage.floor.port))
        measured.floor_ms.append((cpu_s(stage.floor.pid) - before) * 1000 / requests)
        before, postgres = cpu_s(stage.api.pid), postgres_cpu_s(stage.postgres_url)
        measured.ours.append(stage.load.run(plan(stage.api.port)))
        measured.api_ms.append((cpu_s(stage.api.pid) - before) * 1000 / requests)
        if postgres is not None:
            used = (postgres_cpu_s(stage.postgres_url) or 0.0) - postgres
            measured.postgres_ms.append(used * 1000 / requests)
    return _line(case, callers, requests, measured)


HEADER = (
    f"{'case':18}{'callers':>8}{'CPU / floor':>13}{'CPU API':>10}{'CPU floor':>11}{'CPU PG':>9}"
    f"{'+p50':>10}{'+p99':>10}{'ours/s':>8}{'direct/s':>10}"
)


def _line(case: Case, callers: int, requests: int, measured: _Measured) -> str:
    def of(which: list[Figures], figure: Callable[[Figures], float]) -> float:
        return median(figure(each) for each in which)

    ours, direct = measured.ours, measured.direct
    api, floor = median(measured.api_ms), median(measured.floor_ms)
    added_p50 = of(ours, lambda each: each.p50_ms) - of(direct, lambda each: each.p50_ms)
    added_p99 = of(ours, lambda each: each.p99_ms) - of(direct, lambda each: each.p99_ms)
    postgres = f"{median(measured.postgres_ms):.2f} ms" if measured.postgres_ms else "remote"
    return (
        f"{case.name:18}{callers:>8}{f'{api / floor:.1f} x':>13}{api:>7.2f} ms{floor:>8.2f} ms{postgres:>9}"
        f"{added_p50:>7.1f} ms{added_p99:>7.1f} ms{of(ours, lambda each: each.per_second(requests)):>8.0f}"
        f"{of(direct, lambda each: each.per_second(requests)):>10.0f}"
    )


@contextmanager
def running_stage(servers: TestServers) -> Iterator[Stage]:
    """Start everything."""
    with (
        running_model() as model_port,
        running_load() as load,
        running_floor(model_port=model_port) as floor,
        running_api(servers, model_port=model_port) as api,
    ):
        yield Stage(load=load, model_port=model_port, floor=floor, api=api, postgres_url=servers.postgres_url)


def main(arguments: list[str] | None = None) -> None:
    """Start everything, measure every case, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    with running_servers() as servers, running_stage(servers) as stage:
        api = stage.api
        print(f"API ready after {api.ready_s:.1f} s, {api.ready_cpu_s:.1f} s of CPU, {memory_mib(api.pid):.0f} MiB")
        print(HEADER)
        for case in cases():
            for callers in _REQUESTS:
                print(measure(stage, case, callers=callers, rounds=options.rounds), flush=True)
        print(f"API at the end: {memory_mib(api.pid):.0f} MiB")


if __name__ == "__main__":
    main()
