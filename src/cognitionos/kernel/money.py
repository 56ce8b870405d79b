"""Money as integer nano-dollars (1 USD = 10**9), the unit of ledger, holds and sums.

Most model prices are not whole micro-dollars per token, so a coarser unit rounds small calls to free.
"""

from decimal import ROUND_HALF_UP, Decimal

NANOUSD_PER_USD = 1_000_000_000


def nanousd(usd: Decimal) -> int:
    """Dollars to nano-dollars, rounded half-up."""
    return int((usd * NANOUSD_PER_USD).to_integral_value(rounding=ROUND_HALF_UP))


def usd(amount_nanousd: int) -> Decimal:
    """Nano-dollars to dollars, exact, without an exponent and without trailing zeros."""
    exact = Decimal(amount_nanousd) / NANOUSD_PER_USD
    return exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact.normalize()


def usd_text(amount_nanousd: int) -> str:
    """Nano-dollars as a plain decimal string of dollars, such as `0.00000125`."""
    return format(usd(amount_nanousd), "f")
