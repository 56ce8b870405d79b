"""Several thoughts of Anthropic's in one answer, as the official OpenAI client puts them together."""

from typing import Any

import pytest
from openai import AsyncOpenAI
from tests.anthropic_upstream import AnthropicUpstream, Tell
from tests.edge import Caller

FIRST = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
SECOND = {"type": "thinking", "thinking": "So.", "signature": "bmV4dA"}
HIDDEN = {"type": "redacted_thinking", "data": "ZGF0YQ"}
MODEL = "anthropic/claude-haiku-4-5"


@pytest.fixture(scope="module")
def environment(both_vendors: dict[str, str]) -> dict[str, str]:
    return both_vendors


@pytest.mark.parametrize("thoughts", [[FIRST], [FIRST, SECOND], [FIRST, HIDDEN], [HIDDEN, FIRST, SECOND]])
async def test_streamed_thoughts_add_up_to_those_of_the_whole_answer_and_may_be_sent_again(
    url: str, caller: Caller, claude: AnthropicUpstream, thoughts: list[dict[str, Any]]
) -> None:
    said = [each for thought in thoughts for each in (thought, {"type": "text", "text": "x"})]
    claude.then(Tell(content=said), Tell(content=said), Tell(text="done"))
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=caller.key, max_retries=0)
    question = {"role": "user", "content": f"Think {len(thoughts)} {thoughts[-1]['type']}"}
    off = {"cache-control": "no-store"}
    asked: Any = {"model": MODEL, "messages": [question], "max_tokens": 2000, "extra_headers": off}

    whole = (await client.chat.completions.create(**asked)).choices[0].message.model_dump()
    async with client.chat.completions.stream(**asked) as stream:
        streamed = (await stream.get_final_completion()).choices[0].message.model_dump(exclude={"parsed"})

    assert whole["thinking_blocks"] == thoughts
    numbered = [{"index": place} | thought for place, thought in enumerate(thoughts)]
    assert (streamed["thinking_blocks"], streamed["content"]) == (numbered, whole["content"])
    again = {"role": "assistant", "content": streamed["content"], "thinking_blocks": streamed["thinking_blocks"]}
    await client.chat.completions.create(**asked | {"messages": [question, again, question]})
    assert claude.calls[-1]["messages"][1]["content"][:-1] == thoughts
    await client.close()
