"""How a budget's refusal is worded: whose it is, what is left, when there is more."""

from datetime import datetime

from cognitionos.kernel.money import usd_text
from cognitionos.llm_gateway.domain.budget import Held, Period
from cognitionos.llm_gateway.domain.errors import BudgetExhausted, BudgetHalted


def exhausted(held: Held, amount_nanousd: int | None, after_s: float | None) -> BudgetExhausted:
    """Of a call that may cost `amount_nanousd` (None: nobody knows)."""
    need = f"; the call may cost up to {usd_text(amount_nanousd)}" if amount_nanousd is not None else ""
    return BudgetExhausted(
        f"The {_named(held)} has {usd_text(max(held.left_nanousd, 0))} USD left{need}. {_when(held.resets_at)}",
        subject=held.subject or "",
        resets_at=held.resets_at,
        retry_after_s=after_s,
    )


def halted(held: Held, after_s: float | None) -> BudgetHalted:
    """Of a run's call."""
    return BudgetHalted(
        f"The {_named(held)} is nearly used up: {usd_text(max(held.left_nanousd, 0))} USD are left, which it keeps for "
        f'critical runs and plain calls. {_when(held.resets_at)} Or start the run with "critical": true.',
        subject=held.subject or "",
        resets_at=held.resets_at,
        retry_after_s=after_s,
    )


def set_price(model: str) -> str:
    """How a price is told."""
    return f"Set it: PUT /v1/prices/{model}, or cognitionos prices set {model} --input USD --output USD."


def _named(held: Held) -> str:
    return f"budget of {held.subject}" + ("" if held.period is Period.TOTAL else f" for a {held.period}")


def _when(resets_at: datetime | None) -> str:
    if resets_at is None:
        return "It does not start anew: raise its limit."
    return f"It starts anew at {resets_at.isoformat()}; or raise its limit."
