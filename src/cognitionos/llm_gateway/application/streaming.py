"""One chat call whose answer comes piece by piece: the same steps, settled before the last byte goes out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.attempts import Attempted
from cognitionos.llm_gateway.application.cache import NOT_CACHED, Ticket
from cognitionos.llm_gateway.application.call import Sent, Started
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.flow import Ended, Flow, Opened
from cognitionos.llm_gateway.application.following import Following
from cognitionos.llm_gateway.application.granted import Granted
from cognitionos.llm_gateway.application.paying import Paid
from cognitionos.llm_gateway.application.ports import Provider
from cognitionos.llm_gateway.application.single_flight import Feed, Flight
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.chat import (
    CACHE_COALESCED,
    CACHE_NONE,
    Caller,
    ChatRequest,
    ChatResult,
)
from cognitionos.llm_gateway.domain.errors import AnswerLost
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.platform.telemetry import tracer

Begun = Callable[[Started], None]
"""Hears of a call once it is known who asks whom: long before its first piece, where the provider is slow."""


@value
class ChatStream:
    """An answer on its way. The fields are what is known before its first byte; `events` are its JSON texts.

    Whoever stops early calls `events.aclose()`: what the provider produced until then is billed. In the middle of
    asking for an event it waits for `released` first: others may depend on that one. `ended` holds once `events` have.
    """

    call_id: UUID
    provider: str
    model: str
    cache: str
    cache_key: str | None = None
    cache_age_s: int | None = None
    similarity: float | None = None
    attempts: int
    route: str
    simulated: bool
    limit_lowered: bool
    downgraded: bool = False
    cost_nanousd: int | None
    events: AsyncGenerator[bytes, None]
    released: Callable[[], Awaitable[None]] | None = None
    ended: Ended = field(default_factory=Ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """Opens streams. Shares every step with `Completion` but the attempt and the end."""

    completion: Completion
    _reading: set["asyncio.Task[None]"] = field(default_factory=set)

    async def open(self, caller: Caller, request: ChatRequest, begun: Begun | None = None) -> ChatStream:
        """A stream whose first piece is there. Raises what `Completion.complete` raises.

        Cancelled before, it stops the provider and bills what is known; an identical call that follows asks itself.
        """
        steps = self.completion
        with tracer.start_as_current_span("llm.call", attributes={"llm.stream": True}):
            call, request = await steps.start(caller, request, streamed=True)
            if begun is not None:
                begun(call)
            ask = steps.ask(call, request)
            if ask is None:
                return await self._open(call, request, NOT_CACHED)
            found = await steps.caches.seek(ask)
            if isinstance(found, Flight):
                return await self._open(call, request, await steps.caches.follow(ask, found.join(pieces=True)))
            return await self._open(call, request, found)

    def leave(self, stream: ChatStream, reading: "asyncio.Task[None]") -> None:
        """Stop `reading` a stream as soon as nobody else depends on what is being read."""
        self._spawn(_left(stream, reading))

    async def close(self) -> None:
        """End the streams that are read for those who follow them only."""
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    async def _open(self, call: Started, request: ChatRequest, found: Kept | Ticket | Feed) -> ChatStream:
        if isinstance(found, Kept):
            answer = await self.completion.from_cache(call, found)
            return self._replayed(request, call, answer, by=call.route.named(found.model))
        if isinstance(found, Feed):
            by = call.route.named(found.flight.model)
            events = Following(steps=self.completion, call=call, request=request, feed=found, by=by).events()
            await anext(events)
            way = call.way(by, end="followed")
            return self._stream(call, by, events, way=way, cache=CACHE_COALESCED, cost_nanousd=0)
        paid = await self.completion.paid(call, request, found)
        if not isinstance(paid, Paid):
            return await self._open(call, request, paid)
        try:
            return await self._asked(paid, call.within_deadline(request))
        except BaseException:
            paid.ticket.close()
            raise

    def _replayed(self, request: ChatRequest, call: Started, kept: ChatResult, *, by: Candidate) -> ChatStream:
        chunks = [
            each for each in self.completion.replay(kept.wire) if each.get("choices") != [] or request.include_usage
        ]
        stream = self._stream(
            call,
            by,
            self._replay(chunks),
            way=kept.route,
            cache=kept.cache,
            cost_nanousd=0,
            ended=Ended(known=True),
        )
        return replace(stream, cache_age_s=kept.cache_age_s, similarity=kept.similarity)

    async def _asked(self, paid: Paid, request: ChatRequest) -> ChatStream:
        """A provider's stream. From its first piece on the flow closes the ticket."""
        granted, call = paid.granted, paid.granted.call
        sent = Sent()
        done = await self._attempt(granted, request, sent)
        flow = Flow(
            steps=self.completion,
            request=request,
            granted=granted,
            done=done,
            sent=sent,
            ticket=paid.ticket,
            spawn=self._spawn,
        )
        events = flow.events()
        await anext(events)  # from here on closing it bills it, even before its first event is fetched
        return self._stream(
            call,
            done.candidate,
            events,
            way=call.way(done.candidate, trail=done.trail),
            attempts=done.attempts,
            simulated=done.provider.simulated,
            limit_lowered=granted.lowered,
            released=flow.released,
            ended=flow.ended,
        )

    def _spawn(self, reading: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(reading, name="llm_gateway.followed_stream")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        return task

    def _stream(
        self,
        call: Started,
        candidate: Candidate,
        events: AsyncGenerator[bytes, None],
        *,
        way: str,
        cache: str = CACHE_NONE,
        attempts: int = 0,
        simulated: bool = False,
        limit_lowered: bool = False,
        cost_nanousd: int | None = None,
        released: Callable[[], Awaitable[None]] | None = None,
        ended: Ended | None = None,
    ) -> ChatStream:
        return ChatStream(
            call_id=call.call_id,
            provider=candidate.provider,
            model=candidate.name,
            cache=cache,
            cache_key=call.cache_key,
            attempts=attempts,
            route=way,
            simulated=simulated,
            limit_lowered=limit_lowered,
            downgraded=call.downgraded_by(candidate),
            cost_nanousd=cost_nanousd,
            events=events,
            released=released,
            ended=ended or Ended(),
        )

    async def _attempt(self, granted: Granted, request: ChatRequest, sent: Sent) -> Attempted[Opened]:
        steps = self.completion

        async def ask(provider: Provider, candidate: Candidate) -> Opened:
            await steps.budgets.sends(granted)
            sent.count += 1
            chunks = provider.stream(granted.asked(request, candidate), model=candidate.model)
            try:
                async for first in chunks:
                    return Opened(first, chunks)
            except (asyncio.CancelledError, AnswerLost):
                sent.left.append(candidate)
                raise
            sent.left.append(candidate)
            raise AnswerLost("the stream ended before it began")

        try:
            return await steps.attempts.run(granted.call.route, ask, deadline_s=request.deadline_s, keep_slot=True)
        except Exception as error:
            row = steps.unanswered("error", granted, request, sent)
            granted.call.failed(error, row)
            await steps.budgets.settle(row)
            raise
        except BaseException:
            steps.budgets.settle_later(steps.unanswered("aborted", granted, request, sent))
            raise

    async def _replay(self, chunks: list[Mapping[str, Any]]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield self.completion.encode(chunk)


async def _left(stream: ChatStream, reading: "asyncio.Task[None]") -> None:
    try:
        if stream.released is not None:
            await stream.released()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
