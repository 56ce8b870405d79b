"""The longest path first."""

from hypothesis import given
from hypothesis import strategies as st

from cognitionos.planning.domain.graph import topological_order
from cognitionos.planning.domain.urgency import LEAST, priorities

EDGES = st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=30)


def test_the_longest_path_goes_first_and_others_by_how_much_shorter_theirs_is() -> None:
    depends_on = {"a": [], "long": ["a"], "short": ["a"], "end": ["long", "short"], "alone": []}
    seconds = {"a": 1.0, "long": 6.0, "short": 1.0, "end": 3.0, "alone": 1.0}

    assert priorities(topological_order(depends_on), depends_on, seconds) == {
        "a": 0,
        "long": 0,
        "end": 0,
        "short": -50,
        "alone": -90,
    }


def test_where_nothing_takes_time_nothing_goes_first() -> None:
    assert priorities(["a", "b"], {"a": [], "b": ["a"]}, {"a": 0.0, "b": 0.0}) == {"a": 0, "b": 0}


def test_ten_thousand_in_a_chain_are_equals() -> None:
    depends_on = {str(n): [str(n - 1)] if n else [] for n in range(10_000)}

    assert set(priorities(list(depends_on), depends_on, dict.fromkeys(depends_on, 0.1)).values()) == {0}


@given(EDGES, st.data())
def test_some_task_is_always_the_most_urgent_and_none_is_below_the_least(
    edges: list[list[int]], data: st.DataObject
) -> None:
    depends_on = {str(n): sorted({str(e) for e in each if e < n}) for n, each in enumerate(edges)}
    seconds = {key: data.draw(st.floats(0, 1e6)) for key in depends_on}

    found = priorities(list(depends_on), depends_on, seconds)

    assert max(found.values()) == 0
    assert min(found.values()) >= LEAST
