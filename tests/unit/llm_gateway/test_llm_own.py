"""What tenants say of models: weights, role defaults."""

from collections import Counter
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from tests.builders_llm_gateway import a_request

from cognitionos.llm_gateway.domain.fingerprint import lot_of
from cognitionos.llm_gateway.domain.role_defaults import RoleDefaults
from cognitionos.llm_gateway.domain.route import Choice, in_order
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical

CHOICES = st.lists(
    st.builds(Choice, model=st.uuids().map(str), weight=st.none() | st.integers(0, 100)), min_size=1, max_size=6
)


def test_without_weights_the_order_is_as_listed() -> None:
    choices = [Choice(model="a/m"), Choice(model="b/m")]

    assert in_order(choices, chance=0.9) == choices


def test_the_first_is_drawn_by_weight_and_the_rest_stay_in_order() -> None:
    choices = [Choice(model="a/m", weight=1), Choice(model="b/m", weight=3), Choice(model="c/m", weight=0)]

    firsts = Counter(in_order(choices, chance=number / 400)[0].model for number in range(400))

    assert firsts == {"a/m": 100, "b/m": 300}
    assert [each.model for each in in_order(choices, chance=0.9)] == ["b/m", "a/m", "c/m"]


def test_identical_requests_draw_the_same_and_others_keep_the_weights() -> None:
    tenant = uuid4()
    choices = [Choice(model="a/m", weight=1), Choice(model="b/m", weight=3)]

    lots = [lot_of(a_request(f"number {n}"), tenant_id=tenant, canonical=canonical) for n in range(2000)]
    firsts = Counter(in_order(choices, chance=lot)[0].model for lot in lots)

    assert all(0 <= lot < 1 for lot in lots)
    assert lots[0] == lot_of(a_request("number 0"), tenant_id=tenant, canonical=canonical)
    assert 400 < firsts["a/m"] < 600


@given(CHOICES, st.floats(0, 1, exclude_max=True))
def test_nobody_is_lost_and_nobody_without_weight_goes_first_where_others_have_one(
    choices: list[Choice], chance: float
) -> None:
    order = in_order(choices, chance=chance)

    assert sorted(each.model for each in order) == sorted(each.model for each in choices)
    assert order[0].weight or not any(each.weight for each in choices)


def test_an_agents_role_takes_the_tenants_wish_and_a_callers_own_word_goes_first() -> None:
    wish = RoleDefaults(temperature=0.2, max_tokens=100)

    agent = wish.fill(a_request(role="planner", temperature=None, max_tokens=4096))
    caller = wish.fill(a_request(temperature=1.0, max_tokens=5))
    silent = wish.fill(a_request())

    assert (agent.temperature, agent.max_tokens) == (0.2, 100)
    assert (caller.temperature, caller.max_tokens) == (1.0, 5)
    assert (silent.temperature, silent.max_tokens) == (0.2, 100)
    assert RoleDefaults().fill(a_request(role="critic", max_tokens=7)).max_tokens == 7
