"""From how sure on answers are reused: up at once, down on proof only, off where the bound cannot be kept."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.llm_gateway.domain.semantic_calibration import (
    BOUNDS,
    LEVELS,
    STARTS,
    Tally,
    at_least,
    at_most,
    calibrate,
    level_of,
)

BOUND = 0.05
START = LEVELS.index(STARTS[BOUND])


def tallies(**judged: tuple[int, int]) -> list[Tally]:
    """By the place of the level: `tallies(_9=(100, 0))`."""
    found = [Tally() for _ in LEVELS]
    for name, (count, wrong) in judged.items():
        found[int(name[1:])] = Tally(count, wrong)
    return found


def test_a_tenant_starts_where_the_labelled_pairs_put_it() -> None:
    found = {bound: calibrate(bound, tallies()) for bound in BOUNDS}

    assert {bound: each.threshold for bound, each in found.items()} == STARTS
    assert {each.state for each in found.values()} == {"shipped"}
    assert all(each.at_most == 1.0 for each in found.values())


def test_a_stricter_bound_never_starts_lower() -> None:
    assert STARTS[0.01] >= STARTS[0.02] >= STARTS[0.05]


def test_one_wrong_reuse_raises_the_threshold_above_it() -> None:
    judged = tallies(**{f"_{START}": (1, 1)})

    found = calibrate(BOUND, judged)

    assert (found.state, found.threshold) == ("raised", LEVELS[START + 1])


def test_many_right_ones_outweigh_a_wrong_one() -> None:
    judged = tallies(**{f"_{START}": (30, 1)})

    assert calibrate(BOUND, judged).threshold == STARTS[BOUND]
    assert calibrate(0.01, tallies(**{f"_{len(LEVELS) - 2}": (30, 1)})).state == "raised"


def test_the_threshold_falls_only_on_proof() -> None:
    below = f"_{START - 1}"

    some, enough = calibrate(BOUND, tallies(**{below: (40, 0)})), calibrate(BOUND, tallies(**{below: (120, 0)}))

    assert some.state == "shipped"
    assert (enough.state, enough.threshold) == ("lowered", LEVELS[0])  # nothing lower was ever seen, let alone wrong
    assert enough.at_most <= BOUND


def test_a_wrong_level_stops_the_fall() -> None:
    judged = tallies(**{f"_{START - 1}": (200, 0), f"_{START - 2}": (60, 30)})

    assert calibrate(BOUND, judged).threshold == LEVELS[START - 1]


def test_where_the_bound_cannot_be_kept_nothing_is_reused() -> None:
    top = f"_{len(LEVELS) - 1}"

    doubted, refuted = calibrate(BOUND, tallies(**{top: (2, 1)})), calibrate(BOUND, tallies(**{top: (20, 10)}))

    assert (doubted.state, doubted.threshold) == ("raised", LEVELS[-1])
    assert (refuted.state, refuted.threshold) == ("off", None)


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_bounds_hold_the_share_between_them(right: int, wrong: int) -> None:
    tally = Tally(right + wrong, wrong)

    low, high = at_least(tally), at_most(tally)

    assert 0.0 <= low <= high <= 1.0
    if tally.judged:
        assert low <= tally.wrong / tally.judged <= high


def test_five_hundred_right_ones_prove_one_percent_and_a_hundred_do_not() -> None:
    assert at_most(Tally(500, 0)) <= 0.01 < at_most(Tally(100, 0))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_the_proof_is_seldom_wrong_at_any_moment_of_a_long_run(share: float) -> None:
    draw, runs, misled = random.Random(5), 200, 0
    for _ in range(runs):
        tally = Tally()
        for _ in range(300):
            tally += Tally(1, int(draw.random() < share))
            if tally.judged % 10 == 0 and at_most(tally) < share:
                misled += 1
                break

    assert misled / runs <= 0.05


def test_a_score_is_counted_at_the_highest_level_it_reaches() -> None:
    assert level_of(LEVELS[0] - 0.01) is None
    assert [level_of(level) for level in LEVELS] == list(range(len(LEVELS)))
    assert level_of(1.0) == len(LEVELS) - 1
