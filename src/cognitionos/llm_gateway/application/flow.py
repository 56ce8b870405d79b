"""A provider's stream as it is read: by whoever asked for it, and by a task of its own once others follow it too."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.application.attempts import Attempted
from cognitionos.llm_gateway.application.cache import Ticket
from cognitionos.llm_gateway.application.call import Sent
from cognitionos.llm_gateway.application.completion import Completion, Decode
from cognitionos.llm_gateway.application.granted import Granted
from cognitionos.llm_gateway.application.ports import TOGETHER, Chunk
from cognitionos.llm_gateway.application.single_flight import Feed, Flight, Over, Said
from cognitionos.llm_gateway.domain.answer import (
    BYTES_OF_A_TOKEN,
    usage_chunk,
    whole,
    words_chunk,
)
from cognitionos.llm_gateway.domain.chat import ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import ProviderFailure, StreamBroken
from cognitionos.llm_gateway.domain.gathered import Gathered
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.prompt_bound import prompt_estimate
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task that goes on by itself."""

NOT_SENT = b""
"""The first of a generator's events: from there on closing it ends the call properly."""
OK, ABORTED, ERROR = "ok", "aborted", "error"
LEFT = "Whoever asked for this answer left in the middle of it."
NOT_BOOKED = "This answer could not be booked."


@dataclass(frozen=True, slots=True)
class Opened:
    """A provider's stream whose first chunk has come: from here on nothing is tried again."""

    first: Chunk
    rest: AsyncGenerator[Chunk, None]


@dataclass(slots=True)
class Ended:
    """What a stream came to, for whoever has read it to its end; nothing where it was somebody else's.

    `known`: it has, and what is still to be read of it is at hand.
    """

    known: bool = False
    usage: Usage = Usage()
    cost_nanousd: int = 0
    priced: bool = True


