"""Long texts in pieces."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.memory.domain.chunking import chunks, mean_vector


def test_a_short_text_is_one_piece() -> None:
    assert chunks("  short  ") == ["short"]


def test_a_text_is_cut_between_paragraphs_before_sentences() -> None:
    text = "One. Two.\n\nThree is a longer sentence. Four."

    assert chunks(text, most=20) == ["One. Two.", "Three is a longer", "sentence. Four."]


@given(st.text(alphabet="ab. \n", max_size=400), st.integers(min_value=2, max_value=40))
def test_no_piece_is_too_long_and_nothing_but_space_is_lost(text: str, most: int) -> None:
    pieces = chunks(text, most=most)

    assert all(0 < len(piece) <= most for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_the_mean_of_vectors_has_unit_length() -> None:
    mean = mean_vector([(1.0, 0.0), (0.0, 1.0)])

    assert mean == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))


def test_vectors_that_cancel_out_have_no_direction() -> None:
    assert mean_vector([(1.0, 0.0), (-1.0, 0.0)]) == (0.0, 0.0)
