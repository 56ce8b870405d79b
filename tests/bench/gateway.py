"""What a chat call costs on its way through the gateway, beside the same call sent to the model server directly.

`python -m tests.bench.gateway [--rounds 5] [--litellm ENVIRONMENT] [--soak 200000] [--hanging] [--traced]`

The API runs as shipped, one process: key, tenant, rate limit, cache look-up, hold on two budgets, settlement, ledger
row, metrics and access log are on. Spans are exported, as with `COGNITIONOS_OTLP_ENDPOINT`, with `--traced` only: what
a call was and cost is in its ledger row either way. The model server directly, a bare proxy (`floor.py`), ours and,
where its environment is named, LiteLLM's proxy (`litellm_proxy.py`) take turns, round by round, so that a busy moment
of the machine hits all; each figure is the median of the rounds. CPU is that of the whole worker process, every thread,
user and system, for each call; `+p50` and `+p99` are beside the direct call.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from statistics import median

from tests.bench.api import MODEL, Load, Server, running_api, running_floor, running_load, running_model
from tests.bench.hanging import measure_hanging
from tests.bench.litellm_proxy import running_litellm, version
from tests.bench.load import Figures, Plan
from tests.bench.machine import cpu_s, memory_mib, postgres_cpu_s
from tests.bench.upstream import EVENTS
from tests.servers import TestServers, running_servers

_PATH = "/v1/chat/completions"
_WORDS = "Say which of the three suppliers is the cheapest, and why. " * 2
_REQUESTS = {1: 150, 32: 600}
_FEWER = 5
"""LiteLLM's proxy gets a fifth of the requests: a call takes it that much longer."""
_SOAK_PLAN = 1000


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
    litellm: Server | None
    postgres_url: str

    @property
    def servers(self) -> dict[str, Server]:
        """Those whose CPU is counted."""
        found = {"floor": self.floor, "ours": self.api, "LiteLLM": self.litellm}
        return {name: server for name, server in found.items() if server is not None}


@dataclass(slots=True)
class _Measured:
    """One figure per round; milliseconds of CPU per call."""

    seen: dict[str, list[Figures]] = field(default_factory=lambda: defaultdict(list))
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def of(self, who: str, figure: Callable[[Figures], float]) -> float:
        return median(figure(each) for each in self.seen[who])

    def cpu(self, who: str) -> float:
        return median(self.cpu_ms[who]) if self.cpu_ms[who] else nan


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
    measured = _Measured()

    def plan(server: Server, count: int) -> Plan:
        return Plan(port=server.port, path=_PATH, body=case.body, callers=callers, requests=count, key=server.key)

    direct = Server(port=stage.model_port, pid=0, key="", ready_s=0, ready_cpu_s=0)
    for name, server in stage.servers.items():  # connections, caches and prepared statements are warm
        stage.load.run(plan(server, callers + 20 if name == "LiteLLM" else 2 * callers + 50))
    for _ in range(rounds):
        measured.seen["direct"].append(stage.load.run(plan(direct, _REQUESTS[callers])))
        for name, server in stage.servers.items():
            requests = _REQUESTS[callers] // (_FEWER if name == "LiteLLM" else 1)
            before, postgres = cpu_s(server.pid), postgres_cpu_s(stage.postgres_url)
            measured.seen[name].append(stage.load.run(plan(server, requests)))
            measured.cpu_ms[name].append((cpu_s(server.pid) - before) * 1000 / requests)
            if name == "ours" and postgres is not None:
                used = (postgres_cpu_s(stage.postgres_url) or 0.0) - postgres
                measured.cpu_ms["PG"].append(used * 1000 / requests)
    return _line(case, callers, measured)


HEADER = (
    f"{'case':18}{'callers':>8}{'/floor':>8}{'/LiteLLM':>10}{'CPU ours':>10}{'floor':>7}{'LiteLLM':>9}{'PG':>6}"
    f"{'+p50':>8}{'+p99':>8}{'LL+p50':>8}{'LL+p99':>8}{'ours/s':>8}{'LL/s':>7}{'direct/s':>9}"
)


