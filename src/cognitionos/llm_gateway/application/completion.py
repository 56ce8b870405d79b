"""One chat call, whole: route, fingerprint, cache, hold, attempt, price, settle, record."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.application.attempts import Attempted, Attempts
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.cache import NOT_CACHED, AnswerCaches, Ticket
from cognitionos.llm_gateway.application.cache_ports import CacheAsk
from cognitionos.llm_gateway.application.call import Prepare, Sent, Started
from cognitionos.llm_gateway.application.cheaper_models import CheaperModels
from cognitionos.llm_gateway.application.granted import Granted
from cognitionos.llm_gateway.application.paying import Paid, pay
from cognitionos.llm_gateway.application.ports import Answer, Encode, Monotonic, Provider
from cognitionos.llm_gateway.application.single_flight import Feed
from cognitionos.llm_gateway.domain.answer import (
    BYTES_OF_A_TOKEN,
    bytes_said,
    finish_reason_of,
    is_for_one,
    is_whole,
    reached_limit,
    text_of,
    tool_calls_of,
)
from cognitionos.llm_gateway.domain.cached import Kept, run_scope
from cognitionos.llm_gateway.domain.chat import CACHE_NONE, Caller, ChatRequest, ChatResult, Usage
from cognitionos.llm_gateway.domain.errors import AnswerLost, OfACall, Tried
from cognitionos.llm_gateway.domain.fingerprint import Canonical, fingerprint
from cognitionos.llm_gateway.domain.ledger import Call
from cognitionos.llm_gateway.domain.prompt_bound import prompt_estimate
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.platform.telemetry import tracer

Decode = Callable[[bytes], dict[str, Any]]
ReadUsage = Callable[[Mapping[str, Any]], Usage | None]
WriteUsage = Callable[[Usage], dict[str, Any]]
Gather = Callable[[Sequence[bytes]], dict[str, Any] | None]
"""A finished stream's events as the answer it would have been whole, in the words of its caller's format."""
Replay = Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""A whole answer as the events of the stream it would have been, in the same words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Answers chat calls. Streams begin with the same steps: `application/streaming.py`."""

    prepare: Prepare
    providers: Mapping[str, Provider]
    attempts: Attempts
    budgets: Budgets
    cheaper: CheaperModels
    caches: AnswerCaches
    server: Callable[[str], str]
    canonical: Canonical
    encode: Encode
    decode: Decode
    read_usage: ReadUsage
    write_usage: WriteUsage
    gather: Gather
    replay: Replay
    new_id: Callable[[], UUID]
    monotonic: Monotonic
    _going_on: set["asyncio.Task[ChatResult]"] = field(default_factory=set)

    async def to_the_end(self, caller: Caller, request: ChatRequest) -> ChatResult:
        """`complete`, for callers that may be cancelled. A call that was sent goes on then: what its provider makes of
        it is billed to us, and only its end says how much that is.
        """
        sent = Sent()
        answering = asyncio.get_running_loop().create_task(
            self.complete(caller, request, sent), name="llm_gateway.call"
        )
        self._going_on.add(answering)
        answering.add_done_callback(self._ended)
        try:
            return await asyncio.shield(answering)
        finally:
            if not sent.count:
                answering.cancel()

    async def close(self) -> None:
        """Stop the calls that go on for nobody."""
        for answering in self._going_on:
            answering.cancel()
        await asyncio.gather(*self._going_on, return_exceptions=True)

    def _ended(self, answering: "asyncio.Task[ChatResult]") -> None:
        self._going_on.discard(answering)
        if not answering.cancelled():
            answering.exception()  # whoever asked was told, or has left

    async def complete(self, caller: Caller, request: ChatRequest, sent: Sent | None = None) -> ChatResult:
        """The model's answer, paid for and recorded; the facade names what it raises. `sent`: to be told."""
        with tracer.start_as_current_span("llm.call") as span:
            call, request = await self.start(caller, request)
            found = await self.find(call, request)
            paid = found if isinstance(found, Kept) else await self.paid(call, request, found)
            if isinstance(paid, Kept):
                result = await self.from_cache(call, paid)
            elif isinstance(paid, Paid):
                try:
                    result = await self._from_provider(paid, call.within_deadline(request), sent or Sent())
                finally:
                    paid.ticket.close()
            else:
                raise TypeError("pieces came that nobody asked for")
            span.set_attributes({"llm.provider": result.provider, "llm.model": result.model, "llm.cache": result.cache})
            return result

    async def start(
        self, caller: Caller, request: ChatRequest, *, streamed: bool = False
    ) -> tuple[Started, ChatRequest]:
        """The first steps: route, defaults, fingerprint. Gives the request as it is asked."""
        try:
            route, request = await self.prepare(caller.tenant_id, request)
        except OfACall as error:
            error.tried = Tried(model=request.model or "")
            raise
        first = route.candidates[0]
        key = None
        kept = request.use_cache and not request.has_state_elsewhere
        if kept and not self.providers[first.home].simulated:
            source = self._source(first)
            key = fingerprint(request, tenant_id=caller.tenant_id, model=source, canonical=self.canonical)
        call = Started(
            call_id=self.new_id(),
            caller=caller,
            route=route,
            started=self.monotonic(),
            cache_key=key,
            streamed=streamed,
            monotonic=self.monotonic,
        )
        return call, request

    async def find(self, call: Started, request: ChatRequest) -> Kept | Ticket:
        """The kept answer to an identical request, or leave to ask the provider, to be closed."""
        ask = self.ask(call, request)
        return NOT_CACHED if ask is None else await self.caches.find(ask)

    async def paid(self, call: Started, request: ChatRequest, ticket: Ticket) -> Paid | Kept | Feed:
        """`pay`, unless nobody has room for the call: then it is refused before anything is held. A budget may have a
        cheaper model answer, though, and that one have room.
        """
        full = self.attempts.no_room(call.route)
        if full is not None:
            try:
                if not await self.cheaper.may_answer(call.caller.tenant_id):
                    raise self.budgets.turned_away(call, full)
            except BaseException:
                ticket.close()
                raise
        return await pay(self.budgets, self.caches, call, request, ticket)

    def ask(self, call: Started, request: ChatRequest) -> CacheAsk | None:
        """The call as the caches see it; None where they have no part in it."""
        if call.cache_key is None:
            return None
        first, wish = call.route.candidates[0], request.cache_wish
        models = dict.fromkeys((first.name, first.model, call.route.asked))
        return CacheAsk(
            tenant_id=call.caller.tenant_id,
            project_id=call.caller.project_id,
            key=call.cache_key,
            request=request,
            model=first.name,
            source=self._source(first),
            scopes=(
                f"key:{call.cache_key}",
                *(f"model:{name}" for name in models),
                *(f"tag:{tag}" for tag in wish.tags),
                *([run_scope(call.caller.run_id)] if call.caller.run_id is not None else ()),
            ),
            wish=wish,
            flight=call.call_id.hex,
            takes=frozenset([each.name for each in call.route.candidates]),
        )

    def _source(self, candidate: Candidate) -> str:
        """The model, and whose it is today: another server under its name does not give this one's answers."""
        return f"{candidate.name} {self.server(candidate.home)}"

    async def from_cache(self, call: Started, kept: Kept) -> ChatResult:
        """A kept answer as a result, recorded at cost zero."""
        wire, candidate = self.decode(kept.wire), call.route.named(kept.model)
        age_s = max(int(self.caches.clock() - kept.stored_at), 0)
        row = call.row(
            outcome="ok",
            candidate=candidate,
            usage=Usage(),
            saved_nanousd=kept.cost_nanousd,
            cache=kept.layer,
            cache_age_s=age_s,
            finish_reason=finish_reason_of(wire),
        )
        if kept.reuse is not None and kept.reuse != call.call_id:
            await self.caches.lent(call.caller.tenant_id, call.call_id, kept)
        await self.budgets.settle(row)
        result = result_of(
            call,
            wire,
            candidate=candidate,
            usage=self.read_usage(wire) or Usage(),
            cost_nanousd=0,
            cache=kept.layer,
            attempts=0,
            way=call.way(candidate, end="cached"),
        )
        return replace(result, cache_age_s=age_s, similarity=kept.similarity)

    async def _from_provider(self, paid: Paid, request: ChatRequest, sent: Sent) -> ChatResult:
        granted, call = paid.granted, paid.granted.call

        async def ask(provider: Provider, candidate: Candidate) -> Answer:
            await self.budgets.sends(granted)
            sent.count += 1
            try:
                return await provider.chat(granted.asked(request, candidate), model=candidate.model)
            except (asyncio.CancelledError, AnswerLost):
                sent.left.append(candidate)
                raise

        try:
            done = await self.attempts.run(call.route, ask, deadline_s=request.deadline_s)
        except Exception as error:
            row = self.unanswered("error", granted, request, sent)
            granted.call.failed(error, row)
            await self.budgets.settle(row)
            raise
        except BaseException:
            self.budgets.settle_later(self.unanswered("aborted", granted, request, sent))
            raise
        return await self._finish(request, granted, done, paid.ticket, sent)

    def unanswered(self, outcome: str, granted: Granted, request: ChatRequest, sent: Sent) -> Call:
        """The row of a call without an answer: whoever was left at work will bill its prompt."""
        row = granted.call.row(outcome=outcome, candidate=sent.last_left, usage=Usage(), attempts=sent.count)
        return self.with_left(row, granted, request, sent)

    def with_left(self, row: Call, granted: Granted, request: ChatRequest, sent: Sent) -> Call:
        """The row with the prompts of those that were left at work."""
        return granted.with_left(row, sent.left, prompt=prompt_estimate(request, self.encode)) if sent.left else row

    async def _finish(
        self, request: ChatRequest, granted: Granted, done: Attempted[Answer], ticket: Ticket, sent: Sent
    ) -> ChatResult:
        call = granted.call
        wire, candidate = done.value.wire, done.candidate
        usage = granted.believed(done.value.usage, candidate)
        if usage is None or not usage.completion:
            usage = self._estimate(request, wire, usage)
        row = call.row(
            outcome="ok",
            candidate=candidate,
            usage=usage,
            attempts=done.attempts,
            finish_reason=finish_reason_of(wire),
            simulated=done.provider.simulated,
            limit_lowered=granted.lowered,
        )
        row = self.with_left(granted.priced(row, candidate), granted, request, sent)
        await self.budgets.settle(row)
        cost = row.cost_nanousd
        self.share(ticket, wire, granted=granted, done=done, cost_nanousd=cost)
        return result_of(
            call,
            wire,
            candidate=candidate,
            usage=usage,
            cost_nanousd=cost,
            priced=row.priced,
            cache=CACHE_NONE,
            attempts=done.attempts,
            way=call.way(candidate, trail=done.trail),
            simulated=done.provider.simulated,
            limit_lowered=granted.lowered,
        )

    def share(
        self,
        ticket: Ticket,
        wire: Mapping[str, Any] | None,
        *,
        granted: Granted,
        done: Attempted[Any],
        cost_nanousd: int,
        counted: bool = True,
    ) -> None:
        """Hand an answer to those who wait for it, and keep it if it may be. `wire` None: it cannot be told whole.

        What the end of a budget made (a lower limit, a cheaper model) is nobody else's, nor is a call of a function.
        What was cut short, was not `counted`, or is what another model than the first said, is for those who wait only.
        """
        if ticket.ask is None:
            return
        by = done.candidate
        is_short = granted.is_short or (granted.lowered and wire is not None and reached_limit(wire))
        if wire is None or is_short or granted.call.downgraded_by(by) or is_for_one(wire):
            ticket.everybodys()
        elif by.name == ticket.ask.model and counted and is_whole(wire):
            ticket.keep(self.encode(wire), model=by.name, cost_nanousd=cost_nanousd)
        else:
            ticket.give(self.encode(wire), model=by.name, cost_nanousd=cost_nanousd)

    def _estimate(self, request: ChatRequest, wire: Mapping[str, Any], told: Usage | None) -> Usage:
        """What nobody told, or somebody as nothing though words came."""
        made = bytes_said(wire) // BYTES_OF_A_TOKEN
        if told is None:
            prompt = prompt_estimate(request, self.encode)
            return Usage(prompt=prompt, completion=max(made, 1), estimated=True)
        return replace(told, completion=made, estimated=True) if made else told


def result_of(
    call: Started,
    wire: Mapping[str, Any],
    *,
    candidate: Candidate,
    usage: Usage,
    cost_nanousd: int,
    cache: str,
    attempts: int,
    way: str,
    priced: bool = True,
    simulated: bool = False,
    limit_lowered: bool = False,
) -> ChatResult:
    """The answer as its caller gets it."""
    return ChatResult(
        call_id=call.call_id,
        text=text_of(wire),
        tool_calls=tool_calls_of(wire),
        finish_reason=finish_reason_of(wire),
        provider=candidate.provider,
        model=candidate.name,
        usage=usage,
        cost_nanousd=cost_nanousd,
        priced=priced,
        cache=cache,
        cache_key=call.cache_key,
        attempts=attempts,
        route=way,
        simulated=simulated,
        limit_lowered=limit_lowered,
        downgraded=call.downgraded_by(candidate),
        latency_ms=call.elapsed_ms,
        wire=wire,
    )
