"""An agent at work in a process that a test kills: `python -m tests.fakes.agents_crash` with JSON on stdin.

The model is a function of the conversation, so that every process gets the same words; effects are lines in a file,
which stands for the world outside.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.fakes.agents_bench import Bench, a_tool, an_assignment
from tests.fakes.agents_gateway import ScriptedGateway, calls, says, verdict

from cognitionos.agents.application.ports import Journal, Tool, ToolAnswer, ToolContext
from cognitionos.agents.domain.tool import Effect
from cognitionos.agents.facade import Assignment, Outcome
from cognitionos.agents.infrastructure.journal import PostgresJournal
from cognitionos.agents.infrastructure.workspace_store import PostgresFiles
from cognitionos.llm_gateway.facade import ChatRequest, ChatResult
from cognitionos.platform import crash_points
from cognitionos.platform.database import Database


@dataclass
class World:
    """What was asked of the model and done outside, one line each, in a file that outlives its writer."""

    log: Path

    def note(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{line}\n")

    def lines(self, kind: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith(kind)]

    def tools(self) -> list[Tool]:
        """`double` can be repeated with its key, `send` cannot."""

        async def run(context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
            self.note(f"effect {context.idempotency_key} {arguments['n']}")
            return ToolAnswer(content={"doubled": arguments["n"] * 2})

        return [
            a_tool(run, name="double", effect=Effect.IDEMPOTENT),
            a_tool(run, name="send", effect=Effect.UNSAFE),
        ]


@dataclass
class ConversingGateway(ScriptedGateway):
    """Calls two tools at once, answers, is sent back once, answers again."""

    world: World = field(kw_only=True)
    tool: str = field(kw_only=True, default="double")

    async def complete(self, caller: Any, request: ChatRequest) -> ChatResult:
        self.world.note(f"model {len(request.messages)} {request.messages[0]['content'][:20]}")
        if "critic" in request.messages[0]["content"][:40]:
            return verdict() if "second draft" in request.messages[1]["content"] else verdict("again")
        turns = [each for each in request.messages if each["role"] == "assistant"]
        lines = [calls((self.tool, {"n": 1}), (self.tool, {"n": 2})), says("first draft"), says("second draft")]
        return lines[len(turns)]


def crash_bench(database: Database, world: World, *, tool: str = "double", journal: Journal | None = None) -> Bench:
    """Agents on PostgreSQL, working in `world`."""
    return Bench.of(
        gateway=ConversingGateway(world=world, tool=tool),
        journal=journal or PostgresJournal(database),
        files=PostgresFiles(database),
        tools=world.tools(),
    )


def assignment_of(ids: Mapping[str, str], *, fence: int, **changes: Any) -> Assignment:
    """The same reviewed task for every process."""
    given = {name: UUID(value) for name, value in ids.items()}
    return an_assignment(**given, fence=fence, review=True, **changes)


async def _work(given: Mapping[str, Any]) -> Outcome:
    database = Database(given["database_url"], pool_size=4)
    await database.open()
    crash_points.arm(given["crash_point"])
    bench = crash_bench(database, World(Path(given["log"])), tool=given["tool"])
    return await bench.agents.perform(assignment_of(given["ids"], fence=1))


if __name__ == "__main__":
    asyncio.run(_work(json.load(sys.stdin)))
