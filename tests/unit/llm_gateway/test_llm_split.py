"""Splitting what a shared call used: the parts add up, and nobody pays beyond what was held."""

from hypothesis import given
from hypothesis import strategies as st

from cognitionos.llm_gateway.application.embedding_batches import split


@given(total=st.integers(0, 10**12), weights=st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_parts_add_up_and_are_within_one_of_their_due(total: int, weights: list[int]) -> None:
    parts = split(total, weights)

    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * whole - total * weight) <= whole


@given(weights=st.lists(st.integers(1, 10**6), min_size=1, max_size=50), share=st.floats(0, 1))
def test_no_part_is_above_its_weight_where_the_total_is_not(weights: list[int], share: float) -> None:
    parts = split(int(sum(weights) * share), weights)

    assert all(part <= weight for part, weight in zip(parts, weights, strict=True))
