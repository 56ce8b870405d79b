"""Goals: what is taken, what is refused, and in which words."""

import base64
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.kernel.money import NANOUSD_PER_USD
from cognitionos.planning.domain import goal
from cognitionos.planning.domain.goal import InvalidGoal, checked_budget, checked_files, checked_statement, title_of


@pytest.mark.parametrize(
    ("amount", "nanousd"),
    [("0.25", 250_000_000), (1, NANOUSD_PER_USD), (0.1, 100_000_000), ("1e-9", 1), ("1000000", 10**15)],
)
def test_a_budget_is_exact(amount: str | float, nanousd: int) -> None:
    assert checked_budget(amount) == nanousd


@pytest.mark.parametrize(
    "amount", ["0", "-1", "", "NaN", "Infinity", "1e-10", "1000001", "1e999999999", "a dollar", -0.5]
)
def test_what_is_no_amount_of_money_is_refused(amount: str | float) -> None:
    with pytest.raises(InvalidGoal, match="budget_usd"):
        checked_budget(amount)


@given(st.decimals(min_value=Decimal("0.000000001"), max_value=Decimal(1_000_000), places=9))
def test_every_amount_to_the_nano_dollar_is_taken_as_it_is(amount: Decimal) -> None:
    assert checked_budget(str(amount)) == amount * NANOUSD_PER_USD


@pytest.mark.parametrize("statement", ["", " \n ", "x" * 20_001, "a\x00b"])
def test_a_statement_says_something_of_sensible_length(statement: str) -> None:
    with pytest.raises(InvalidGoal, match="statement"):
        checked_statement(statement)


def test_a_title_is_the_first_line_unless_given() -> None:
    assert title_of("one\ntwo", None) == "one"
    assert title_of("one", "Uno") == "Uno"
    assert len(title_of("x" * 500, None)) == 200


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "/etc/passwd", "a\nb", "x" * 201, "ä" * 101, "\x00"])
def test_a_file_name_is_plain(name: str) -> None:
    with pytest.raises(InvalidGoal) as refused:
        checked_files([("fine.txt", "text/plain", ""), (name, "text/plain", "")])

    assert list(refused.value.fields) == ["inputs.1.name"]


def test_every_fault_of_the_files_is_named_at_once() -> None:
    with pytest.raises(InvalidGoal) as refused:
        checked_files([("a", "csv", ""), ("a", "text/csv", "%%")])

    assert list(refused.value.fields) == ["inputs.0.media_type", "inputs.1.name", "inputs.1.content_base64"]


def test_files_have_a_limit_each_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goal, "LARGEST_FILE", 4)
    monkeypatch.setattr(goal, "LARGEST_FILES", 6)
    content = base64.b64encode(b"1234").decode()

    with pytest.raises(InvalidGoal, match="together"):
        checked_files([("a", "text/csv", content), ("b", "text/csv", content)])
    with pytest.raises(InvalidGoal, match=r"inputs\.0\.content_base64: 5 bytes"):
        checked_files([("a", "text/csv", base64.b64encode(b"12345").decode())])
