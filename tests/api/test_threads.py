"""Threads, by which Anthropic's SDK leaves a conversation to the provider: its tool runner behind us, with both kinds.

Its tool runner asks for one by itself and goes by `error.details.error_code` where there is none, or no more.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic, beta_async_tool
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.conftest import Run
from tests.edge import Caller
from tests.upstream import Say, Upstream

CLAUDE = "anthropic/claude-haiku-4-5"
BERN: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": "Bern"})}}


@beta_async_tool
async def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


@pytest.fixture
def sdk(url: str, caller: Caller, client: httpx.AsyncClient, run: Run) -> Iterator[AsyncAnthropic]:
    del client  # its fixture makes both vendors forget
    made = AsyncAnthropic(base_url=url, api_key=caller.key, max_retries=0)
    yield made
    run(made.close())


async def last_words(sdk: AsyncAnthropic, model: str, *, stream: bool = False) -> str:
    asked: Any = {"role": "user", "content": f"Weather? {uuid4()}"}
    options: dict[str, Any] = {"model": model, "max_tokens": 50, "tools": [weather], "messages": [asked]}
    if stream:
        last = None
        async for turn in sdk.beta.messages.tool_runner(**options, stream=True):
            last = await turn.get_final_message()
    else:
        last = await sdk.beta.messages.tool_runner(**options).until_done()
    assert last is not None
    return "".join(block.text for block in last.content if block.type == "text")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_tool_runner_goes_on_in_its_thread(
    sdk: AsyncAnthropic, claude: AnthropicUpstream, *, stream: bool
) -> None:
    claude.then(Tell(content=[BERN]), Tell(text="Sunny."))

    assert await last_words(sdk, CLAUDE, stream=stream) == "Sunny."

    first, second = claude.calls
    assert (first["thread"], second["thread"]) == (
        {"type": "create"},
        {"type": "continue", "previous_message_id": "msg_1"},
    )
    assert [each["role"] for each in second["messages"]] == ["user"]


async def test_the_tool_runner_begins_a_lost_thread_anew(sdk: AsyncAnthropic, claude: AnthropicUpstream) -> None:
    claude.then(Tell(content=[BERN]), Tell(text="Sunny."))
    runner = sdk.beta.messages.tool_runner(
        model=CLAUDE, max_tokens=50, tools=[weather], messages=[{"role": "user", "content": f"Weather? {uuid4()}"}]
    )
    turns = []
    async for message in runner:
        turns.append(message)
        claude.threads.clear()

    assert [turn.stop_reason for turn in turns] == ["tool_use", "end_turn"]
    assert (claude.calls[1]["thread"], len(claude.calls[1]["messages"])) == ({"type": "create"}, 3)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_tool_runner_goes_on_without_a_thread_where_the_provider_keeps_none(
    sdk: AsyncAnthropic, upstream: Upstream, *, stream: bool
) -> None:
    upstream.then(Say(tool_calls=[CALL]), Say(text="Sunny."))

    assert await last_words(sdk, "openai/m", stream=stream) == "Sunny."

    assert [each["role"] for each in upstream.calls[1]["messages"]] == ["user", "assistant", "tool"]
    assert not any("thread" in call for call in upstream.calls)


@pytest.mark.parametrize("model", ["openai/m", "simulated/m"])
async def test_a_model_that_keeps_no_conversation_says_so_in_the_shape_that_the_sdk_reads(
    sdk: AsyncAnthropic, model: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        await sdk.beta.messages.create(
            model=model, max_tokens=9, thread={"type": "create"}, messages=[{"role": "user", "content": "hi"}]
        )

    assert refused.value.error_code == "thread_unsupported_request"
    error: Any = refused.value.body
    assert error["error"]["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["model"]}
    assert (error["error"]["code"], error["error"]["param"]) == ("request-refused", "thread")


async def test_an_answer_in_a_thread_is_neither_kept_nor_shared(
    client: httpx.AsyncClient, sdk: AsyncAnthropic, claude: AnthropicUpstream
) -> None:
    text = f"hello {uuid4()}"
    asked: Any = [{"role": "user", "content": text}]
    answers = [
        await sdk.beta.messages.with_raw_response.create(
            model=CLAUDE, max_tokens=9, thread={"type": "create"}, messages=asked
        )
        for _ in range(2)
    ]

    assert [answer.headers["x-cognitionos-cache"] for answer in answers] == ["none", "none"]
    assert not any("x-cognitionos-cache-key" in answer.headers for answer in answers)
    assert len({(await answer.parse()).id for answer in answers}) == len(claude.calls) == 2


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "compaction_incomplete_turn", anthropic.BadRequestError),
        (404, "file_expired", anthropic.NotFoundError),
        (409, "scan_pending", anthropic.ConflictError),
    ],
)
async def test_what_a_provider_says_for_programs_goes_on_to_the_caller(
    sdk: AsyncAnthropic, claude: AnthropicUpstream, status: int, code: str, kind: type[anthropic.APIStatusError]
) -> None:
    details = {"error_code": code, "more": {"is": ["kept"]}}
    claude.then(Tell(status=status, details=details))

    with pytest.raises(kind) as refused:
        await sdk.messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": f"hi {uuid4()}"}])

    error: Any = refused.value.body
    assert (error["error"]["details"], refused.value.error_code) == (details, code)
    assert len(claude.calls) == 1


async def test_a_failure_of_the_one_provider_keeps_what_it_says_for_programs(
    sdk: AsyncAnthropic, claude: AnthropicUpstream
) -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    claude.then(*[Tell(status=429, kind="billing_error", details=details) for _ in range(4)])

    with pytest.raises(anthropic.APIStatusError) as failed:
        await sdk.messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": f"hi {uuid4()}"}])

    assert (failed.value.status_code, failed.value.error_code) == (503, details["error_code"])


@pytest.mark.parametrize("secret", [False, True])
async def test_a_stream_that_breaks_off_says_it_too_but_never_our_key(
    sdk: AsyncAnthropic, claude: AnthropicUpstream, *, secret: bool
) -> None:
    words = ""
    details = {"error_code": "enforced_spend_limit_reached"} | ({"key": claude.api_key} if secret else {})
    claude.then(Tell(text="one two three", error_after=4, details=details))

    with pytest.raises(anthropic.APIStatusError) as broken:
        async with sdk.messages.stream(
            model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": f"hi {uuid4()}"}]
        ) as stream:
            async for text in stream.text_stream:
                words += text

    assert words.startswith("one")
    assert broken.value.error_code == (None if secret else "enforced_spend_limit_reached")
    assert claude.api_key not in str(broken.value.body)


async def test_details_that_carry_our_key_are_nobodys(sdk: AsyncAnthropic, claude: AnthropicUpstream) -> None:
    claude.then(Tell(status=400, details={"error_code": "odd", "key": claude.api_key}))

    with pytest.raises(anthropic.BadRequestError) as refused:
        await sdk.messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": f"hi {uuid4()}"}])

    assert claude.api_key not in str(refused.value.body)
    assert refused.value.error_code is None
