"""Words and meaning, ranked together."""

import math
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.memory.domain.ranking import Candidate, Corpus, bm25, inverse_document_frequencies, rank


def a_candidate(number: int, *frequencies: int, similarity: float | None = None, words: int = 10) -> Candidate:
    return Candidate(id=UUID(int=number), similarity=similarity, frequencies=frequencies, words=words)


def a_corpus(*matches: int, items: int = 100) -> Corpus:
    return Corpus(items=items, mean_words=10.0, matches=matches)


def ids(candidates: list[Candidate], corpus: Corpus) -> list[int]:
    return [each.id.int for each in rank(candidates, corpus)]


def test_bm25_is_what_the_formula_gives() -> None:
    corpus = a_corpus(9, items=99)

    score = bm25(a_candidate(1, 2, words=20), corpus, inverse_document_frequencies(corpus))

    assert score == pytest.approx(math.log(1 + 90.5 / 9.5) * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 2)))


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    assert ids([a_candidate(1, 1, 0), a_candidate(2, 0, 1)], a_corpus(80, 2)) == [2, 1]


def test_of_two_texts_with_the_word_the_shorter_is_first() -> None:
    assert ids([a_candidate(1, 1, words=50), a_candidate(2, 1, words=5)], a_corpus(2)) == [2, 1]


def test_words_and_meaning_together_beat_either_alone() -> None:
    both = a_candidate(1, 1, similarity=0.7)
    words = a_candidate(2, 1, similarity=0.1)
    meaning = a_candidate(3, 0, similarity=0.7)

    assert ids([meaning, words, both, a_candidate(4, 0, similarity=0.1)], a_corpus(2))[0] == 1


def test_an_item_without_an_embedding_counts_as_average_in_meaning() -> None:
    near, far = a_candidate(1, 0, similarity=0.9), a_candidate(2, 0, similarity=0.1)

    assert ids([far, a_candidate(3, 0), near], a_corpus(0)) == [1, 3, 2]


def test_ties_go_to_the_newest() -> None:
    assert ids([a_candidate(1, 1), a_candidate(3, 1), a_candidate(2, 1)], a_corpus(3)) == [3, 2, 1]


def test_no_candidates_give_no_ranking() -> None:
    assert rank([], Corpus(items=0, mean_words=0.0, matches=())) == []


candidates = st.builds(
    Candidate,
    id=st.uuids(),
    similarity=st.none() | st.floats(-1, 1),
    frequencies=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    words=st.integers(0, 10_000),
)


@given(st.lists(candidates, max_size=20, unique_by=lambda each: each.id), st.integers(0, 30), st.integers(0, 30))
def test_every_candidate_is_ranked_once_with_a_finite_score(running: list[Candidate], one: int, two: int) -> None:
    ranked = rank(running, a_corpus(one, two, items=20))

    assert {each.id for each in ranked} == {each.id for each in running}
    assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)
    assert all(each.text >= 0 and abs(each.score) < 1e6 for each in ranked)