@dataclass(slots=True)
class Tally:
    """What has come so far. `events`, where they are wanted: as they came. Else what is not plain is `gathered`.

    `decode` None: nobody shall hear of it.
    """

    decode: Decode | None = None
    tokens: int = 0
    beside: int = 0
    usage: Usage | None = None
    usage_said: bool = False
    finish_reason: str | None = None
    texts: list[str] = field(default_factory=list)
    plain: bool = True
    shared: bool = True
    head: bytes = b""
    events: list[Chunk] | None = None
    gathered: Gathered | None = None

    def add(self, chunk: Chunk) -> None:
        """Count it."""
        self.tokens += chunk.tokens
        if not (self.plain and chunk.plain):
            self._gather(chunk)
        self.head = self.head or chunk.data.partition(TOGETHER)[0]
        if chunk.text:
            self.texts.append(chunk.text)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.usage = chunk.usage or self.usage
        self.usage_said = self.usage_said or chunk.bare_usage
        if self.events is not None:
            self.events.append(chunk)

    @property
    def made(self) -> int:
        """About how many tokens came, where nobody counted them: as many as pieces, or as their size tells."""
        size = self.beside + sum(len(text.encode()) for text in self.texts)
        return max(self.tokens, size // BYTES_OF_A_TOKEN)

    def _gather(self, chunk: Chunk) -> None:
        """Of thoughts, say, each event as it is: what it says beside words is more than words."""
        was_plain, self.plain, self.shared = self.plain, False, self.shared and chunk.shared
        self.beside += chunk.beside
        if self.decode is None or self.events is not None or not self.shared:
            self.gathered = None
            return
        if was_plain:
            self.gathered = Gathered()
            if self.head:
                self.gathered.add(words_chunk(self.decode(self.head), "".join(self.texts)))
        if self.gathered is not None:
            for event in chunk.data.split(TOGETHER):
                self.gathered.add(self.decode(event))


@dataclass(eq=False, slots=True, kw_only=True)
class Flow:
    """One stream, read once, settled once.

    While nobody follows, whoever asked reads it, and leaving ends it. When somebody does, a task reads it for all of
    them as soon as no read is under way, until its end or until all have left.
    """

    steps: Completion
    request: ChatRequest
    granted: Granted
    done: Attempted[Opened]
    sent: Sent
    ticket: Ticket
    spawn: Spawn
    ended: Ended = field(default_factory=Ended)
    _first: Chunk | None = field(init=False)
    _rest: AsyncGenerator[Chunk, None] = field(init=False)
    _tally: Tally = field(init=False)
    _last: list[bytes] = field(default_factory=list)
    _flight: Flight | None = None
    _own: Feed | None = None
    _pump: "asyncio.Task[None] | None" = None
    _at_rest: bool = False
    _ended: bool = False
    _first_token_ms: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        call = self.granted.call
        self._first_token_ms = call.elapsed_ms
        self._first, self._rest = self.done.value.first, self.done.value.rest
        if self.granted.is_short or call.downgraded_by(self.done.candidate):
            self.ticket.everybodys()  # what the end of a budget made is nobody else's
        else:
            self._flight = self.ticket.flight
        own_words = self.ticket.epoch is not None and self.request.native is not None
        decode = self.steps.decode if self.ticket.ask is not None and not own_words else None
        self._tally = Tally(decode=decode, events=[] if own_words else None)
        if self._flight is not None:
            self._flight.model = self.done.candidate.name
            self._flight.begins(self)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The events for whoever asked, after `NOT_SENT`; what came with the end of the answer once it is booked."""
        outcome, flight = ABORTED, self._flight
        try:
            self._at_rest = True
            yield NOT_SENT
            self._at_rest = False
            if self._own is None:
                chunk, self._first = self._first, None
                while chunk is not None:
                    if flight is not None and flight.is_followed:
                        self._hand_over(flight)
                        self._pass_on(flight, chunk)
                        break
                    said_now = self._take(chunk)
                    if said_now:
                        self._at_rest = True
                        yield said_now
                        self._at_rest = False
                        if self._is_handed_over():
                            break
                    chunk = await anext(self._rest, None)
                else:
                    outcome = OK
                    self.done.slot.succeeded()
            if self._own is not None:
                while isinstance(said := await self._own.hear(), Chunk):
                    if self._is_for_caller(said):
                        yield said.data
                check(said)
        except (ProviderFailure, StreamBroken) as failure:
            outcome = ERROR
            await self._break(failure)
        finally:
            self._at_rest = False
            if self._own is None:
                await self._end(outcome, broken=None if outcome == OK else LEFT)
            else:
                self._own.leave()
        for data in self._last:
            yield data

    async def released(self) -> None:
        """Wait until whoever asked may leave in the middle of a read: nobody depends on it, or a task reads on."""
        while self._flight is not None and self._flight.is_followed and self._own is None and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    def joined(self, feed: Feed) -> None:
        """Somebody follows."""
        if feed.pieces and self._may_begin and self._says(None):
            for piece in self._so_far():
                feed.tell(piece)
        if self._at_rest and self._own is None and self._flight is not None:
            self._hand_over(self._flight)

    def deserted(self) -> None:
        """Nobody is left, whoever asked included if a task reads."""
        self._changed.set()
        if self._pump is not None and not self._ended:
            self._pump.cancel()

    def _take(self, chunk: Chunk) -> bytes:
        """Count it; what of it is said now. What came with the end is said once that is booked: one sending less."""
        self._tally.add(chunk)
        if not chunk.shared:
            self.ticket.everybodys()  # a tool call: nobody shall wait for the rest of it
        if not self._is_for_caller(chunk):
            return b""
        if chunk.ends:
            self._last.append(chunk.data)
            return b""
        return chunk.data

    def _is_for_caller(self, chunk: Chunk) -> bool:
        return self.request.include_usage or not chunk.bare_usage

    def _is_handed_over(self) -> bool:
        return self._own is not None

    def _hand_over(self, flight: Flight) -> None:
        self._own = flight.rejoin()
        self._pump = self.spawn(self._read_on(flight))
        self._changed.set()

    async def _read_on(self, flight: Flight) -> None:
        outcome, broken = ABORTED, LEFT
        try:
            if self._first is not None:
                self._pass_on(flight, self._first)
            async for chunk in self._rest:
                self._pass_on(flight, chunk)
            outcome = OK
            self.done.slot.succeeded()
        except ProviderFailure as failure:
            outcome, broken = ERROR, self._broken_by(failure)
            await self.done.slot.failed()
        finally:
            try:
                await self._end(outcome, broken=None if outcome == OK else broken)
            except DomainError as error:  # told to all of them already
                log.warning("followed_stream_not_booked", reason=str(error))

    def _pass_on(self, flight: Flight, chunk: Chunk) -> None:
        """A piece for everyone; who got none so far begins with the first words."""
        waiting = flight.waiting() if self._may_begin and chunk.shared and self._says(chunk) else ()
        before = self._so_far() if waiting else ()
        self._tally.add(chunk)
        if not chunk.shared:
            self.ticket.everybodys()
        flight.give((chunk,))
        for feed in waiting:
            for piece in (*before, chunk):
                feed.tell(piece)

    @property
    def _may_begin(self) -> bool:
        return self._tally.shared and self._tally.finish_reason is None

    def _says(self, chunk: Chunk | None) -> bool:
        """Whether anything was said, `chunk` included, that others may begin with.

        Thoughts are not enough where tools are offered: a call may come of them, which is nobody else's.
        """
        if self._tally.texts or (chunk is not None and chunk.text):
            return True
        offered = self.request.tools or self.request.extra.get("functions")
        return not offered and self._tally.tokens + (chunk.tokens if chunk is not None else 0) > 0

    def _so_far(self) -> Sequence[Chunk]:
        """What came so far, in one piece but where each must stay as it came."""
        tally = self._tally
        if tally.events is not None or not tally.head:
            return tuple(tally.events or ())
        if tally.gathered is not None:
            wire = tally.gathered.event()
        else:
            wire = words_chunk(self.steps.decode(tally.head), "".join(tally.texts))
        return (Chunk(data=self.steps.encode(wire), text="".join(tally.texts)),)

    async def _break(self, failure: ProviderFailure | StreamBroken) -> NoReturn:
        """Raise `StreamBroken`: the provider stopped, or what it said cannot be told on."""
        if isinstance(failure, ProviderFailure):
            await self.done.slot.failed()
            broken = StreamBroken(self._broken_by(failure))
            broken.details = failure.details
            raise broken from failure
        if self._own is None:
            await self._rest.aclose()
        raise failure

    def _broken_by(self, failure: ProviderFailure) -> str:
        return f"{self.done.candidate.name} stopped in the middle of its answer: {failure}"

    async def _end(self, outcome: str, *, broken: str | None) -> None:
        """Settle, then tell everyone; of a settlement that fails as of a stream that breaks."""
        self._ended = True
        self._changed.set()
        self.done.slot.end()
        over, budgets, row = Over(broken=broken or NOT_BOOKED), self.steps.budgets, self._row(outcome)
        try:
            if outcome == ABORTED:
                budgets.settle_later(row)
                await self._rest.aclose()
            else:
                await budgets.settle(row)
                self.ended.usage, self.ended.cost_nanousd, self.ended.priced = row.usage, row.cost_nanousd, row.priced
                self.ended.known = True
                if outcome == OK:
                    over = self._share(row.cost_nanousd)
        finally:
            self.ticket.close()
            if self._flight is not None:
                self._flight.over(over)
                self._flight.stops()

    def _row(self, outcome: str) -> Call:
        tally, done = self._tally, self.done
        row = self.granted.call.row(
            outcome=outcome,
            candidate=done.candidate,
            usage=self._usage(outcome),
            attempts=done.attempts,
            finish_reason=tally.finish_reason,
            simulated=done.provider.simulated,
            limit_lowered=self.granted.lowered,
            first_token_ms=self._first_token_ms,
        )
        return self.steps.with_left(self.granted.priced(row, done.candidate), self.granted, self.request, self.sent)

    def _usage(self, outcome: str) -> Usage:
        tally, told = self._tally, self.granted.believed(self._tally.usage, self.done.candidate)
        if told is None:
            prompt = prompt_estimate(self.request, self.steps.encode)
            return Usage(prompt=prompt, completion=tally.made, estimated=True)
        if (outcome == OK or tally.finish_reason is not None) and (told.completion or not tally.tokens):
            return told
        # what was said of it so far leaves out words that came after
        return replace(told, completion=max(told.completion, tally.made), estimated=True)

    def _share(self, cost_nanousd: int) -> Over:
        """Share the whole answer where that may be, and say how the stream ended."""
        if self.ticket.ask is None:
            return Over()
        steps, tally = self.steps, self._tally
        steps.share(
            self.ticket,
            self._answer(),
            granted=self.granted,
            done=self.done,
            cost_nanousd=cost_nanousd,
            counted=tally.usage is not None,
        )
        usage_event = b""
        if tally.usage is not None and not tally.usage_said and tally.head and self.request.native is None:
            usage_event = steps.encode(usage_chunk(steps.decode(tally.head), steps.write_usage(tally.usage)))
        return Over(cost_nanousd=cost_nanousd, usage_event=usage_event)

    def _answer(self) -> dict[str, Any] | None:
        """All of it as the answer it would have been; None where it is nobody else's, or cannot be told whole."""
        steps, tally, said = self.steps, self._tally, None
        if not tally.head or not tally.shared or tally.finish_reason is None:
            return None
        if tally.events is not None:
            said = steps.gather([event for chunk in tally.events for event in chunk.data.split(TOGETHER)])
        elif tally.plain:
            said = whole(steps.decode(tally.head), text="".join(tally.texts), finish_reason=tally.finish_reason)
        elif tally.gathered is not None:
            said = tally.gathered.wire()
        return said if said is None or tally.usage is None else said | {"usage": steps.write_usage(tally.usage)}


def check(said: Said) -> None:
    """Raise `StreamBroken` unless a followed stream ended well."""
    if isinstance(said, Over) and said.broken is not None:
        raise StreamBroken(said.broken)