def _line(case: Case, callers: int, measured: _Measured) -> str:
    ours, floor, theirs = measured.cpu("ours"), measured.cpu("floor"), measured.cpu("LiteLLM")

    def added(who: str) -> str:
        if who not in measured.seen:
            return f"{'-':>8}{'-':>8}"
        p50 = measured.of(who, lambda each: each.p50_ms) - measured.of("direct", lambda each: each.p50_ms)
        p99 = measured.of(who, lambda each: each.p99_ms) - measured.of("direct", lambda each: each.p99_ms)
        return f"{p50:>8.1f}{p99:>8.1f}"

    def rate(who: str) -> float:
        return measured.of(who, lambda each: each.per_second(each.answered)) if who in measured.seen else nan

    return (
        f"{case.name:18}{callers:>8}{ours / floor:>7.1f}x{ours / theirs:>9.3f}x{ours:>10.2f}{floor:>7.2f}{theirs:>9.2f}"
        f"{measured.cpu('PG'):>6.2f}{added('ours')}{added('LiteLLM')}"
        f"{rate('ours'):>8.0f}{rate('LiteLLM'):>7.0f}{rate('direct'):>9.0f}"
    )


def soak(stage: Stage, requests: int) -> None:
    """`requests` plain calls by 32 callers; resident memory ten times on the way."""
    case, done = cases()[0], 0
    step = max(requests // 10 // _SOAK_PLAN, 1) * _SOAK_PLAN
    print(
        f"\n{requests:,} calls: resident memory of the API\n{0:>10,} {memory_mib(stage.api.pid):>8.1f} MiB", flush=True
    )
    while done < requests:
        plan = Plan(port=stage.api.port, path=_PATH, body=case.body, callers=32, requests=_SOAK_PLAN, key=stage.api.key)
        stage.load.run(plan)
        done += _SOAK_PLAN
        if done % step == 0:
            print(f"{done:>10,} {memory_mib(stage.api.pid):>8.1f} MiB", flush=True)


@contextmanager
def running_stage(servers: TestServers, *, litellm: Path | None = None, traced: bool = False) -> Iterator[Stage]:
    """Start everything."""
    with ExitStack() as stack:
        model_port = stack.enter_context(running_model())
        load = stack.enter_context(running_load())
        floor = stack.enter_context(running_floor(model_port=model_port))
        api = stack.enter_context(running_api(servers, model_port=model_port, traced=traced))
        theirs = None
        if litellm is not None:
            theirs = stack.enter_context(running_litellm(servers, environment=litellm, model_port=model_port))
        yield Stage(
            load=load, model_port=model_port, floor=floor, api=api, litellm=theirs, postgres_url=servers.postgres_url
        )


def main(arguments: list[str] | None = None) -> None:
    """Start everything, measure every case, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--litellm",
        type=lambda given: Path(given).absolute(),
        help="the environment that LiteLLM's proxy is installed in",
    )
    parser.add_argument("--soak", type=int, default=0, help="so many calls more, to see whether memory grows")
    parser.add_argument("--hanging", action="store_true", help="whether a deployment that hangs slows the others")
    parser.add_argument("--traced", action="store_true", help="with OpenTelemetry's spans exported")
    options = parser.parse_args(arguments)
    with (
        running_servers() as servers,
        running_stage(servers, litellm=options.litellm, traced=options.traced) as stage,
    ):
        for name, server in stage.servers.items():
            mib = memory_mib(server.pid)
            print(f"{name:8} ready after {server.ready_s:.1f} s, {server.ready_cpu_s:.1f} s of CPU, {mib:.0f} MiB")
        if options.litellm is not None:
            print(version(options.litellm))
        if options.rounds:
            print(f"\nCPU in ms a call, latencies in ms\n{HEADER}")
            for case in cases():
                for callers in _REQUESTS:
                    print(measure(stage, case, callers=callers, rounds=options.rounds), flush=True)
        if options.hanging:
            hung = measure_hanging(stage.load, stage.api, path=_PATH, body=cases()[0].body)
            print(
                f"\nbeside 128 calls that hang: p99 {hung.beside_p99_ms:.1f} ms, alone {hung.alone_p99_ms:.1f} ms,"
                f" {hung.ratio:.2f} x"
            )
        if options.soak:
            soak(stage, options.soak)
        for name, server in stage.servers.items():
            print(f"{name:8} at the end: {memory_mib(server.pid):.0f} MiB")


if __name__ == "__main__":
    main()
