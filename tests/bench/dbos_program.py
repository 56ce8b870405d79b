"""The same shapes as `engine.py` on DBOS, by its own means: a program for its own environment; prints JSON.

`python dbos_program.py DATABASE_URL SHAPE NUMBER`, SHAPE one of chain, layers, flat, queued, dispatch.

A chain is a workflow of steps one after the other; layers and flat are steps under `asyncio.gather`, 100 and 1,000 at a
time, as its documentation shows for parallel steps; queued is one child workflow a task on a queue, which is what lets
several workers share them; dispatch is a chain that notes the time between two steps.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig

WIDTH = {"chain": 1, "dispatch": 1, "layers": 100, "flat": 1000}
QUEUE = "tasks"
GAPS: list[float] = []
ENDED = [0.0]


@DBOS.step()
async def value(number: int) -> int:
    """What a `value` task does."""
    if ENDED[0]:
        GAPS.append(time.perf_counter() - ENDED[0])
    ENDED[0] = time.perf_counter()
    return number


@DBOS.workflow()
async def steps(number: int, width: int) -> int:
    """`number` steps, `width` at once."""
    for first in range(0, number, width):
        await asyncio.gather(*(value(each) for each in range(first, min(first + width, number))))
    return number


@DBOS.workflow()
async def child(number: int) -> int:
    """A task on the queue."""
    return number


@DBOS.workflow()
async def queued(number: int) -> int:
    """`number` children."""
    handles: list[Any] = [await DBOS.enqueue_workflow_async(QUEUE, child, each) for each in range(number)]
    for handle in handles:
        await handle.get_result()
    return number


async def run(shape: str, number: int) -> None:
    """Run one workflow to its end."""
    if shape == "queued":
        await queued(number)
    else:
        await steps(number, WIDTH[shape])


def main(url: str, shape: str, number: int) -> None:
    """Launch, run, print."""
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE)
    cpu, started = time.process_time(), time.perf_counter()
    asyncio.run(run(shape, number))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    GAPS.sort()
    found = {"seconds": seconds, "cpu_s": cpu, "memory_mb": _peak_mb()}
    if shape == "dispatch":
        found |= {"p50_ms": GAPS[len(GAPS) // 2] * 1000, "p99_ms": GAPS[int(len(GAPS) * 0.99)] * 1000}
    print(json.dumps(found))
    DBOS.destroy()


def _peak_mb() -> float:
    """Of this program: `getrusage` would give at least what its parent had."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
