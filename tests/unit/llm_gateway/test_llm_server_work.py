"""What a provider does by itself is held for: its passes, its searches and what they bring; or the call is refused."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders_llm_gateway import a_request

from cognitionos.llm_gateway.domain.budget import exposure
from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.domain.errors import CallUnbounded
from cognitionos.llm_gateway.domain.price import FREE, Price, billed
from cognitionos.llm_gateway.domain.price_sheet import price_of_sheet
from cognitionos.llm_gateway.infrastructure.openai_schema import encode

WINDOW = 200_000
SHEET = {"input_usd_per_million": "5", "output_usd_per_million": "25", "max_input_tokens": WINDOW}
WITH_SEARCH = price_of_sheet(SHEET | {"search_usd_per_thousand": "10"})
WITHOUT = price_of_sheet(SHEET)


def search(uses: int | None, *, kind: str = "web_search_20250305") -> dict[str, Any]:
    return {"type": kind, "name": "web_search"} | ({} if uses is None else {"max_uses": uses})


def bound(price: Price = WITH_SEARCH, **fields: Any) -> int:
    return exposure(a_request(max_tokens=1000, **fields), [price], encode=encode).amount_nanousd


@given(
    uses=st.integers(1, 30),
    searches=st.integers(0, 30),
    prompts=st.lists(st.integers(0, WINDOW), min_size=1, max_size=11),
    answered=st.integers(0, 1000),
)
def test_no_call_with_searches_costs_more_than_was_held_for_it(
    uses: int, searches: int, prompts: list[int], answered: int
) -> None:
    passes = prompts[: 1 + min(uses, 10)]
    usage = Usage(
        prompt=sum(passes), completion=answered * len(passes), searches=min(searches, uses), cached=sum(passes) // 2
    )

    assert WITH_SEARCH.cost(usage) <= bound(tools=(search(uses),))


def test_each_pass_and_each_search_is_held_for() -> None:
    a_pass, a_search = WINDOW * 5_000 + 1000 * 25_000, 10_000_000

    assert bound(tools=(search(2),)) == 3 * a_pass + 2 * a_search
    assert bound(tools=(search(2, kind="web_search_20260209"),)) == 11 * a_pass + 2 * a_search
    assert bound(tools=({"type": "web_fetch_20250910", "name": "web_fetch"},)) == 11 * a_pass
    assert bound(extra={"mcp_servers": [{"url": "https://tools.example"}]}) == 11 * a_pass


def test_tools_that_the_caller_runs_ask_the_model_once() -> None:
    plain = bound()

    for kind in ("function", "custom", "bash_20250124", "text_editor_20250728", "memory_20250818"):
        assert plain <= bound(tools=({"type": kind, "name": "t"},)) < plain + 16_000_000


def test_a_search_among_tools_reads_the_same_prompt_again() -> None:
    once, again = bound(tools=({"type": "bash_1", "name": "t"},)), bound(tools=({"type": "tool_search_tool_bm25_1"},))

    assert 10 * once < again < 13 * once


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"tools": (search(None),)}, "tools.0.max_uses"),
        ({"tools": ({"type": "code_execution_20250825", "name": "code_execution"},)}, "tools.0.type"),
        ({"tools": ({"type": "google_search"},)}, "tools.0.type"),
        ({"extra": {"plugins": [{"id": "web"}]}}, "plugins"),
        ({"extra": {"search_parameters": {"mode": "on"}}}, "search_parameters"),
        ({"extra": {"fallbacks": [{"model": "other"}]}}, "fallbacks"),
        ({"extra": {"web_search_options": {"search_context_size": "low"}}}, "web_search_options"),
    ],
)
def test_what_sets_no_bound_is_named(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(CallUnbounded) as raised:
        bound(**fields)

    assert set(raised.value.fields or {}) == {place}
    assert bound(FREE, **fields) == 0


@pytest.mark.parametrize(
    ("price", "place"),
    [
        (WITHOUT, "tools"),
        (price_of_sheet(SHEET | {"search_usd_per_thousand": "10", "max_input_tokens": None}), "model"),
        (price_of_sheet(SHEET | {"search_usd_per_thousand": "10", "searches_unasked": "freely"}), "model"),
    ],
)
def test_a_price_that_does_not_bound_a_search_is_named(price: Price, place: str) -> None:
    with pytest.raises(CallUnbounded) as raised:
        bound(price, tools=(search(1),))

    assert set(raised.value.fields or {}) == {place}


def test_a_model_that_always_searches_once_is_held_for_it() -> None:
    price = price_of_sheet(SHEET | {"search_usd_per_thousand": "25", "searches_unasked": "once"})

    with_options = bound(price, extra={"web_search_options": {}})

    assert bound(price) == bound(WITHOUT) + 25_000_000
    assert with_options == WINDOW * 5_000 + 1000 * 25_000 + 25_000_000
    assert price.cost(Usage()) == 25_000_000


def test_a_fee_for_each_call_is_held_and_billed() -> None:
    price = price_of_sheet(SHEET | {"call_usd_per_thousand": "5"})

    assert bound(price) == bound(WITHOUT) + 5_000_000
    assert price.cost(Usage(completion=100)) == 5_000_000 + 100 * 25_000
    assert not price_of_sheet(
        {"input_usd_per_million": 0, "output_usd_per_million": 0, "call_usd_per_thousand": 5}
    ).is_free


@given(amount=st.integers(0, 3 * 10**9))
def test_a_lowered_limit_leaves_room_for_the_fees(amount: int) -> None:
    price = price_of_sheet(SHEET | {"call_usd_per_thousand": "5"})

    lowered = exposure(a_request(max_tokens=100_000), [price], encode=encode).lowered_to(amount)

    assert lowered is None or lowered.amount_nanousd <= amount


def test_a_search_whose_fee_nobody_knows_leaves_the_call_unpriced_but_not_for_nothing() -> None:
    usage = Usage(prompt=1000, completion=100, searches=2)

    assert billed(WITHOUT, usage) == (7_500_000, False)
    assert billed(WITH_SEARCH, usage) == (27_500_000, True)
    assert billed(None, usage) == (0, False)
    assert Decimal(WITH_SEARCH.cost(usage)) / 10**9 == Decimal("0.0275")
