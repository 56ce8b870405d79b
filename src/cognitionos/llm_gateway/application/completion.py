"""One chat call, whole: route, fingerprint, cache, hold, attempt, price, settle, record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.application.attempts import Attempted, Attempts
from cognitionos.llm_gateway.application.budgets import Budgets, Granted
from cognitionos.llm_gateway.application.call import Prepare, Started
from cognitionos.llm_gateway.application.ports import Answer, AnswerCache, Encode, Monotonic, Provider
from cognitionos.llm_gateway.domain.answer import finish_reason_of, may_be_kept, text_of, tool_calls_of
from cognitionos.llm_gateway.domain.budget import prompt_estimate
from cognitionos.llm_gateway.domain.chat import CACHE_EXACT, CACHE_NONE, Caller, ChatRequest, ChatResult, Usage
from cognitionos.llm_gateway.domain.fingerprint import Canonical, fingerprint
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.platform.telemetry import tracer

Decode = Callable[[bytes], dict[str, Any]]
ReadUsage = Callable[[Mapping[str, Any]], Usage | None]
WriteUsage = Callable[[Usage], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Answers chat calls. Streams begin with the same steps: `application/streaming.py`."""

    prepare: Prepare
    providers: Mapping[str, Provider]
    attempts: Attempts
    budgets: Budgets
    cache: AnswerCache
    canonical: Canonical
    encode: Encode
    decode: Decode
    read_usage: ReadUsage
    write_usage: WriteUsage
    new_id: Callable[[], UUID]
    monotonic: Monotonic

    async def complete(self, caller: Caller, request: ChatRequest) -> ChatResult:
        """The model's answer, paid for and recorded; the facade names what it raises."""
        with tracer.start_as_current_span("llm.call") as span:
            call, request = await self.start(caller, request)
            result = await self.from_cache(call) or await self._from_provider(call, request)
            span.set_attributes({"llm.provider": result.provider, "llm.model": result.model, "llm.cache": result.cache})
            return result

    async def start(
        self, caller: Caller, request: ChatRequest, *, streamed: bool = False
    ) -> tuple[Started, ChatRequest]:
        """The first steps: route, defaults, fingerprint. Gives the request as it is asked."""
        route, request = await self.prepare(caller.tenant_id, request)
        first = route.candidates[0]
        key = None
        if request.use_cache and not self.providers[first.home].simulated:
            key = fingerprint(request, tenant_id=caller.tenant_id, model=first.name, canonical=self.canonical)
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

    async def from_cache(self, call: Started) -> ChatResult | None:
        """The kept answer to an identical request, recorded at cost zero; None where there is none."""
        if call.cache_key is None:
            return None
        kept = await self.cache.get(call.caller.tenant_id, call.cache_key)
        if kept is None:
            return None
        wire, first = self.decode(kept), call.route.candidates[0]
        usage = self.read_usage(wire) or Usage()
        price = await self.budgets.price(call.caller.tenant_id, first)
        saved = price.cost(usage) if price else 0
        await self.budgets.settle(
            call.row(outcome="ok", usage=Usage(), saved_nanousd=saved, cache=CACHE_EXACT, finish_reason="stop")
        )
        way = call.way(first, end="cached")
        return result_of(
            call, wire, candidate=first, usage=usage, cost_nanousd=0, cache=CACHE_EXACT, attempts=0, way=way
        )

    async def _from_provider(self, call: Started, request: ChatRequest) -> ChatResult:
        granted = await self.budgets.hold(call, request)
        asked = request if granted.limit == request.max_tokens else replace(request, max_tokens=granted.limit)

        async def ask(provider: Provider, candidate: Candidate) -> Answer:
            return await provider.chat(asked, model=candidate.model)

        try:
            done = await self.attempts.run(call.route, ask, deadline_s=request.deadline_s)
        except Exception:
            await self.budgets.settle(call.row(outcome="error", usage=Usage()))
            raise
        except BaseException:  # cancelled: the provider may have worked, and will bill its prompt
            usage = Usage(prompt=prompt_estimate(request, encode=self.encode), estimated=True)
            self.budgets.bill_later(call.row(outcome="aborted", usage=usage), _first(call))
            raise
        return await self._finish(call, request, granted, done)

    async def _finish(
        self, call: Started, request: ChatRequest, granted: Granted, done: Attempted[Answer]
    ) -> ChatResult:
        wire, candidate = done.value.wire, done.candidate
        usage = done.value.usage or self._estimate(request, wire)
        price = await self.budgets.price(call.caller.tenant_id, candidate)
        cost = price.cost(usage) if price else 0
        row = call.row(
            outcome="ok",
            candidate=candidate,
            usage=usage,
            cost_nanousd=cost,
            priced=price is not None,
            attempts=done.attempts,
            finish_reason=finish_reason_of(wire),
            simulated=done.provider.simulated,
            limit_lowered=granted.lowered,
        )
        await self.budgets.settle(row)
        if call.cache_key is not None and not granted.lowered and may_be_kept(wire) and candidate == _first(call):
            self.cache.put(call.caller.tenant_id, call.cache_key, self.encode(wire))
        return result_of(
            call,
            wire,
            candidate=candidate,
            usage=usage,
            cost_nanousd=cost,
            priced=price is not None,
            cache=CACHE_NONE,
            attempts=done.attempts,
            way=call.way(candidate, trail=done.trail),
            simulated=done.provider.simulated,
            limit_lowered=granted.lowered,
        )

    def _estimate(self, request: ChatRequest, wire: Mapping[str, Any]) -> Usage:
        spoken = len(text_of(wire).encode()) + sum(len(each.arguments) for each in tool_calls_of(wire))
        return Usage(
            prompt=prompt_estimate(request, encode=self.encode), completion=max(spoken // 4, 1), estimated=True
        )


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
        attempts=attempts,
        route=way,
        simulated=simulated,
        limit_lowered=limit_lowered,
        latency_ms=call.elapsed_ms,
        wire=wire,
    )


def _first(call: Started) -> Candidate:
    return call.route.candidates[0]
