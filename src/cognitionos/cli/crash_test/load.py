"""Runs kept in flight, and what came of each."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cognitionos.cli.crash_test import workflow
from cognitionos.cli.crash_test.client import FINAL, Client

_LOOK_S = 0.4
UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run: its input's `number`, how it ended and why; by task what it gave, and how often a worker took it."""

    name: str
    number: int
    id: str
    status: str
    error: str = ""
    outputs: dict[str, tuple[str, Any]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class Load:
    """Starts runs of one version of the workflow; `prefix` tells its runs from those of another test."""

    client: Client
    version: int
    prefix: str
    results: list[Result] = field(default_factory=list)
    in_flight: dict[str, Result] = field(default_factory=dict)

    @classmethod
    async def declare(cls, client: Client, *, effect_url: str, prefix: str) -> "Load":
        """Declare the workflow (the same one again is the same version)."""
        inside = await client.post("/v1/workflows", {"name": workflow.INNER, "tasks": workflow.inner(effect_url)})
        tasks = workflow.outer(effect_url, f"{workflow.INNER}@{inside['version']}")
        whole = await client.post("/v1/workflows", {"name": workflow.NAME, "tasks": tasks})
        return cls(client=client, version=whole["version"], prefix=prefix)

    async def calm(self, numbers: range) -> list[Result]:
        """A run of each number, all at once, not counted among `results`."""
        return list(await asyncio.gather(*(self.one(f"{self.prefix}-calm-{number}", number) for number in numbers)))

    async def keep(self, in_flight: int, *, until: asyncio.Event, ended: Callable[[], None]) -> None:
        """Keep so many runs in flight until told; then return when the last has ended. `ended` is told of each."""
        names = itertools.count()

        async def place(number: int) -> None:
            while not until.is_set():
                result = await self.one(f"{self.prefix}-{next(names)}", number)
                self.results.append(result)
                ended()

        async with asyncio.TaskGroup() as group:
            for number in range(in_flight):
                group.create_task(place(number))

    def give_up(self) -> None:
        """What is still in flight is not waited for any more: it is a result too."""
        self.results += self.in_flight.values()

    async def one(self, name: str, number: int) -> Result:
        """Start a run and wait for its end."""
        body = {"workflow": workflow.NAME, "version": self.version, "input": workflow.run_input(name, number)}
        run = await self.client.post("/v1/runs", body)
        result = Result(name=name, number=number, id=run["id"], status=UNFINISHED)
        self.in_flight[name] = result
        shown = await self._at_its_end(run["href"])
        tasks = await self.client.all_of(run["tasks_href"])
        del self.in_flight[name]
        error = next((f"{task['key']}: {task['error']['detail']}" for task in tasks if task["error"]), "")
        return Result(
            name=name,
            number=number,
            id=run["id"],
            status=shown["status"],
            error=error,
            outputs=workflow.outputs(tasks),
            attempts={task["key"]: task["attempt"] for task in tasks},
        )

    async def _at_its_end(self, href: str) -> Any:
        while True:
            run = await self.client.get(href)
            if run["status"] in FINAL:
                return run
            await asyncio.sleep(_LOOK_S)
