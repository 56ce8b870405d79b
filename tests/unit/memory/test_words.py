"""How texts become words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.memory.domain.words import LONGEST_WORD, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("docs/examples/suppliers.csv", ["docs", "examples", "suppliers", "csv"]),
        ("max_tokens=4096", ["max", "tokens", "4096"]),
        ("GitHub", ["github", "git", "hub"]),
        ("Müller & Søn, Straße", ["muller", "søn", "strasse"]),
        ("costs 12.50 EUR, or 1,250", ["costs", "12.50", "eur", "or", "1,250"]),
        ("東京都の天気", ["東京", "京都", "都の", "の天", "天気"]),
        ("pgvector版", ["pgvector", "版"]),
        ("한국어 문서", ["한국어", "문서"]),
        ("हिन्दी", ["हिन्दी"]),
        ("…—!", []),
    ],
)
def test_a_text_becomes_the_words_one_would_ask_for(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(st.text(max_size=300))
def test_words_are_short_and_never_empty_or_spaced(text: str) -> None:
    for word in words_of(text):
        assert 0 < len(word) <= LONGEST_WORD
        assert not any(character.isspace() for character in word)


@given(st.text(alphabet="abcXYZ é9_.", max_size=60))
def test_a_question_in_lower_case_has_the_words_of_the_text(text: str) -> None:
    assert set(words_of(text.lower())) <= set(words_of(text))
