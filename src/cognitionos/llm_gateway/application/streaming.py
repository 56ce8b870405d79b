"""One chat call whose answer comes piece by piece: the same steps, settled before the last byte goes out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

from cognitionos.llm_gateway.application.attempts import Attempted
from cognitionos.llm_gateway.application.budgets import Granted
from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.ports import Chunk, Provider
from cognitionos.llm_gateway.domain.answer import COMPLETE, as_chunks, whole
from cognitionos.llm_gateway.domain.budget import prompt_estimate
from cognitionos.llm_gateway.domain.chat import CACHE_EXACT, CACHE_NONE, Caller, ChatRequest, Usage
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
    attempts: int
    route: str
    simulated: bool
    limit_lowered: bool
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
        self.head = self.head or chunk.data
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
            kept = await steps.from_cache(call)
            if kept is not None:
                chunks = [each for each in as_chunks(kept.wire) if each["choices"] or request.include_usage]
                first = call.route.candidates[0]
                way = call.way(first, end="cached")
                return self._stream(call, first, self._replay(chunks), way=way, cache=CACHE_EXACT, cost_nanousd=0)
            granted = await steps.budgets.hold(call, request)
            done = await self._attempt(call, replace(request, max_tokens=granted.limit))
            flow = self._flow(call, request, granted, done)
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
            attempts=attempts,
            route=way,
            simulated=simulated,
            limit_lowered=limit_lowered,
            cost_nanousd=cost_nanousd,
            events=events,
        )

    async def _attempt(self, call: Started, request: ChatRequest) -> Attempted[_Opened]:
        steps = self.completion

        async def ask(provider: Provider, candidate: Candidate) -> _Opened:
            chunks = provider.stream(request, model=candidate.model)
            async for first in chunks:
                return _Opened(first, chunks)
            raise ProviderFailure("the stream ended before it began")

        try:
            return await steps.attempts.run(call.route, ask, deadline_s=request.deadline_s, keep_slot=True)
        except Exception:
            await steps.budgets.settle(call.row(outcome="error", usage=Usage()))
            raise
        except BaseException:
            usage = Usage(prompt=prompt_estimate(request, encode=steps.encode), estimated=True)
            steps.budgets.bill_later(call.row(outcome="aborted", usage=usage), call.route.candidates[0])
            raise

    async def _flow(
        self, call: Started, request: ChatRequest, granted: Granted, done: Attempted[_Opened]
    ) -> AsyncGenerator[bytes, None]:
        tally, first_token_ms, outcome = _Tally(), call.elapsed_ms, "aborted"
        try:
            yield _NOT_SENT
            async with aclosing(_all(done.value)) as chunks:
                async for chunk in chunks:
                    tally.add(chunk)
                    if not chunk.bare_usage or request.include_usage:
                        yield chunk.data
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
            if outcome == "aborted":
                self.completion.budgets.bill_later(row, done.candidate)
            else:
                await self.completion.budgets.bill(row, done.candidate)
        self._keep(call, granted, done, tally)

    def _keep(self, call: Started, granted: Granted, done: Attempted[_Opened], tally: _Tally) -> None:
        is_whole = tally.plain and tally.finish_reason == COMPLETE and tally.usage is not None and tally.head
        if call.cache_key is None or not is_whole or granted.lowered or done.candidate != call.route.candidates[0]:
            return
        steps = self.completion
        usage = steps.write_usage(tally.usage or Usage())
        answer = whole(steps.decode(tally.head), text="".join(tally.texts), usage=usage)
        steps.cache.put(call.caller.tenant_id, call.cache_key, steps.encode(answer))

    async def _replay(self, chunks: list[dict[str, object]]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield self.completion.encode(chunk)


async def _all(opened: _Opened) -> AsyncGenerator[Chunk, None]:
    async with aclosing(opened.rest) as rest:
        yield opened.first
        async for chunk in rest:
            yield chunk
