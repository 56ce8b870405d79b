"""Money is exact."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cognitionos.kernel.money import nanousd, usd, usd_text


@given(st.integers(min_value=0, max_value=10**15))
def test_dollars_and_nano_dollars_convert_back_and_forth(amount: int) -> None:
    assert nanousd(usd(amount)) == amount
    assert Decimal(usd_text(amount)) * 1_000_000_000 == amount


def test_half_a_nano_dollar_rounds_up() -> None:
    assert nanousd(Decimal("0.0000000005")) == 1
    assert nanousd(Decimal("0.00000000049")) == 0


def test_small_amounts_are_written_without_an_exponent() -> None:
    assert usd_text(1) == "0.000000001"
    assert usd_text(100 * 10**9) == "100"
