"""When a failed task is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.kernel.errors import Conflict, Invalid, LimitExceeded, NotFound, Unavailable
from cognitionos.planning.domain.retry import LONGEST_BACKOFF_S, RetryPolicy

POLICY = RetryPolicy(max_attempts=5, backoff_s=1)


@pytest.mark.parametrize("error", [Invalid("x"), LimitExceeded("x"), NotFound("x"), Conflict("x")])
def test_what_the_domain_refused_stays_refused(error: Exception) -> None:
    assert POLICY.wait_s(error, failures=1, jitter=0.5) is None


@pytest.mark.parametrize("error", [Unavailable("x"), TimeoutError(), ValueError("a bug")])
def test_what_is_wrong_now_is_tried_again_until_attempts_are_used_up(error: Exception) -> None:
    waits = [POLICY.wait_s(error, failures=number, jitter=1) for number in range(1, 6)]

    assert waits == [1, 2, 4, 8, None]


def test_the_provider_says_how_long_to_wait_at_least() -> None:
    assert POLICY.wait_s(Unavailable("x", retry_after_s=30), failures=1, jitter=0) == 30


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_no_wait_is_longer_than_the_cap(failures: int, jitter: float) -> None:
    patient = RetryPolicy(max_attempts=100_000, backoff_s=3)

    wait_s = patient.wait_s(Unavailable("x"), failures=failures, jitter=jitter)

    assert wait_s is not None
    assert 0 < wait_s <= LONGEST_BACKOFF_S
