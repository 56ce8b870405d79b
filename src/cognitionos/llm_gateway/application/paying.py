"""The money of a call that has leave to ask: whoever must wait for it lets others ask the same meanwhile."""

from contextlib import suppress
from dataclasses import dataclass, replace

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.budgets import Budgets, NotNeeded
from cognitionos.llm_gateway.application.cache import AnswerCaches, Ticket
from cognitionos.llm_gateway.application.cache_ports import CacheAsk
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.application.granted import Granted
from cognitionos.llm_gateway.application.single_flight import Feed
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.chat import ChatRequest

MOST_ROUNDS = 10
"""After so many calls of others that came to nothing a call waits for its money and asks for itself."""


@value
class Paid:
    """Leave to ask, to be closed, and the money for it."""

    granted: Granted
    ticket: Ticket


@dataclass(eq=False, slots=True)
class _Aside:
    """A call that waits for money (`stood`): nobody who asks the same waits for it, and another's answer will do."""

    caches: AnswerCaches
    ask: CacheAsk
    ticket: Ticket
    stood: bool = False

    def begins(self) -> None:
        self.stood = True
        self.ticket.resign()

    async def is_over(self) -> bool:
        return await self.caches.is_elsewhere(self.ask)


async def pay(
    budgets: Budgets, caches: AnswerCaches, call: Started, request: ChatRequest, ticket: Ticket
) -> Paid | Kept | Feed:
    """A hold for the call; or, where it had to wait for that, what came of an identical call that did not.

    Raises what `Budgets.hold` and `AnswerCaches.follow` raise; the ticket is closed then.
    """
    for _ in range(MOST_ROUNDS):
        if ticket.ask is None or not (ticket.ask.wish.look and ticket.ask.wish.keep):
            break
        ask = replace(ticket.ask, request=call.within_deadline(request))
        aside, granted = _Aside(caches, ask, ticket), None
        with suppress(NotNeeded):
            granted = await _hold(budgets, call, ask.request, ticket, aside)
        if granted is not None and not aside.stood:
            return _paid(granted, ticket)
        found = await _found(budgets, caches, call, ask, granted)
        if not isinstance(found, Ticket):
            return found
        ticket = found
    return _paid(await _hold(budgets, call, call.within_deadline(request), ticket, None), ticket)


def _paid(granted: Granted, ticket: Ticket) -> Paid:
    if granted.is_cut:
        ticket.resign()  # what the end of a budget makes of an answer is nobody else's
    return Paid(granted=granted, ticket=ticket)


async def _hold(budgets: Budgets, call: Started, request: ChatRequest, ticket: Ticket, aside: _Aside | None) -> Granted:
    try:
        return await budgets.hold(call, request, aside)
    except BaseException as error:
        call.refused(error)
        ticket.close()
        raise


async def _found(
    budgets: Budgets, caches: AnswerCaches, call: Started, ask: CacheAsk, granted: Granted | None
) -> Paid | Kept | Ticket | Feed:
    """What there is now for a call that stood aside. Money that it does not need goes back before it follows."""
    try:
        found = await caches.seek(ask)
    except BaseException:
        await _give_back(budgets, granted)
        raise
    if isinstance(found, Ticket):
        return found if granted is None else _paid(granted, found)
    if isinstance(found, Kept):
        await _give_back(budgets, granted)
        return found
    feed = found.join(pieces=call.streamed)
    try:
        await _give_back(budgets, granted)
    except BaseException:
        feed.leave()
        raise
    return await caches.follow(ask, feed)


async def _give_back(budgets: Budgets, granted: Granted | None) -> None:
    if granted is not None:
        await budgets.give_back(granted)
