"""Prices: exact, rounded once, never below what a call can cost."""

import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.domain.price import FREE, price_per_million
from cognitionos.llm_gateway.domain.price_table import price_from_table
from cognitionos.llm_gateway.infrastructure.price_table import PriceTable

MINI = {
    "input_cost_per_token": 1.5e-07,
    "output_cost_per_token": 6e-07,
    "cache_read_input_token_cost": 7.5e-08,
    "max_input_tokens": 128000,
    "max_output_tokens": 16384,
}
LONG = {
    "input_cost_per_token": 1.25e-06,
    "output_cost_per_token": 1e-05,
    "input_cost_per_token_above_200k_tokens": 2.5e-06,
    "output_cost_per_token_above_200k_tokens": 1.5e-05,
}


@pytest.mark.parametrize(
    ("entry", "usage", "nanousd"),
    [
        (MINI, Usage(prompt=1000, completion=100), 210_000),
        (MINI, Usage(prompt=1, completion=0), 150),
        (MINI, Usage(prompt=1000, completion=0, cached=400), 120_000),
        ({"input_cost_per_token": 2e-08, "mode": "embedding"}, Usage(prompt=3), 60),
        ({"input_cost_per_token": 1.5e-10, "output_cost_per_token": 0}, Usage(prompt=3), 0),
        ({"input_cost_per_token": 1.5e-10, "output_cost_per_token": 0}, Usage(prompt=4), 1),
        (LONG, Usage(prompt=200_000, completion=10), 250_100_000),
        (LONG, Usage(prompt=200_001, completion=10), 500_152_500),
        (MINI | {"cache_creation_input_token_cost": 3e-07}, Usage(prompt=10, cache_write=10), 3_000),
        (MINI | {"output_cost_per_reasoning_token": 1e-06}, Usage(completion=10, reasoning=4), 7_600),
    ],
)
def test_a_call_costs_what_its_table_says_to_the_nano_dollar(
    entry: dict[str, float], usage: Usage, nanousd: int
) -> None:
    price = price_from_table(entry)

    assert price is not None
    assert price.cost(usage) == nanousd


def test_an_entry_without_token_prices_has_no_price() -> None:
    assert price_from_table({"mode": "image_generation", "output_cost_per_image": 0.04}) is None
    assert price_from_table({"mode": "chat", "input_cost_per_token": 1e-6}) is None


@given(
    prompt=st.integers(0, 400_000),
    completion=st.integers(0, 20_000),
    cached=st.integers(0, 400_000),
    reasoning=st.integers(0, 20_000),
)
def test_no_call_costs_more_than_its_upper_bound(prompt: int, completion: int, cached: int, reasoning: int) -> None:
    price = price_from_table(LONG | {"cache_creation_input_token_cost": 4e-06, "cache_read_input_token_cost": 1e-07})
    assert price is not None
    usage = Usage(
        prompt=prompt, completion=completion, cached=min(cached, prompt), reasoning=min(reasoning, completion)
    )

    assert price.cost(usage) <= price.upper_bound(prompt, completion)


@given(amount=st.integers(0, 10**9), prompt=st.integers(0, 5000))
def test_the_tokens_an_amount_buys_never_cost_more_than_it(amount: int, prompt: int) -> None:
    price = price_per_million(input_usd=Decimal("0.15"), output_usd=Decimal("0.6"))

    tokens = price.completion_tokens_for(amount, prompt=prompt)

    assert tokens == 0 or price.upper_bound(prompt, tokens) <= amount


def test_a_free_model_is_free_whatever_it_uses() -> None:
    assert FREE.is_free
    assert FREE.upper_bound(10**9, 10**9) == 0


def test_the_public_table_is_read_without_importing_litellm() -> None:
    imported_before = "litellm" in sys.modules

    price = PriceTable().price("gpt-4o-mini")

    assert price is not None
    assert price.cost(Usage(prompt=1_000_000)) == 150_000_000
    assert PriceTable().price("no-such-model") is None
    assert ("litellm" in sys.modules) == imported_before
