"""Texts to vectors: the same ladder of hold, attempt, price, settle; no cache (vectors are kept by who asked)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.application.attempts import Attempts
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.call import Resolve, Started
from cognitionos.llm_gateway.application.ports import Monotonic, Provider, Vectors
from cognitionos.llm_gateway.domain.chat import Caller, Embeddings, Usage
from cognitionos.llm_gateway.domain.ledger import EMBEDDING
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.platform.telemetry import tracer

DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Embeds texts. Vectors of two models never mix, so `resolve` gives routes without a fallback."""

    resolve: Resolve
    providers: Mapping[str, Provider]
    attempts: Attempts
    budgets: Budgets
    new_id: Callable[[], UUID]
    monotonic: Monotonic

    async def embed(
        self, caller: Caller, texts: Sequence[str], *, model: str | None = None, extra: Mapping[str, Any] | None = None
    ) -> Embeddings:
        """One vector per text, in order, paid for and recorded."""
        with tracer.start_as_current_span("llm.embed"):
            call = Started(
                call_id=self.new_id(),
                caller=caller,
                route=await self.resolve(caller.tenant_id, model),
                started=self.monotonic(),
                kind=EMBEDDING,
                monotonic=self.monotonic,
            )
            most = sum(len(text.encode()) + 8 for text in texts)
            await self._hold(call, most)
            return await self._embed(call, texts, extra or {}, most=most)

    async def _hold(self, call: Started, most_tokens: int) -> None:
        first = call.route.candidates[0]
        price = await self.budgets.price(call.caller.tenant_id, first)
        amount = None if price is None else price.upper_bound(most_tokens, 0)
        await self.budgets.hold_amount(call, amount, deadline_s=DEADLINE_S)

    async def _embed(self, call: Started, texts: Sequence[str], extra: Mapping[str, Any], *, most: int) -> Embeddings:
        async def ask(provider: Provider, candidate: Candidate) -> Vectors:
            return await provider.embed(texts, model=candidate.model, extra=extra)

        estimate = Usage(prompt=max(most // 4, 1), estimated=True)
        try:
            done = await self.attempts.run(call.route, ask, deadline_s=DEADLINE_S)
        except Exception:
            await self.budgets.settle(call.row(outcome="error", usage=Usage()))
            raise
        except BaseException:
            self.budgets.bill_later(call.row(outcome="aborted", usage=estimate), call.route.candidates[0])
            raise
        usage = done.value.usage or estimate
        price = await self.budgets.price(call.caller.tenant_id, done.candidate)
        cost = price.cost(usage) if price else 0
        await self.budgets.settle(
            call.row(
                outcome="ok",
                candidate=done.candidate,
                usage=usage,
                cost_nanousd=cost,
                priced=price is not None,
                attempts=done.attempts,
                simulated=done.provider.simulated,
            )
        )
        vectors = done.value.vectors
        return Embeddings(
            call_id=call.call_id,
            vectors=vectors,
            provider=done.candidate.provider,
            model=done.candidate.name,
            dimensions=len(vectors[0]) if vectors else 0,
            usage=usage,
            cost_nanousd=cost,
            priced=price is not None,
            attempts=done.attempts,
            route=call.way(done.candidate, trail=done.trail),
        )
