"""Warming: asking ahead, paid and held like any call, so that the answers are there when somebody asks."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cognitionos.kernel.errors import DomainError, LimitExceeded
from cognitionos.kernel.money import usd_text
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.domain.budget import exposure
from cognitionos.llm_gateway.domain.chat import Caller, ChatRequest, ChatResult
from cognitionos.llm_gateway.domain.errors import PriceUnknown


class WarmingLimit(LimitExceeded):
    """The call may cost more than is left of what the warming may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """How one request of the list ended, by its place in it."""

    index: int
    result: ChatResult | None = None
    error: DomainError | None = None


@dataclass(slots=True)
class _Purse:
    """What may be spent: None is whatever the budgets allow. What runs has reserved the most that it can cost."""

    most: int | None
    spent: int = 0
    reserved: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def reserve(self, amount: int) -> None:
        async with self.changed:
            while self.most is not None and self.spent + self.reserved + amount > self.most:
                if not self.reserved:
                    raise WarmingLimit(f"The call may cost {usd_text(amount)} USD, which is more than is left.")
                await self.changed.wait()
            self.reserved += amount

    async def settle(self, amount: int, cost: int) -> None:
        async with self.changed:
            self.reserved -= amount
            self.spent += cost
            self.changed.notify_all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Warming:
    """Runs lists of requests. Nothing else is asked once whoever reads the outcomes stops reading."""

    completion: Completion

    async def run(
        self, caller: Caller, requests: Sequence[ChatRequest], *, most_nanousd: int | None, at_once: int
    ) -> AsyncGenerator[Warmed, None]:
        """Each outcome as it comes. `most_nanousd` bounds what all of them together cost, whatever they answer."""
        purse, places = _Purse(most_nanousd), asyncio.Semaphore(at_once)

        async def one(index: int, request: ChatRequest) -> Warmed:
            async with places:
                try:
                    return Warmed(index=index, result=await self._ask(caller, request, purse))
                except DomainError as error:
                    return Warmed(index=index, error=error)

        tasks = [asyncio.create_task(one(index, request)) for index, request in enumerate(requests)]
        try:
            for ended in asyncio.as_completed(tasks):
                yield await ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, caller: Caller, request: ChatRequest, purse: _Purse) -> ChatResult:
        bound = 0 if purse.most is None else await self._bound(caller.tenant_id, request)
        await purse.reserve(bound)
        cost = bound
        try:
            result = await self.completion.to_the_end(caller, request)
            cost = result.cost_nanousd
        except DomainError:
            cost = 0
            raise
        finally:
            await purse.settle(bound, cost)
        return result

    async def _bound(self, tenant_id: UUID, request: ChatRequest) -> int:
        steps = self.completion
        route, asked = await steps.prepare(tenant_id, request)
        prices = [await steps.budgets.price(tenant_id, each) for each in route.candidates]
        known = [price for price in prices if price is not None]
        if len(known) < len(prices):
            raise PriceUnknown("A warming with a limit needs the price of every model of the route.")
        return exposure(asked, known, encode=steps.encode).amount_nanousd
