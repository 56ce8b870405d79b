"""Whether a deployment that hangs slows the calls to the others: p99 alone, and while many calls hang, in turns."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from tests.bench.api import HUNG_MODEL, Load, Server
from tests.bench.load import Plan

_HANGING = 128
_ROUNDS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging:
    """Medians over the rounds, in milliseconds."""

    alone_p99_ms: float
    beside_p99_ms: float

    @property
    def ratio(self) -> float:
        """How much slower the others are."""
        return self.beside_p99_ms / self.alone_p99_ms


def measure_hanging(load: Load, api: Server, *, path: str, body: str) -> Hanging:
    """The same plan without and with hanging calls, in turns."""
    plan = Plan(port=api.port, path=path, body=body, callers=8, requests=400, key=api.key)
    between = Plan(port=api.port, path=path, body=body, callers=8, requests=100, key=api.key)
    alone, beside = [], []
    for _ in range(_ROUNDS):
        load.run(between)  # the calls that hung are over
        alone.append(load.run(plan).p99_ms)
        with _hanging_calls(api, path):
            load.run(between)  # those that hang now are under way
            beside.append(load.run(plan).p99_ms)
    return Hanging(alone_p99_ms=median(alone), beside_p99_ms=median(beside))


@contextlib.contextmanager
def _hanging_calls(api: Server, path: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for number in range(_HANGING):
            messages = [{"role": "user", "content": f"hello {number}"}]
            content = json.dumps({"model": HUNG_MODEL, "max_tokens": 16, "messages": messages})
            head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {api.key}\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=10))
            connection.sendall((head + content).encode())
        yield
