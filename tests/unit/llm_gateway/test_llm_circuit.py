"""A circuit's rules, and waits between rounds, for every history there may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.llm_gateway.domain.backoff import Backoff
from cognitionos.llm_gateway.domain.circuit import CLOSED, Circuit, CircuitRules, CircuitState

RULES = CircuitRules()
NOW = 1_000_000.0


def after_failures(count: int, now: float = NOW) -> Circuit:
    circuit = CLOSED
    for _ in range(count):
        circuit = circuit.failed(now, RULES)
    return circuit


def half_open(*, probes: int = 1) -> Circuit:
    circuit = after_failures(5)
    for _ in range(probes):
        circuit = circuit.probed(NOW + 60, RULES) or circuit
    return circuit


def test_five_failures_in_a_row_open_it_for_a_minute() -> None:
    assert after_failures(4).state is CircuitState.CLOSED
    assert after_failures(5).state is CircuitState.OPEN
    assert after_failures(5).reopens_in_s(NOW + 18, RULES) == 42
    assert after_failures(5).probed(NOW + 59.9, RULES) is None


def test_a_success_in_between_starts_the_count_anew() -> None:
    assert after_failures(4).succeeded(NOW, RULES) == CLOSED


def test_after_a_minute_three_probes_at_most_are_under_way() -> None:
    full = half_open(probes=3)

    assert (full.state, len(full.probes)) == (CircuitState.HALF_OPEN, 3)
    assert full.probed(NOW + 61, RULES) is None
    assert full.released().probed(NOW + 61, RULES) is not None


def test_two_successes_close_it_and_one_failure_opens_it_again() -> None:
    once = half_open(probes=3).succeeded(NOW + 61, RULES)

    assert (once.state, len(once.probes)) == (CircuitState.HALF_OPEN, 2)
    assert once.succeeded(NOW + 61, RULES) == CLOSED
    again = once.failed(NOW + 61, RULES)
    assert (again.state, again.reopens_in_s(NOW + 61, RULES)) == (CircuitState.OPEN, 60)


def test_probes_whose_process_died_are_given_up() -> None:
    full = half_open(probes=3)

    taken = full.probed(NOW + 121, RULES)

    assert taken is not None
    assert len(taken.probes) == 1


def test_stragglers_that_end_while_it_is_open_change_nothing() -> None:
    opened = after_failures(5)

    assert opened.failed(NOW + 30, RULES) is opened
    assert opened.succeeded(NOW + 30, RULES) is opened


@given(st.lists(st.tuples(st.sampled_from(["failed", "succeeded", "probed", "released"]), st.floats(0, 100))))
def test_whatever_happens_the_bounds_hold(history: list[tuple[str, float]]) -> None:
    circuit, now = CLOSED, NOW
    for what, passed_s in history:
        now += passed_s
        before = circuit
        after = circuit.released() if what == "released" else getattr(circuit, what)(now, RULES)
        circuit = circuit if after is None else after
        assert len(circuit.probes) <= RULES.most_probes
        assert 0 <= circuit.reopens_in_s(now, RULES) <= RULES.open_s
        if circuit.state is CircuitState.CLOSED:
            assert circuit.failures < RULES.failures_to_open
        if before.state is CircuitState.OPEN and circuit.state is not CircuitState.OPEN:
            assert now - before.changed_at >= RULES.open_s
            assert circuit.state is CircuitState.HALF_OPEN


@given(st.integers(0, 40), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 3600))
def test_a_wait_is_1_s_doubling_to_60_s_give_or_take_a_tenth_and_never_less_than_asked_for(
    round_: int, chance: float, retry_after_s: float | None
) -> None:
    nominal = min(2.0**round_, 60.0)

    wait_s = Backoff().wait_s(round_, chance=chance, retry_after_s=retry_after_s)

    own = Backoff().wait_s(round_, chance=chance)
    assert nominal * 0.9 - 1e-9 <= own <= nominal * 1.1 + 1e-9
    assert wait_s == pytest.approx(max(own, retry_after_s or 0.0))
