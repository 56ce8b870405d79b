"""The load generator: kept-alive connections that each send one request after the other. A process of its own.

`python -m tests.bench.load` reads one JSON `Plan` a line from standard input and prints one JSON `Figures` for each:
a plan's connections, latencies and failures are its own. `{n}` in the body becomes a number that is never used twice.
"""

import asyncio
import itertools
import sys
import time
from dataclasses import dataclass

import msgspec

_TIMEOUT_S = 600.0


class Plan(msgspec.Struct, kw_only=True):
    """`requests` POSTs to one address by `callers` connections."""

    port: int
    path: str
    body: str
    callers: int
    requests: int
    key: str = "bench"


class Figures(msgspec.Struct, kw_only=True):
    """What the callers saw; times in milliseconds to the answer's last byte."""

    seconds: float
    p50_ms: float
    p99_ms: float
    answered: int
    failed: int
    events: int
    first_failure: str = ""

    def per_second(self, requests: int) -> float:
        """Answers a second."""
        return requests / self.seconds


@dataclass(slots=True)
class _Run:
    plan: Plan
    numbers: "itertools.count[int]"
    left: int
    times: list[float]
    failed: int = 0
    events: int = 0
    first_failure: str = ""


async def run(plan: Plan, numbers: "itertools.count[int]") -> Figures:
    """Carry out one plan. Connecting is not part of it."""
    state = _Run(plan=plan, numbers=numbers, left=plan.requests, times=[])
    callers = [await asyncio.open_connection("127.0.0.1", plan.port) for _ in range(plan.callers)]
    started = time.perf_counter()
    async with asyncio.timeout(_TIMEOUT_S), asyncio.TaskGroup() as group:
        for reader, writer in callers:
            group.create_task(_call(state, reader, writer))
    seconds = time.perf_counter() - started
    for _, writer in callers:
        writer.close()
    state.times.sort()
    return Figures(
        seconds=seconds,
        p50_ms=state.times[len(state.times) // 2] * 1000,
        p99_ms=state.times[int(len(state.times) * 0.99)] * 1000,
        answered=len(state.times),
        failed=state.failed,
        events=state.events,
        first_failure=state.first_failure,
    )


async def _call(state: _Run, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    plan = state.plan
    head = (
        f"POST {plan.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {plan.key}\r\n"
        "content-type: application/json\r\ncontent-length: "
    )
    while state.left > 0:
        state.left -= 1
        body = plan.body.replace("{n}", str(next(state.numbers)))
        started = time.perf_counter()
        writer.write(f"{head}{len(body)}\r\n\r\n{body}".encode())
        status, answer = await _answer(reader)
        state.times.append(time.perf_counter() - started)
        if b" 200 " not in status:
            state.failed += 1
            state.first_failure = state.first_failure or f"{status.decode()} {answer.decode(errors='replace')}"
        state.events += answer.count(b"data: ")


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The status line and the body of one answer, read to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    status = head.partition(b"\r\n")[0]
    if b"transfer-encoding: chunked" in lower:
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        return status, b"".join(parts)
    length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return status, await reader.readexactly(length)


def main() -> None:
    """Serve plans until the input ends."""
    numbers = itertools.count(time.time_ns())
    for line in sys.stdin:
        plan = msgspec.json.decode(line, type=Plan)
        print(msgspec.json.encode(asyncio.run(run(plan, numbers))).decode(), flush=True)


if __name__ == "__main__":
    main()
