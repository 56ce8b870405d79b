"""One chat call whose answer comes piece by piece: the same steps, settled before the last byte goes out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.llm_gateway.application.attempts import Attempted
from cognitionos.llm_gateway.application.budgets import Granted
from cognitionos.llm_gateway.application.cache import Ticket
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.ports import TOGETHER, Chunk, Provider
from cognitionos.llm_gateway.domain.answer import COMPLETE, as_chunks, whole
from cognitionos.llm_gateway.domain.budget import prompt_estimate
from cognitionos.llm_gateway.domain.cached import Kept
from cognitionos.llm_gateway.domain.chat import CACHE_NONE, Caller, ChatRequest, ChatResult, Usage
from cognitionos.llm_gateway.domain.errors import ProviderFailure, StreamBroken
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.platform.telemetry import tracer

_NOT_SENT = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatStream:
    """An answer on its way. The fields are what is known before its first byte; `events` are its JSON texts.

    Whoever stops early calls `events.aclose()`: what the provider produced until then is billed.
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


@dataclass(frozen=True, slots=True)
class _Opened:
    """A provider's stream whose first chunk has come: from here on nothing is tried again."""

    first: Chunk
    rest: AsyncGenerator[Chunk, None]


@dataclass(slots=True)
class _Tally:
    """What has come so far."""

    tokens: int = 0
    usage: Usage | None = None
    finish_reason: str | None = None
    texts: list[str] = field(default_factory=list)
    plain: bool = True
    head: bytes = b""

    def add(self, chunk: Chunk) -> None:
        self.tokens += chunk.tokens
        self.plain = self.plain and chunk.plain
        self.head = self.head or chunk.data.partition(TOGETHER)[0]
        if chunk.text:
            self.texts.append(chunk.text)
        self.finish_reason = chunk.finish_reason or self.finish_reason
        self.usage = chunk.usage or self.usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """Opens streams. Shares every step with `Completion` but the attempt and the end."""

    completion: Completion

    async def open(self, caller: Caller, request: ChatRequest) -> ChatStream:
        """A stream whose first piece is there. Raises what `Completion.complete` raises, before any byte went out."""
        steps = self.completion
        with tracer.start_as_current_span("llm.call", attributes={"llm.stream": True}):
            call, request = await steps.start(caller, request, streamed=True)
            found = await steps.find(call, request)
            if isinstance(found, Kept):
                return self._replayed(request, call, await steps.from_cache(call, found))
            try:
                return await self._asked(call, call.within_deadline(request), found)
            except BaseException:
                found.close()
                raise

    def _replayed(self, request: ChatRequest, call: Started, kept: ChatResult) -> ChatStream:
        chunks = [each for each in as_chunks(kept.wire) if each["choices"] or request.include_usage]
        stream = self._stream(
            call, call.route.candidates[0], self._replay(chunks), way=kept.route, cache=kept.cache, cost_nanousd=0
        )
        return replace(stream, cache_age_s=kept.cache_age_s, similarity=kept.similarity)

    async def _asked(self, call: Started, request: ChatRequest, ticket: Ticket) -> ChatStream:
        """A provider's stream. From its first piece on the flow closes the ticket."""
        granted = await self.completion.budgets.hold(call, request)
        call = granted.call
        asked = request if granted.limit == request.max_tokens else replace(request, max_tokens=granted.limit)
        done = await self._attempt(granted, asked)
        flow = self._flow(call, request, granted, done, ticket)
        await anext(flow)  # from here on closing it bills it, even before its first event is fetched
        return self._stream(
            call,
            done.candidate,
            flow,
            way=call.way(done.candidate, trail=done.trail),
            attempts=done.attempts,
            simulated=done.provider.simulated,
            limit_lowered=granted.lowered,
        )

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
            downgraded=call.downgraded,
            cost_nanousd=cost_nanousd,
            events=events,
        )

    async def _attempt(self, granted: Granted, request: ChatRequest) -> Attempted[_Opened]:
        steps, call, sent = self.completion, granted.call, 0

        async def ask(provider: Provider, candidate: Candidate) -> _Opened:
            nonlocal sent
            await steps.budgets.sends(granted)
            sent += 1
            chunks = provider.stream(request, model=candidate.model)
            async for first in chunks:
                return _Opened(first, chunks)
            raise ProviderFailure("the stream ended before it began")

        try:
            return await steps.attempts.run(call.route, ask, deadline_s=request.deadline_s, keep_slot=True)
        except Exception:
            await steps.budgets.settle(call.row(outcome="error", usage=Usage(), attempts=sent))
            raise
        except BaseException:
            usage = Usage(prompt=prompt_estimate(request, encode=steps.encode), estimated=True) if sent else Usage()
            row = call.row(outcome="aborted", usage=usage, attempts=sent)
            steps.budgets.bill_later(row, call.route.candidates[0])
            raise

    async def _flow(
        self, call: Started, request: ChatRequest, granted: Granted, done: Attempted[_Opened], ticket: Ticket
    ) -> AsyncGenerator[bytes, None]:
        tally, first_token_ms, outcome = _Tally(), call.elapsed_ms, "aborted"
        try:
            yield _NOT_SENT
            async with aclosing(done.value.rest) as rest:
                chunk: Chunk | None = done.value.first
                while chunk is not None:
                    tally.add(chunk)
                    if not chunk.plain:
                        ticket.everybodys()  # a tool call, say: nobody shall wait for the rest of it
                    if not chunk.bare_usage or request.include_usage:
                        yield chunk.data
                    chunk = await anext(rest, None)
            outcome = "ok"
            done.slot.succeeded()
        except ProviderFailure as failure:
            outcome = "error"
            await done.slot.failed()
            raise StreamBroken(f"{done.candidate.name} stopped in the middle of its answer: {failure}") from failure
        finally:
            done.slot.end()
            usage = tally.usage or Usage(
                prompt=prompt_estimate(request, encode=self.completion.encode), completion=tally.tokens, estimated=True
            )
            row = call.row(
                outcome=outcome,
                candidate=done.candidate,
                usage=usage,
                attempts=done.attempts,
                finish_reason=tally.finish_reason,
                simulated=done.provider.simulated,
                limit_lowered=granted.lowered,
                first_token_ms=first_token_ms,
            )
            try:
                if outcome == "aborted":
                    self.completion.budgets.bill_later(row, done.candidate)
                else:
                    cost = await self.completion.budgets.bill(row, done.candidate)
                    if outcome == "ok" and ticket.ask is not None:
                        self._share(granted, done, tally, ticket, cost_nanousd=cost)
            finally:
                ticket.close()

    def _share(
        self, granted: Granted, done: Attempted[_Opened], tally: _Tally, ticket: Ticket, *, cost_nanousd: int
    ) -> None:
        steps, answer = self.completion, None
        if tally.plain and tally.finish_reason == COMPLETE and tally.usage is not None and tally.head:
            answer = whole(steps.decode(tally.head), text="".join(tally.texts), usage=steps.write_usage(tally.usage))
        steps.share(ticket, answer, granted=granted, done=done, cost_nanousd=cost_nanousd)

    async def _replay(self, chunks: list[dict[str, object]]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield self.completion.encode(chunk)
