"""A stream that follows an identical call piece by piece: paid by that one, recorded with what it saved."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from cognitionos.llm_gateway.application.cache import Ticket
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.flow import ABORTED, ERROR, NOT_SENT, OK, Ended, check
from cognitionos.llm_gateway.application.ports import TOGETHER, Chunk
from cognitionos.llm_gateway.application.single_flight import Feed, Over, Said
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.chat import CACHE_COALESCED, ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import StreamBroken

Found = Kept | Ticket | Feed
"""What a call comes to that waits for an identical one."""
F = TypeVar("F")


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """One follower's events, from its feed's first piece on. Whatever happens, its row is written."""

    steps: Completion
    call: Started
    request: ChatRequest
    feed: Feed

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Each event, after `NOT_SENT`. Raises `StreamBroken` where the call that is followed breaks off."""
        outcome, over, reason, first_token_ms = ABORTED, Over(), None, self.call.elapsed_ms
        with_usage, usage_said = self.request.include_usage, False
        said: Said = self.feed.first or Over()
        try:
            yield NOT_SENT
            while isinstance(said, Chunk):
                reason = said.finish_reason or reason
                usage_said = usage_said or said.bare_usage
                if with_usage or not said.bare_usage:
                    for event in (said.data,) if self.request.together else said.data.split(TOGETHER):
                        yield event
                said = await self.feed.hear()
            check(said)
            if isinstance(said, Over):
                over = said
            if with_usage and not usage_said and over.usage_event:
                yield over.usage_event
            outcome = OK
        except StreamBroken:
            outcome = ERROR
            raise
        finally:
            self.feed.leave()
            row = self.call.row(
                outcome=outcome,
                usage=Usage(),
                saved_nanousd=over.cost_nanousd,
                cache=CACHE_COALESCED,
                cache_age_s=0,
                finish_reason=reason,
                first_token_ms=first_token_ms,
            )
            if outcome == ABORTED:
                self.steps.budgets.bill_later(row, self.call.route.candidates[0])
            else:
                await self.steps.budgets.settle(row)


class OpenStream(Protocol):
    """A stream that is there: `ChatStream`."""

    @property
    def events(self) -> AsyncGenerator[bytes, None]:
        """Its events."""
        ...

    @property
    def released(self) -> Callable[[], Awaitable[None]] | None:
        """Waits until nobody else depends on what is being read."""
        ...

    @property
    def ended(self) -> Ended:
        """What it came to."""
        ...


@dataclass(slots=True)
class Late(Generic[F]):
    """A stream that began before anybody knew where its events would come from. `give_back` ends a vain search."""

    finding: asyncio.Future[F]
    open: Callable[[F], Awaitable[OpenStream]]
    give_back: Callable[[asyncio.Future[F]], Awaitable[None]]
    ended: Ended = field(default_factory=Ended)
    _opened: OpenStream | None = None

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Each event, after `NOT_SENT`. Raises what opening it raises."""
        try:
            yield NOT_SENT
            await asyncio.wait({self.finding})
        except BaseException:
            await self.give_back(self.finding)
            raise
        self._opened = await self.open(self.finding.result())
        async with aclosing(self._opened.events) as events:
            async for event in events:
                yield event
        self.ended.is_as(self._opened.ended)

    async def released(self) -> None:
        """As of the stream that it became."""
        if self._opened is not None and self._opened.released is not None:
            await self._opened.released()


async def give_back(finding: asyncio.Future[Found]) -> None:
    """What a call came to that nobody waits for any more."""
    found = await _vain(finding)
    if isinstance(found, Ticket):
        found.close()
    elif isinstance(found, Feed):
        found.leave()


async def shut(opening: asyncio.Future[Any]) -> None:
    """A stream that nobody waits for any more."""
    stream = await _vain(opening)
    if stream is not None:
        await stream.events.aclose()


async def _vain(future: asyncio.Future[F]) -> F | None:
    future.cancel()
    await asyncio.wait({future})
    return None if future.cancelled() or future.exception() is not None else future.result()
