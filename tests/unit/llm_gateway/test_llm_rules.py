"""Routes, fingerprints, bounds and back-off."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders_llm_gateway import a_caller, a_request

from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.budget import LIMIT_WHERE_NONE_IS_KNOWN, exposure
from cognitionos.llm_gateway.domain.chat import ChatRequest, ToolCall, system, user
from cognitionos.llm_gateway.domain.fingerprint import fingerprint
from cognitionos.llm_gateway.domain.price import FREE, price_per_million
from cognitionos.llm_gateway.domain.route import Candidate, Routing
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical, encode

TENANT = uuid4()
PRICE = price_per_million(input_usd=Decimal(1), output_usd=Decimal(2))
ROUTING = Routing(
    providers=("openai", "second", "simulated"),
    default_provider="openai",
    default_model="openai/gpt-4o-mini",
    fallbacks=(Candidate(provider="second", model="backup"), Candidate(provider="simulated", model="scenarios")),
    explicit_only=("simulated",),
)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (None, "openai/gpt-4o-mini"),
        ("default", "openai/gpt-4o-mini"),
        ("gpt-4.1", "openai/gpt-4.1"),
        ("meta-llama/Llama-3", "openai/meta-llama/Llama-3"),
        ("second/backup", "second/backup"),
        ("simulated/scenarios", "simulated/scenarios"),
    ],
)
def test_a_name_goes_to_its_provider_or_to_the_default_one_unchanged(asked: str | None, name: str) -> None:
    assert ROUTING.route(asked).candidates[0].name == name


def test_the_simulated_model_is_never_a_fallback_and_has_none() -> None:
    assert [each.name for each in ROUTING.route("gpt").candidates] == ["openai/gpt", "second/backup"]
    assert [each.name for each in ROUTING.route("simulated/x").candidates] == ["simulated/x"]


def test_a_fallback_that_is_the_candidate_itself_is_not_tried_twice() -> None:
    assert [each.name for each in ROUTING.route("second/backup").candidates] == ["second/backup"]


def key(request: ChatRequest, *, model: str = "m", tenant: object = TENANT) -> str:
    return fingerprint(request, tenant_id=tenant, model=model, canonical=canonical)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": (user("Other."),)},
        {"messages": (system("Be brief."), user("Say hello."))},
        {"tools": ({"type": "function", "function": {"name": "f"}},)},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"temperature": 0.1},
        {"max_tokens": 5},
        {"extra": {"seed": 1}},
        {"extra": {"unknown": "field"}},
    ],
)
def test_a_change_in_anything_that_decides_the_answer_misses(changes: dict[str, Any]) -> None:
    assert key(a_request(**changes)) != key(a_request())


def test_tenant_and_model_are_part_of_the_fingerprint_and_the_order_of_fields_is_not() -> None:
    one = a_request(extra={"seed": 1, "top_p": 0.5})
    other = a_request(extra={"top_p": 0.5, "seed": 1}, include_usage=True)

    assert key(one) == key(other)
    assert key(one) != key(one, model="n")
    assert key(one) != key(one, tenant=uuid4())


@given(text=st.text(max_size=300), limit=st.integers(1, 10_000))
def test_the_prompt_bound_is_at_least_one_token_per_byte(text: str, limit: int) -> None:
    safe = text.encode("utf-8", "ignore").decode()

    bound = exposure(a_request(safe, max_tokens=limit), [PRICE], encode=encode).bounds[0]

    assert bound.prompt >= len(safe.encode())
    assert bound.completion == limit


def test_a_priced_model_without_any_limit_is_held_at_one_and_a_free_one_is_not() -> None:
    (priced,), (free,) = (exposure(a_request(), [price], encode=encode).bounds for price in (PRICE, FREE))

    assert (priced.limit, priced.own_limit, priced.is_short) == (None, LIMIT_WHERE_NONE_IS_KNOWN, True)
    assert (free.limit, free.own_limit, free.is_short) == (None, None, False)


@pytest.mark.parametrize(
    ("most", "window", "held"),
    [(None, None, 14_096), (20_000, None, 20_000), (10_000, None, 14_096), (20_000, 4000, 10_016)],
)
def test_a_limit_that_nobody_said_leaves_room_for_what_is_to_be_thought(
    most: int | None, window: int | None, held: int
) -> None:
    price = replace(PRICE, max_output_tokens=most, max_input_tokens=window)

    (bound,) = exposure(thinking(10_000), [price], encode=encode).bounds

    assert bound.own_limit == held


def test_a_limit_is_not_lowered_to_what_is_to_be_thought() -> None:
    wanted = exposure(thinking(1024, max_tokens=2000), [PRICE], encode=encode)
    prompt_cost = wanted.bounds[0].prompt * 1000

    lowered = wanted.lowered_to(prompt_cost + 1040 * 2000)

    assert lowered is not None
    assert lowered.limit == 1040
    assert wanted.lowered_to(prompt_cost + 1039 * 2000) is None


def test_who_gives_less_than_is_to_be_thought_means_it() -> None:
    wanted = exposure(thinking(4000, max_tokens=2000), [PRICE], encode=encode)

    lowered = wanted.lowered_to(wanted.bounds[0].prompt * 1000 + 100 * 2000)

    assert lowered is not None
    assert lowered.limit == 100


@pytest.mark.parametrize(
    "told", [None, "much", {"type": "adaptive"}, {"type": "disabled", "budget_tokens": 9}, {"budget_tokens": "9"}]
)
def test_thinking_without_a_budget_takes_none_of_the_limit(told: object) -> None:
    assert a_request(extra={"thinking": told}).thinking == 0


def thinking(tokens: int, **fields: Any) -> ChatRequest:
    return a_request(extra={"thinking": {"type": "enabled", "budget_tokens": tokens}}, **fields)


def test_the_dearest_candidate_decides_what_is_held() -> None:
    dear = price_per_million(input_usd=Decimal(10), output_usd=Decimal(20))

    both = exposure(a_request(max_tokens=10), [PRICE, dear], encode=encode)

    assert both.amount_nanousd == exposure(a_request(max_tokens=10), [dear], encode=encode).amount_nanousd


def test_several_choices_are_several_completions() -> None:
    one = exposure(a_request(max_tokens=1000), [PRICE], encode=encode)
    three = exposure(a_request(max_tokens=1000, extra={"n": 3}), [PRICE], encode=encode)

    assert three.amount_nanousd - one.amount_nanousd == 2 * 1000 * 2000


def test_a_lowered_limit_fits_what_is_left_or_there_is_none() -> None:
    wanted = exposure(a_request(max_tokens=1000), [PRICE], encode=encode)
    prompt_cost = wanted.bounds[0].prompt * 1000

    lowered = wanted.lowered_to(prompt_cost + 100 * 2000)

    assert lowered is not None
    assert lowered.limit == 100
    assert lowered.amount_nanousd <= prompt_cost + 100 * 2000
    assert wanted.lowered_to(prompt_cost + 15 * 2000) is None


def test_images_are_bounded_by_their_own_constant_not_by_their_bytes() -> None:
    url = "data:image/png;base64," + "A" * 1_000_000

    bound = exposure(ChatRequest(messages=(user("What?", images=[url]),)), [PRICE], encode=encode).bounds[0]

    assert 50_000 < bound.prompt < 60_000


def test_waits_double_up_to_the_cap_with_jitter_and_honour_the_provider() -> None:
    backoff = Backoff(first_s=1, cap_s=60, jitter=0.1)

    assert [backoff.wait_s(round_, chance=0.5) for round_ in range(3)] == [1, 2, 4]
    assert backoff.wait_s(10, chance=0.0) == pytest.approx(54)
    assert backoff.wait_s(0, chance=0.5, retry_after_s=7) == 7
    assert backoff.wait_s(9, chance=0.5, retry_after_s=7) == 60


def test_a_callers_subjects_are_what_it_names() -> None:
    caller = a_caller(user="ann", task_id="t1")

    assert caller.subjects == (f"tenant:{caller.tenant_id}", f"project:{caller.project_id}", "user:ann", "task:t1")


def test_arguments_that_are_no_object_are_an_error() -> None:
    assert ToolCall(id="1", name="f", arguments='{"a":1}').parsed() == {"a": 1}
    for text in ("[1]", "{"):
        with pytest.raises(ValueError, match=r"JSON object|Expecting"):
            ToolCall(id="1", name="f", arguments=text).parsed()
    assert json.loads(encode(ToolCall(id="1", name="f", arguments="{}").wire()))["type"] == "function"
