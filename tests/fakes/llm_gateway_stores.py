"""In-memory twins of the gateway's stores: the same promises, kept by one process's memory."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID, uuid4

from cognitionos.llm_gateway.domain.budget import EXHAUSTED_SHARE, Held, Hold, Period, Spend, Terms, check_shares
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.route import Candidate


@dataclass(kw_only=True)
class _Budget:
    id: UUID
    subject: str
    period: Period
    limit: int
    terms: Terms
    held: int = 0
    spent: int = 0
    calls: int = 0

    @property
    def left(self) -> int:
        return self.limit - self.held - self.spent

    def is_past(self, share: float | None) -> bool:
        return share is not None and self.spent >= Decimal(str(share)) * self.limit


@dataclass
class MemoryBudgetStore:
    """`ledger` has the settled calls in order; `holds` those under way; `alerts` the refusals near a budget's end."""

    ledger: dict[UUID, Call] = field(default_factory=dict)
    holds: dict[UUID, tuple[list[_Budget], int]] = field(default_factory=dict)
    sent: set[UUID] = field(default_factory=set)
    alerts: set[UUID] = field(default_factory=set)
    budgets: dict[UUID, dict[tuple[str, Period], _Budget]] = field(default_factory=lambda: defaultdict(dict))

    async def hold(self, hold: Hold) -> Held:
        caller, amount = hold.row.caller, hold.amount_nanousd
        await asyncio.sleep(0)
        if hold.row.call_id in self.holds:
            return _granted(self.holds[hold.row.call_id][0])
        mine = [each for each in self.budgets[caller.tenant_id].values() if each.subject in caller.subjects]
        for each in mine:
            if hold.halts and each.is_past(each.terms.halt):
                return Held(
                    granted=False, halted=True, subject=each.subject, period=each.period, left_nanousd=each.left
                )
        for each in mine:
            if not hold.downgraded and each.terms.downgrade_to and each.is_past(each.terms.soft):
                model = each.terms.downgrade_to
                return Held(granted=False, downgrade_to=model, subject=each.subject, period=each.period)
        tight = min(mine, key=lambda each: each.left, default=None)
        if tight is not None and (amount is None or tight.left < amount):
            return Held(
                granted=False,
                price_missing=amount is None,
                subject=tight.subject,
                period=tight.period,
                left_nanousd=tight.left,
                room_nanousd=min(each.limit - each.spent for each in mine),
            )
        for each in mine:
            each.held += amount or 0
        self.holds[hold.row.call_id] = (mine, amount or 0)
        if hold.sent:
            self.sent.add(hold.row.call_id)
        return _granted(mine)

    async def settle(self, call: Call) -> None:
        if call.call_id in self.ledger:
            return
        self.ledger[call.call_id] = call
        budgets, amount = self.holds.pop(call.call_id, ([], 0))
        for each in budgets:
            each.held -= amount
            each.spent += call.cost_nanousd
            each.calls += 1

    async def release(self, call_id: UUID) -> None:
        budgets, amount = self.holds.pop(call_id, ([], 0))
        for each in budgets:
            each.held -= amount

    async def send(self, call_id: UUID) -> bool:
        if call_id in self.holds:
            self.sent.add(call_id)
        return call_id in self.holds

    async def exhausted(self, tenant_id: UUID, subject: str, period: Period) -> None:
        budget = self.budgets[tenant_id].get((subject, period))
        if budget is not None and budget.is_past(budget.terms.halt or EXHAUSTED_SHARE):
            self.alerts.add(budget.id)

    async def open(
        self,
        tenant_id: UUID,
        subject: str,
        *,
        limit_nanousd: int,
        period: Period,
        terms: Terms | None = None,
        given: Collection[str] = (),
    ) -> UUID:
        known, terms = self.budgets[tenant_id], terms or Terms()
        made = _Budget(id=uuid4(), subject=subject, period=period, limit=limit_nanousd, terms=terms)
        stands = known.get((subject, period), made).terms
        changed = replace(stands, **{name: getattr(terms, name) for name in given})
        check_shares(changed.soft, changed.halt)
        budget = known.setdefault((subject, period), made)
        budget.limit, budget.terms = limit_nanousd, changed
        return budget.id

    async def names_cheaper(self, tenant_id: UUID) -> bool:
        return any(each.terms.downgrade_to for each in self.budgets[tenant_id].values())

    async def spend(self, tenant_id: UUID, subject: str) -> Spend:
        mine = [each for each in self.budgets[tenant_id].values() if each.subject == subject]
        if mine:
            tight = min(mine, key=lambda each: each.left)
            return Spend(
                limit_nanousd=tight.limit, held_nanousd=tight.held, spent_nanousd=tight.spent, calls=tight.calls
            )
        rows = [call for call in self.ledger.values() if _belongs(call, tenant_id, subject)]
        total = sum(call.cost_nanousd for call in rows)
        return Spend(limit_nanousd=None, held_nanousd=0, spent_nanousd=total, calls=len(rows))


@dataclass
class MemoryPrices:
    """One price list for every tenant, by `provider/model`."""

    prices: Mapping[str, Price] = field(default_factory=dict)

    async def price(self, tenant_id: UUID, candidate: Candidate) -> Price | None:
        return self.prices.get(candidate.name)


def _belongs(call: Call, tenant_id: UUID, subject: str) -> bool:
    return call.caller.tenant_id == tenant_id and subject in call.caller.subjects


def _granted(counted: Sequence[_Budget]) -> Held:
    tight = min(counted, key=lambda each: each.left, default=None)
    return Held(granted=True, subject=tight.subject if tight is not None else None)
