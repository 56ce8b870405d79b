"""What a task is told when its code or its tool fails: the limit, and how much came."""

from contextlib import AsyncExitStack

from tests.api.agent_stage import a_stage, run_of

from cognitionos.platform.config import Settings

FLOOD = "print('x' * 50_000_000)"


async def test_code_that_prints_too_much_is_told_the_limit_and_how_much_came(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        client = await a_stage(stack, settings, [])
        once = {"kind": "python", "input": {"code": FLOOD}, "retry": {"max_attempts": 1}}

        run, _ = await run_of(client, "floods", once)

    assert run["status"] == "failed", run
    assert "the program printed more than 16777216 bytes and was stopped after " in run["error"]["detail"]
    assert "Write what is large to a file" in run["error"]["detail"]
