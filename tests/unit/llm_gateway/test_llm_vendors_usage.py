"""What vendors call the tokens that came from their caches, and usage that counts nothing."""

from typing import Any

import pytest

from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.infrastructure.anthropic_answer import usage_of
from cognitionos.llm_gateway.infrastructure.openai_schema import usage_from

COUNTED = {"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001}
BOTH = {"prompt_cache_hit_tokens": 900, "prompt_tokens_details": {"cached_tokens": 900}}


@pytest.mark.parametrize(
    "told",
    [
        {"prompt_tokens_details": {"cached_tokens": 900}},
        {"prompt_cache_hit_tokens": 900, "prompt_cache_miss_tokens": 100},
        BOTH,
        {"cached_tokens": 900},
        {"cache_read_input_tokens": 900},
    ],
    ids=["OpenAI", "DeepSeek", "DeepSeek, both", "Moonshot", "Anthropic"],
)
def test_what_came_from_a_vendors_cache_is_read_under_its_own_name(told: dict[str, Any]) -> None:
    assert usage_from(COUNTED | told) == Usage(prompt=1000, completion=1, cached=900)


@pytest.mark.parametrize(
    "told",
    [{"prompt_tokens": "many"}, {"prompt_tokens": None}, {"prompt_tokens": -1}, {"completion_tokens": "some"}],
)
def test_usage_that_is_no_count_is_none_so_that_the_call_is_estimated(told: dict[str, Any]) -> None:
    assert usage_from(COUNTED | told) is None


def test_nor_is_anthropics() -> None:
    assert usage_of({"input_tokens": "many", "output_tokens": 5}) is None
