"""How many commits an agent's steps cost: API, engine and model together, counted at the database's door."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from tests.api.agent_stage import a_stage, run_of, steps_of
from tests.counting import Door, a_door
from tests.servers import TestDatabase

from cognitionos.cli.crash_test.sink import running_sink
from cognitionos.platform.config import Settings

MOST_A_STEP = 2
TURNS = 3
CALLS = {"say nothing": 0, "one call": 1, "three calls": 3}
HOLD, SETTLE = "SELECT * FROM llm_hold($1::jsonb)", "SELECT raised FROM llm_settle($1::jsonb)"


def rules(url: str) -> list[Mapping[str, Any]]:
    """`TURNS` times what the instructions name (nothing, one tool call, three side by side), then words."""

    def call(turn: int, number: int) -> dict[str, Any]:
        arguments = {"method": "PUT", "url": f"{url}?call={turn}.{number}", "json": {}}
        return {"name": "http_request", "arguments": arguments}

    said: list[Mapping[str, Any]] = []
    for turn in range(TURNS):
        said.append({"contains": ["say nothing"], "assistant_turns": turn, "say": " "})
        said.append({"contains": ["one call"], "assistant_turns": turn, "call": [call(turn, 0)]})
        said.append({"contains": ["three calls"], "assistant_turns": turn, "call": [call(turn, n) for n in range(3)]})
    return [*said, {"say": "Done."}]


async def cost_of(client: Any, door: Door, instructions: str) -> tuple[int, int, int]:
    """Commits, statements of the gateway's books, and journaled steps of a run of one agent."""
    commits, books = door.commits, door.statements[HOLD] + door.statements[SETTLE]
    task = {"kind": "agent", "input": {"instructions": instructions}}
    run, tasks = await run_of(client, instructions.replace(" ", "-"), task)
    assert run["status"] == "succeeded", tasks
    commits, books = door.commits - commits, door.statements[HOLD] + door.statements[SETTLE] - books
    return commits, books, len(await steps_of(client, run))


async def test_a_step_of_an_agent_costs_at_most_two_commits(settings: Settings, database: TestDatabase) -> None:
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(running_sink())
        door = await stack.enter_async_context(a_door(database.app_url))
        changes = {"database_url": type(settings.database_url)(door.url), "http_allow": (sink.address,)}
        client = await a_stage(stack, settings.model_copy(update=changes), rules(sink.url))
        bare = await cost_of(client, door, "only words")

        for instructions, calls in CALLS.items():
            sink.reset()
            whole = await cost_of(client, door, instructions)
            commits, books, steps = (after - before for after, before in zip(whole, bare, strict=True))
            assert (steps, sink.applied) == (TURNS * (1 + calls), TURNS * calls)
            assert commits <= MOST_A_STEP * steps, instructions
            assert books <= 2 * TURNS  # of the gateway: what a model call may cost is held, and paid
